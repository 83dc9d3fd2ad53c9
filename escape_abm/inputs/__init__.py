"""What can be set, and the checks at the door.

rows: what a parameter row is: value, unit, allowed and plausible range, source, grade
biology: the rows of leukaemia, antigens, killing, CAR T cells and host
products: constructs, components and products, and the classes of CAR T cells that a product infuses
regimen: bridging, lymphodepletion, dose, transplant, re-infusion
cohort: who the patients are, and how each is drawn from a seed and a number
clinic: clinical definitions and thresholds
trial: a published trial and its figures
settings: everything that a run depends on, as one checked object
checks: plain data become these, or a message with the value, the rule and the way out
row_table: every row in one table
"""
