"""Spectra: their grids, norms and distances, and how certain they are."""
