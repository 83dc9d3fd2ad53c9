"""Runs: stored, found again, swept, and what they say.

fingerprint: the identity of a run, as a short name
run_folder: one folder, complete or absent
provenance: what runs and sweeps say of themselves, and whether a file is whole
found: the finished runs below a folder, each once
stored: finished runs as one table
notebook: results at a prompt
terminal: progress and results on the terminal
jobs: one job of a sweep
sweep: all jobs; only missing ones are computed
joined: the tables of all jobs of a sweep
designs: which jobs a sweep has
executors: where jobs run
"""
