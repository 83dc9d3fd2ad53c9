"""What may happen to a cell, and how fast, without chance.

states: what a cell can be, and the routes from one state to another
rates: the rates of one patient under one product
hazards: the hazards of a cell in given surroundings, and how long a tick may be
exact: closed-form laws of branching processes, which check the engines
"""
