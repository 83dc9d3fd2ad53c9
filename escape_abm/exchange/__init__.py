"""Trials, cytometry and the model as other programs write and read them.

adam: a run as the CDISC tables ADSL and ADTTE
tables: these as SAS transport files, Dataset-JSON and CSV
time_to_event: patients of a trial, from such tables or a published curve, as published results
guyot: patients from a published Kaplan-Meier curve and its numbers at risk
terms: formulas out of the law's own functions
network: one patient's mean field as species, reactions and rules
treatment: what is done to the patient, as events of that network
sbml: the network as SBML and Antimony
archive: these, the published figures and a citation as a COMBINE archive
cytometry: FCS files as linear, compensated fluorescence of named channels
gates: gates as ranges of named channels
beads: from fluorescence to molecules per cell
densities: antigen densities of patients, from FCS files and beads
density_cohort: these as a cohort, a choice for `biology`, and histograms
"""
