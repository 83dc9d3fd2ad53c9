"""Parameters estimated from published trials, and the engines checked against theory.

targets: published results and their likelihood
emulator: a fast surrogate of the simulator
posterior: posterior draws by Markov chain Monte Carlo
calibration: waves of runs, the fit and its predictions
left_out: each trial of a fit predicted from all others
scores: how good predictions of published results are, beside a constant
predictions: predictions registered before a trial has results, and scored once
sensitivity: which parameter drives which outcome
theory: the counts engine against exact laws
"""
