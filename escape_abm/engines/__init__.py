"""How the law is drawn: for all cells of a state at once, or cell by cell.

counts: the compiled kernel, from one cell to 1e13
cells: every cell a Mesa agent, well mixed
grid: the same agents on the sites of a marrow
one_cell: the distribution of one cell's fate in a tick
engine: one call for all of them
interrupt: Ctrl-C between ticks
"""
