"""Runs: stored, found again, swept, and what they say.

fingerprint: the identity of a run, as a short name
run_folder: one folder, complete or absent
stored: finished runs as one table
notebook: results at a prompt
terminal: progress and results on the terminal
jobs: one job of a sweep
sweep: all jobs; only missing ones are computed
designs: which jobs a sweep has
executors: where jobs run
"""
