"""What a user can set, and the checks on it.

rows: a parameter row: value, unit, allowed and plausible range, source, grade
biology: the rows of leukaemia, antigens, killing, CAR T cells and host
products: constructs, components and products, and the classes of CAR T cells that a product infuses
regimen: bridging, lymphodepletion, dose, transplant, re-infusion
cohort: patient covariates, and how each patient is drawn from a seed and a number
clinic: clinical definitions and thresholds
trial: a published trial and its results
settings: everything that a run depends on, as one checked object
applicability: what the published evidence covers
checks: validation of plain data, with errors that name the value, the rule and the way out
row_table: every row in one table
"""
