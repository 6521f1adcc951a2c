"""Whether models with descriptors pretrained on structures of the Materials Project do better on crystals from there.

Potentials that describe the sites of a crystal were trained on energies and forces of Materials Project crystals, among them most
test crystals. If that leaked into spectra, such a model would be better on crystals from there than on hypothetical ones, and more
so than models without pretraining, for which both kinds are equally new. Both kinds are compared at equal composition: within
groups of materials with as many elements and as many training materials with the rarest of them.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.benchmark.data import BenchmarkError
from mat2spec.benchmark.error_figures import LABEL, number_groups
from mat2spec.benchmark.resampling import CONFIDENCE_LEVEL, draw_formulas

MATERIALS_PROJECT_PREFIX = "mp-"
# Upper ends of the groups.
_RAREST_ELEMENT, _N_ELEMENTS = (9, 19), (2,)


def compare_origins(
    rows: pd.DataFrame, prefix: str = MATERIALS_PROJECT_PREFIX, known_formulas: Collection[str] = ()
) -> pd.DataFrame:
    """Errors on crystals inside and outside of a set, at equal composition.

    Parameters
    ----------
    rows
        From `mat2spec.benchmark.error_figures.chosen_rows`.
    prefix
        With which identifiers of the set begin.
    known_formulas
        Reduced formulas of the whole set: other crystals with one of them may be in it too and are left out.

    Returns
    -------
    DataFrame
        For each model ``label``, ``n_inside`` and ``n_outside`` materials, their mean errors ``inside`` and ``outside``, with
        the groups of composition weighted as they are outside, the ``ratio`` of the second to the first, and the ends
        ``low`` and ``high`` of its 95 % bootstrap interval over formulas. Groups without materials of both kinds are left out.

    Raises
    ------
    BenchmarkError
        If no group has both.
    """
    doubtful = ~rows["material_id"].str.startswith(prefix) & rows["formula"].isin(set(known_formulas))
    rows = rows[~doubtful]
    return pd.DataFrame([_compare(str(label), own, prefix) for label, own in rows.groupby(LABEL, sort=False)])


def origins_table(found: pd.DataFrame) -> str:
    """The same as Markdown."""
    lines = ["| model | inside | outside | outside / inside (95 %) |", "|---|---|---|---|"]
    lines += [
        f"| {row.label} | {row.inside:.3f} ({row.n_inside}) | {row.outside:.3f} ({row.n_outside}) | "
        f"{row.ratio:.2f} ({row.low:.2f}-{row.high:.2f}) |"
        for row in found.itertuples()
    ]
    return "\n".join(lines) + "\n"


def _compare(label: str, rows: pd.DataFrame, prefix: str) -> dict[str, object]:
    inside = rows["material_id"].str.startswith(prefix).to_numpy()
    similar = number_groups(rows["n_train_rarest_element"], _RAREST_ELEMENT).astype(str)
    group = similar + " " + number_groups(rows["n_elements"], _N_ELEMENTS, 1).astype(str)
    both = group.isin(set(group[inside]) & set(group[~inside])).to_numpy()
    if not both.any():
        raise BenchmarkError(
            f"The table has no similar materials whose identifiers begin with '{prefix}' and others to compare them with."
        )
    rows, inside, group = rows[both], inside[both], group[both]
    codes = pd.factorize(group)[0]
    errors = rows["error"].to_numpy()
    drawn = draw_formulas(rows["formula"].to_numpy(dtype=object))
    means = _means(errors, inside, codes, np.ones((1, len(rows))))[0]
    ratios = _means(errors, inside, codes, drawn)
    ratios = ratios[:, 1] / ratios[:, 0]
    low, high = np.nanquantile(ratios, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    return {
        LABEL: label,
        "n_inside": int(inside.sum()),
        "n_outside": int((~inside).sum()),
        "inside": means[0],
        "outside": means[1],
        "ratio": means[1] / means[0],
        "low": low,
        "high": high,
    }


def _means(
    errors: NDArray[np.float64], inside: NDArray[np.bool_], codes: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean errors inside and outside for each row of weights, shape (n, 2); groups missing from one kind are left out."""
    members = codes[:, None] == np.arange(codes.max() + 1)
    counts, sums = (
        [values @ (members & of_kind[:, None]) for of_kind in (inside, ~inside)]
        for values in (weights, weights * errors)
    )
    known = (counts[0] > 0) & (counts[1] > 0)
    share = np.where(known, counts[1], 0.0)
    whole = share.sum(axis=1, keepdims=True)
    # A draw may leave nothing to compare.
    share = np.divide(share, whole, out=np.full_like(share, np.nan), where=whole > 0)
    means = [
        np.divide(total, count, out=np.zeros_like(total), where=known)
        for total, count in zip(sums, counts, strict=True)
    ]
    return np.stack([(share * mean).sum(axis=1) for mean in means], axis=1)
