"""Many patients, and their statistics.

virtual_trial: the same patients under every product, in parallel
survival: Kaplan-Meier, Aalen-Johansen, proportions, paired differences
estimates: from rows of patients to the tables of a trial
comparison: beside what a trial published
checkpoints: patients that are done, kept while a run is not
"""
