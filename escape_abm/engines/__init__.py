"""How the law is drawn: for all cells of a state at once, or cell by cell.

chance: draws inside compiled code, the same under every version of NumPy and numba
counts: the compiled kernel, from one cell to 1e13
cells: every cell a Mesa agent, well mixed
grid: the same agents on the sites of a marrow
one_cell: the distribution of one cell's fate in a tick
engine: one call for all of them
recording: when an engine returns, and what it records of each day
interrupt: Ctrl-C between ticks
"""
