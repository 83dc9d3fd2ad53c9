"""How we know: what judges the parameters, how they are found, how the engines are checked.

targets: published figures and how likely they are
emulator: a fast stand-in for runs of the simulator
posterior: a sample of the posterior by Markov chains
calibration: waves of runs, the fit and its predictions
sensitivity: which parameter decides what
theory: the counts engine beside the exact laws
"""
