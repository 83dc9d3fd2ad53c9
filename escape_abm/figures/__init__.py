"""Pictures: a table in, a figure out.

style: colours, dashes and markers that mean the same everywhere
products: outcomes, relapse and mechanisms by product
courses: patients day by day
trials: beside published trials
fits: calibrations and sensitivities
checks: exact laws, tick accuracy, coverage, speed
diagrams: the law, and how relapses came about
marrow: the marrow, cell by cell
"""
