"""What a person uses: command line, configuration, named figures, dashboard.

command_line: arguments and flags, separated and checked
own_choices: the folder of --config-dir, checked
groups: the groups of conf/ and their choices
help: the text of `--help`, and tab completion
composition: conf/ and overrides become settings
config_errors: Hydra's errors in plain words
request: a command line as jobs
launch: the entry point of every script of experiments/
catalogue: figures of the documentation by name
painters: the functions that draw them
models: the model for other programs
neighbours: tables for other programs and from them
densities: antigen densities from cytometry, as a choice of one's own
dashboard: the marrow in a browser
dashboard_choices: its sliders and choices
"""
