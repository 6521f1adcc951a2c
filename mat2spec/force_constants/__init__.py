"""Phonons from the force constants of a potential, and spectra in which they correct a network.

A potential knows how atoms move and no spectrum; the network knows spectra and their errors, and no force.
"""
