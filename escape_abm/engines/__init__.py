"""How the law is drawn: for all cells of a state at once, or cell by cell.

counts: the compiled kernel, from one cell to 1e13
cells: every cell a Mesa agent, well mixed
grid: the same agents on the sites of a marrow
one_cell: what the law says of one cell in a tick
engine: one call for all of them
interrupt: Ctrl-C between ticks
"""
