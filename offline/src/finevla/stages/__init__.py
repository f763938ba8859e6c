"""Offline stages: one folder per verb of the command line, in the order of the data."""
