"""Sweeps over machines: every combination of parameter values is an experiment of DVC's.

`python -m sweeps --help`; docs/sweeps.md.
"""
