"""Predict whole spectra of crystals, electronic and phonon densities of states, from their structure.

    import mat2spec

    prediction = mat2spec.predict_structures(structures)

Names are imported on first use: neither torch nor pymatgen is loaded before a prediction.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mat2spec.crystals.arrays import Crystals
    from mat2spec.metal_heads import hashes_of_metal_heads
    from mat2spec.prediction import load_predictor, predict_structures, predict_with_models, prepare_for
    from mat2spec.spectra.prediction import Prediction
    from mat2spec.tight_binding.projections import project_spectra
    from mat2spec.tight_binding.transport_table import transport_table

try:
    __version__ = version("mat2spec-screening")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0.0.0"

_MODULES = {
    "Crystals": "crystals.arrays",
    "Prediction": "spectra.prediction",
    "hashes_of_metal_heads": "metal_heads",
    "load_predictor": "prediction",
    "predict_structures": "prediction",
    "predict_with_models": "prediction",
    "prepare_for": "prediction",
    "project_spectra": "tight_binding.projections",
    "transport_table": "tight_binding.transport_table",
}

__all__ = [
    "Crystals",
    "Prediction",
    "hashes_of_metal_heads",
    "load_predictor",
    "predict_structures",
    "predict_with_models",
    "prepare_for",
    "project_spectra",
    "transport_table",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'mat2spec' has no attribute '{name}'")
    return getattr(import_module(f"mat2spec.{_MODULES[name]}"), name)
