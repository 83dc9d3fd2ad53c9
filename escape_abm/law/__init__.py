"""What may happen to a cell, and how fast, without chance.

states: what a cell can be, and the routes from one state to another
rates: the numbers of one patient under one product
hazards: what a cell faces in given surroundings, and how long a tick may be
exact: closed laws of branching processes, by which the engines are checked
"""
