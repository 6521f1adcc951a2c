"""How well predictions agree with computed spectra."""
