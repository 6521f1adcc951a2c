"""Predict whole spectra of crystals, electronic and phonon densities of states, from their structure."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mat2spec-screening")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0.0.0"
