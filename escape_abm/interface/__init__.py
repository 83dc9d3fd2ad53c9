"""How a person asks: command line, configuration, figures by name, dashboard.

command_line: words and flags, told apart and checked
groups: the groups of conf/ and their choices
help: what `--help` and the tab key say
composition: conf/ and overrides become settings
config_errors: what cannot be composed, in our words
request: a command line as jobs
launch: what every script of experiments/ calls
catalogue: figures of the documentation by name
painters: what draws each of them
dashboard: the marrow in a browser
dashboard_choices: its sliders and choices
"""
