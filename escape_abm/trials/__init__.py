"""Many patients, and their statistics.

virtual_trial: the same patients under every product, in parallel
survival: Kaplan-Meier, Aalen-Johansen, proportions, paired differences
readings: what each endpoint is read from
estimates: from rows of patients to the tables of a trial
weighted: estimates of many trials at once, by weights
comparison: comparison with a published trial
processors: how many processes at a time, and workers that end with their caller
checkpoints: finished patients of an unfinished run
"""
