"""Constants of nature (CODATA 2018) in the units of spectra."""

from __future__ import annotations

BOLTZMANN_EV_PER_K = 8.617333262e-5
# hbar^2 / m_e in eV Angstrom^2.
HBAR2_OVER_MASS_EV_A2 = 7.619964231
ANGSTROM3_PER_CM3 = 1e24
