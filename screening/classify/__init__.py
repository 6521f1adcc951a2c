"""From spectra to gaps, classes and derived properties."""
