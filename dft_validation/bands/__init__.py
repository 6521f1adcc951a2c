"""Bands on a mesh of k-points, and the density of states derived from them."""
