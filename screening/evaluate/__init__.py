"""How well predictions hold against computed spectra."""
