"""What is kept of a run, found again, and swept.

fingerprint: what a run is, as a short name
run_folder: one folder, complete or absent
stored: finished runs as one table
notebook: results at a prompt
terminal: what is said on the way
jobs: one job of a sweep
sweep: all jobs: what is missing is computed
designs: which jobs there are
executors: where they are computed
"""
