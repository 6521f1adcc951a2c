"""The funnel: a fast model reads every candidate, the accurate one only those that may matter.

A candidate matters if its fast score reaches a cut, which `scripts/calibrate_funnel.py` chose on materials that no model was
trained on so that 98 % of what the accurate model calls gapped metals are kept. A random sample of the others goes through the
accurate model too and tells how many gapped metals the funnel loses.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mat2spec.crystals.primitive import CellSizes
from screening.classify.gaps import gap_threshold_factors
from screening.settings import GapSettings

CUT_FILE = "{fast}-funnel.json"
# Beyond so many decimal orders the score does not follow the nearness to a gap.
_LARGEST_ORDER = 2.0
_SMALLEST_ERROR = 1e-3
# Sites per primitive cell from which a gap becomes rare: the rule's threshold is one per cell.
LARGE_CELL = 16


class FunnelChoice(StrEnum):
    """Why a candidate goes to the accurate model, or why the prediction of the fast one stands."""

    SCORE = "score"
    SAMPLE = "random sample"
    BELOW = "below the cut"
    BEYOND = "beyond the limit"


TO_ACCURATE = (FunnelChoice.SCORE, FunnelChoice.SAMPLE)


class Cut(BaseModel):
    """What a calibration says of one pair of models.

    The score is the logit of the chance that the accurate model calls a candidate a gapped metal, linear in `score_features`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fast_weights: str = Field(description="Hash of the weights of the fast model.")
    accurate_weights: str = Field(description="Hash of the weights of the accurate model.")
    coefficients: tuple[float, float, float, float] = Field(description="Of `score_features`.")
    intercept: float
    cut: float = Field(description="Least score of what goes to the accurate model.")
    recall: float = Field(description="Share of the accurate model's gapped metals above the cut, on test formulas.")
    recall_low: float
    recall_high: float
    pass_fraction: float = Field(description="Share of all candidates above the cut, on the same formulas.")
    n_fast: int = Field(description="Materials that the fast model predicted.")
    n_accurate: int = Field(description="Of these the accurate model predicted.")
    n_positives: int = Field(description="Of these it called gapped metals.")
    recall_of_highest: dict[str, float] = Field(
        description="Recall if only so large a share of all candidates, those of the highest scores, is read."
    )


def load_cut(folder: Path, fast: str, accurate: str) -> Cut | None:
    """The calibration of a pair of models that lies beside their weights; None if there is none."""
    path = folder / CUT_FILE.format(fast=fast)
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8")).get(accurate)
    return None if found is None else Cut.model_validate(found)


def score_features(
    spectra: NDArray[np.floating], relative_error: NDArray[np.floating], sizes: CellSizes, gap: GapSettings
) -> NDArray[np.float64]:
    """What the fast score follows, shape (n, 4); NaN without a spectrum.

    Decimal logarithm of the nearness to a gap (`gap_threshold_factors`), logarithm of the sites per primitive cell, of
    their excess over `LARGE_CELL`, and of the stated relative error of the spectrum.
    """
    factors = gap_threshold_factors(spectra, gap, sizes.n_sites, sizes.n_primitive)
    with np.errstate(divide="ignore"):
        orders = np.log10(factors)
    error = np.log(np.maximum(np.asarray(relative_error, dtype=np.float64), _SMALLEST_ERROR))
    size = np.log(np.maximum(sizes.n_primitive, 1))
    large = np.maximum(size - np.log(LARGE_CELL), 0.0)
    return np.stack([orders.clip(-_LARGEST_ORDER, _LARGEST_ORDER), size, large, error], axis=1)


def fast_scores(features: NDArray[np.float64], cut: Cut) -> NDArray[np.float64]:
    """Score of each candidate, shape (n,); infinite where the fast model gave none: the accurate one has to look."""
    scores = cut.intercept + features @ np.array(cut.coefficients)
    return np.where(np.isfinite(scores), scores, np.inf)


def choose(scores: NDArray[np.float64], cut: float, most: int, n_sample: int, seed: int) -> NDArray[np.object_]:
    """What happens to each candidate: a `FunnelChoice`, shape (n,).

    Parameters
    ----------
    scores
        Fast scores, shape (n,).
    cut
        Least score of what goes to the accurate model.
    most
        Maximum number that goes there by its score; of more the highest do, of equal ones the first.
    n_sample
        Candidates drawn from all others.
    seed
        Of the drawing.
    """
    choices = np.full(len(scores), FunnelChoice.BELOW, dtype=object)
    above = np.flatnonzero(scores >= cut)
    ordered = above[np.argsort(-scores[above], kind="stable")]
    choices[ordered[most:]] = FunnelChoice.BEYOND
    choices[ordered[:most]] = FunnelChoice.SCORE
    others = np.flatnonzero(choices != FunnelChoice.SCORE)
    drawn = np.random.default_rng(seed).choice(others, min(n_sample, len(others)), replace=False)
    choices[drawn] = FunnelChoice.SAMPLE
    return choices


def reason_of_choice(choice: str, fast: str, accurate: str) -> str:
    """A remark on the prediction of a candidate, for readers of its row; empty if it needs none."""
    return {
        FunnelChoice.BELOW: f"Predicted by {fast}: its score is below the cut from which {accurate} predicts.",
        FunnelChoice.BEYOND: f"Predicted by {fast}: more candidates than the limit of the funnel have a higher score.",
    }.get(FunnelChoice(choice), "")
