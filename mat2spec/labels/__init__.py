"""Labelled spectra that models learn from."""
