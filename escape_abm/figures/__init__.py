"""Pictures: a table in, a figure out.

style: colours, dashes and markers with the same meaning everywhere
products: outcomes, relapse and mechanisms by product
courses: patients day by day
trials: comparison with published trials
fits: calibrations and sensitivities
checks: exact laws, tick accuracy, coverage, speed
diagrams: the law, and how relapses arose
densities: antigen densities of patients
marrow: the marrow, cell by cell
"""
