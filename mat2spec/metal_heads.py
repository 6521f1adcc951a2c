"""What says beside an electronic spectrum whether a material is a metal: heads on composition and on sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mat2spec.models.metal_head import METAL_HEAD, shipped_metal_head
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import Prediction
from mat2spec.tight_binding.metal_head import SITE_METAL_HEAD, shipped_site_metal_head


def hashes_of_metal_heads() -> dict[str, str]:
    """Name to identity of the weights that say beside an electronic spectrum whether a material is a metal."""
    return {
        METAL_HEAD: shipped_metal_head().weights_hash,
        SITE_METAL_HEAD: shipped_site_metal_head().weights_hash,
    }


def with_metal_head(predictions: Sequence[Prediction], by_composition: NDArray[np.float32] | None) -> list[Prediction]:
    """Predictions with a probability of a metal: by what the model knows of the sites where it says so, else by composition."""
    return [
        replace(prediction, prior_metal_probability=_known_first(prediction.prior_metal_probability, by_composition))
        if by_composition is not None and prediction.grid == EDOS_GRID
        else prediction
        for prediction in predictions
    ]


def _known_first(by_sites: NDArray[np.float32] | None, by_composition: NDArray[np.float32]) -> NDArray[np.float32]:
    return by_composition if by_sites is None else np.where(np.isfinite(by_sites), by_sites, by_composition)
