"""Sweeps over machines: each combination of parameter values is a DVC experiment."""
