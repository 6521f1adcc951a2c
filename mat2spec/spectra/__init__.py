"""Spectra: grids, norms, distances and uncertainties."""
