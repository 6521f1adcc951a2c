"""Bands on a mesh of k-points, and the density of states that follows from them."""
