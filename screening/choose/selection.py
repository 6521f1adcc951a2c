"""Choice of the materials that DFT checks: the best-ranked positives, and random samples of all others.

Materials are ranked by one number, `consensus_confidence`: the mean confidence of all models that know the material, each
weighted by its average precision on held-out labels, so that models that are right less often have less of a say. What every
model calls outside of what it knows has no such number, and is neither ranked nor drawn unless it is asked for.

Confident positives alone would show how good the best picks are, but not how good all predicted positives are or what
is missed. Uniform random samples of the other positives and of the negatives are therefore computed as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.trust import Trust
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true
from screening.classify.gapped_metals import skill_of
from screening.settings import SelectionSettings

RANDOM_NEGATIVE = "random_negative"
RANDOM_POSITIVE = "random_positive"
# Groups of which a sample stands for all members.
SAMPLED_GROUPS = (RANDOM_POSITIVE, RANDOM_NEGATIVE)
POSITIVE_PREFIX = "positive:"
# How the ranked ones are chosen now; older runs name the model whose turn it was.
BY_CONSENSUS = POSITIVE_PREFIX + "consensus"
# Columns of the classifications, as far as there, that a selection reads besides the one that ranks.
NEEDED_TO_SELECT = (
    Column.MATERIAL_ID,
    Column.MODEL,
    Column.IS_TARGET,
    Column.IS_GAPPED_METAL,
    Column.GAPPED_METAL_CONFIDENCE,
    Column.CONSENSUS_CONFIDENCE,
    Column.GAP_WIDTH_EV,
    Column.TRUST,
)
# Those of the candidates.
NEEDED_OF_CANDIDATES = (Column.MATERIAL_ID, Column.NSITES, Column.NSITES_PRIMITIVE, Column.VOLUME, Column.CHEMSYS)


@dataclass(frozen=True)
class Selection:
    """The materials for DFT and the pool they were drawn from.

    Parameters
    ----------
    picks
        One row per material in the order of computing: `material_id`, `selected_as`, `rank` (from 1 within each
        group), `inclusion_probability` (1 for a positive picked by its rank; for a random positive or negative the
        share of its group that was drawn).
    n_too_large
        Materials left out before drawing because their cells exceed `max_sites`.
    n_positives
        Predicted gapped metals of any model in the pool.
    n_negatives
        Materials in the pool that every model calls negative.
    n_unpredicted
        Materials left out because no model has a prediction for them.
    n_outside
        Materials left out because every prediction of them is outside of what its model knows.
    n_not_computable
        Materials left out because the engine cannot compute their elements.
    """

    picks: pd.DataFrame
    n_too_large: int
    n_positives: int
    n_negatives: int
    n_unpredicted: int
    n_outside: int = 0
    n_not_computable: int = 0

    def counts(self) -> dict[str, int]:
        """Counts for the record of the run: how many were chosen, out of how many."""
        return {
            "selected": len(self.picks),
            "positives": self.n_positives,
            "negatives": self.n_negatives,
            "too_large": self.n_too_large,
            "unpredicted": self.n_unpredicted,
            "outside": self.n_outside,
            "not_computable": self.n_not_computable,
        }


def select_for_dft(
    classifications: pd.DataFrame,
    candidates: pd.DataFrame,
    settings: SelectionSettings | None = None,
    rank_by: str = Column.GAPPED_METAL_CONFIDENCE,
    computable: Collection[Collection[str]] | None = None,
    refused: Collection[str] = frozenset(),
) -> Selection:
    """Choose materials for DFT, the same ones whatever the order of the rows.

    Hits are what `is_target` says: gapped metals unless a condition is set. Chosen are the first of `rank_by_consensus`, and
    uniform samples without replacement of the other hits of any model and of the materials that no model calls a hit.

    Parameters
    ----------
    classifications
        One row per material and model: `NEEDED_TO_SELECT`, and the column `rank_by`.
    candidates
        The candidates: `material_id`, `nsites`, and where known `nsites_primitive` and `chemsys`.
    settings
        How many to choose; the defaults if not given.
    rank_by
        Column that ranks the hits, the largest first.
    computable
        Sets of elements: a crystal can be computed if one of them holds all of its own. None: any can.
    refused
        Materials that turned out not to be computable: they take no place among the ranked ones.

    Raises
    ------
    ValueError
        If `rank_by` is not a column.
    """
    settings = settings or SelectionSettings()
    pool = SelectionPool.of_pieces([classifications], [candidates], target_of(classifications), settings, computable)
    return select_from(pool, lambda rows: classifications.iloc[rows], settings, rank_by, refused)


@dataclass(frozen=True)
class SelectionPool:
    """What a selection asks of every candidate and of every row of the classifications: flags, a byte each.

    Parameters
    ----------
    ids
        Identifiers of the candidates.
    is_small, is_computable
        Whether DFT could compute them, shape (n_candidates,).
    candidate
        The candidate of each row, -1 where it is none of them, shape (n_rows,).
    is_predicted, is_hit, is_outside
        What the row says of it: whether there is a prediction, a hit, one outside of what its model knows; shape (n_rows,).
    """

    ids: pa.Array
    is_small: NDArray[np.bool_]
    is_computable: NDArray[np.bool_]
    candidate: NDArray[np.integer]
    is_predicted: NDArray[np.bool_]
    is_hit: NDArray[np.bool_]
    is_outside: NDArray[np.bool_]

    @classmethod
    def of_pieces(
        cls,
        classifications: Iterable[pd.DataFrame],
        candidates: Iterable[pd.DataFrame],
        flag: str,
        settings: SelectionSettings,
        computable: Collection[Collection[str]] | None = None,
    ) -> SelectionPool:
        """The pool of tables that come in pieces, at least one each; `flag` is their `target_of`."""
        materials = [(_texts(rows[Column.MATERIAL_ID]), *_asked_of(rows, settings, computable)) for rows in candidates]
        said = [(_texts(rows[Column.MATERIAL_ID]), *_said_by(rows, flag)) for rows in classifications]
        ids, named = (pa.concat_arrays([piece[0] for piece in pieces]) for pieces in (materials, said))
        return cls(
            ids,
            np.concatenate([piece[1] for piece in materials]),
            np.concatenate([piece[2] for piece in materials]),
            pc.index_in(named, value_set=ids).fill_null(-1).to_numpy(),
            np.concatenate([piece[1] for piece in said]),
            np.concatenate([piece[2] for piece in said]),
            np.concatenate([piece[3] for piece in said]),
        )


def _asked_of(
    candidates: pd.DataFrame, settings: SelectionSettings, computable: Collection[Collection[str]] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return _is_small(candidates, settings), _is_computable(candidates, computable)


def _said_by(
    classifications: pd.DataFrame, flag: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    hits = classifications[flag]
    return hits.notna().to_numpy(dtype=np.bool_), is_true(hits), _is_outside(classifications)


def select_from(
    pool: SelectionPool,
    rows_at: Callable[[NDArray[np.integer]], pd.DataFrame],
    settings: SelectionSettings,
    rank_by: str = Column.GAPPED_METAL_CONFIDENCE,
    refused: Collection[str] = frozenset(),
) -> Selection:
    """Choose as `select_for_dft` does.

    Parameters
    ----------
    pool
        Of all candidates.
    rows_at
        Gives some rows of the classifications: those of the hits are asked for, to be ranked.
    settings, rank_by, refused
        As there.

    Raises
    ------
    ValueError
        If `rank_by` is not a column.
    """
    predicted = (pool.candidate >= 0) & pool.is_predicted
    has = partial(_with_a_row, pool.candidate, len(pool.ids))
    is_predicted = has(predicted)
    known = is_predicted & (has(predicted & ~pool.is_outside) | settings.allow_outside)
    can = known & pool.is_computable
    open_to = can & pool.is_small
    positive = open_to & has(predicted & pool.is_hit)
    rows = rows_at(np.flatnonzero(predicted & positive[pool.candidate]))
    if rank_by not in rows:
        raise ValueError(f"Hits cannot be ranked by '{rank_by}': that is not a column of the classifications.")
    ranked = rank_by_consensus(with_consensus(rows, rank_by, allow_outside=settings.allow_outside), rank_by)
    return Selection(
        picks=_pick(ranked[Column.MATERIAL_ID], refused, pool.ids, positive, open_to & ~positive, settings),
        n_too_large=int((can & ~open_to).sum()),
        n_positives=int(positive.sum()),
        n_negatives=int((open_to & ~positive).sum()),
        n_unpredicted=int((has(pool.candidate >= 0) & ~is_predicted).sum()),
        n_outside=int((is_predicted & ~known).sum()),
        n_not_computable=int((known & ~can).sum()),
    )


def _with_a_row(candidate: NDArray[np.integer], n_candidates: int, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which candidates have one of some rows, given the candidate of each row."""
    return np.bincount(candidate[rows], minlength=n_candidates) > 0


def drawable(
    candidates: pd.DataFrame,
    settings: SelectionSettings,
    classifications: pd.DataFrame | None = None,
    computable: Collection[Collection[str]] | None = None,
) -> list[str]:
    """Candidates that may be chosen: small enough, of elements that can be computed, and known to a model."""
    may = _is_small(candidates, settings) & _is_computable(candidates, computable)
    if classifications is not None and not settings.allow_outside:
        may &= ~candidates[Column.MATERIAL_ID].isin(outside_of_all_models(classifications)).to_numpy()
    return [str(name) for name in candidates.loc[may, Column.MATERIAL_ID]]


def _texts(names: pd.Series) -> pa.Array:
    """Identifiers as Arrow keeps them, without a Python object for each."""
    column = pa.table({"name": names})["name"].cast(pa.large_string())
    return column.combine_chunks()


def _is_small(candidates: pd.DataFrame, settings: SelectionSettings) -> NDArray[np.bool_]:
    """Which candidates have a primitive cell, which DFT computes, that is small enough."""
    limit = np.inf if settings.max_sites is None else settings.max_sites
    return np.asarray(CellSizes.of_rows(candidates).n_primitive <= limit)


def _is_computable(candidates: pd.DataFrame, computable: Collection[Collection[str]] | None) -> NDArray[np.bool_]:
    """Which candidates have only elements that a set of `computable` holds."""
    if computable is None or Column.CHEMSYS not in candidates:
        return np.ones(len(candidates), dtype=np.bool_)
    allowed = [set(elements) for elements in computable]
    systems = candidates[Column.CHEMSYS].dropna().unique()
    hopeless = [name for name in systems if not any(set(name.split("-")) <= known for known in allowed)]
    return np.asarray(~candidates[Column.CHEMSYS].isin(hopeless), dtype=np.bool_)


def _is_outside(classifications: pd.DataFrame) -> NDArray[np.bool_]:
    """Which predictions are outside of what their model knows; none in tables of older runs."""
    if Column.TRUST not in classifications:
        return np.zeros(len(classifications), dtype=np.bool_)
    return is_true(classifications[Column.TRUST] == Trust.OUTSIDE)


def outside_of_all_models(classifications: pd.DataFrame, flag: str | None = None) -> set[str]:
    """Materials whose predictions are all outside of what their models know; none in tables of older runs."""
    if Column.TRUST not in classifications:
        return set()
    predicted = classifications[classifications[flag or target_of(classifications)].notna()]
    outside = (predicted[Column.TRUST] == Trust.OUTSIDE).groupby(predicted[Column.MATERIAL_ID]).all()
    return set(outside.index[outside.to_numpy(dtype=np.bool_)])


def target_of(classifications: pd.DataFrame) -> str:
    """The column that says what is searched for; gapped metals in tables of older runs."""
    return target_among([classifications])


def target_among(pieces: Iterable[pd.DataFrame]) -> str:
    """The same of a table in pieces; only those are read that it takes."""
    has_target = any(Column.IS_TARGET in rows and rows[Column.IS_TARGET].notna().any() for rows in pieces)
    return Column.IS_TARGET if has_target else Column.IS_GAPPED_METAL


def rank_gapped_metals(
    classifications: pd.DataFrame, flag: str = Column.IS_GAPPED_METAL, rank_by: str = Column.GAPPED_METAL_CONFIDENCE
) -> pd.DataFrame:
    """Predicted gapped metals, or other hits, the most confident first; ties go to the wider gap, then by identifier."""
    positive = classifications[classifications[flag].fillna(value=False).astype(bool)]
    return positive.sort_values(
        [rank_by, Column.GAP_WIDTH_EV, Column.MATERIAL_ID],
        ascending=[False, False, True],
        kind="stable",
        ignore_index=True,
    )


def consensus(
    classifications: pd.DataFrame, rank_by: str = Column.GAPPED_METAL_CONFIDENCE, *, allow_outside: bool = False
) -> pd.Series:
    """The number that materials are ranked by, for each row: weighted mean over the models that know the material.

    A single model far from its training data can be certain and wrong. The weight of a model is its average precision in
    finding gapped metals among held-out labels (`screening.classify.gapped_metals`). Null where every prediction is outside,
    unless these are allowed.
    """
    values = classifications[rank_by].astype("float64")
    if Column.TRUST in classifications and not allow_outside:
        values = values.where(classifications[Column.TRUST] != Trust.OUTSIDE)
    models = classifications[Column.MODEL].astype(str)
    skill = models.map({name: skill_of(name).average_precision for name in models.unique()}).astype("float64")
    weights = skill.where(values.notna())
    sums = pd.DataFrame({"weighted": values * weights, "weights": weights})
    total = sums.groupby(classifications[Column.MATERIAL_ID]).transform("sum", min_count=1)
    # Rounded, so that no order of the rows breaks a tie.
    return (total["weighted"] / total["weights"]).round(12)


def known_consensus(classifications: pd.DataFrame, rank_by: str = Column.GAPPED_METAL_CONFIDENCE) -> pd.Series:
    """The `consensus_confidence` of a table, computed for one of an older run."""
    if Column.CONSENSUS_CONFIDENCE in classifications and classifications[Column.CONSENSUS_CONFIDENCE].notna().any():
        return classifications[Column.CONSENSUS_CONFIDENCE]
    return consensus(classifications, rank_by)


def with_consensus(classifications: pd.DataFrame, rank_by: str, *, allow_outside: bool = False) -> pd.DataFrame:
    """The table with the column `consensus_confidence`, computed by `consensus`."""
    number = consensus(classifications, rank_by, allow_outside=allow_outside)
    return classifications.assign(**{Column.CONSENSUS_CONFIDENCE: number})


def rank_by_consensus(classifications: pd.DataFrame, rank_by: str = Column.GAPPED_METAL_CONFIDENCE) -> pd.DataFrame:
    """Materials that any model calls a gapped metal, or what else is searched for, the largest `consensus` first.

    Parameters
    ----------
    classifications
        One row per material and model, as for `select_for_dft`; its `consensus_confidence` is taken where it has one.
    rank_by
        Column behind the consensus of tables that lack it.

    Returns
    -------
    pandas.DataFrame
        One row per material: that of its most confident model, of those that know it, with
        `consensus_confidence`, also as `gapped_metal_confidence`. What no model knows comes last.
    """
    number = known_consensus(classifications, rank_by)
    classifications = classifications.assign(**{Column.CONSENSUS_CONFIDENCE: number})
    best = rank_gapped_metals(classifications, target_of(classifications), rank_by)
    if Column.TRUST in best:
        best = best.sort_values(Column.TRUST, key=lambda trust: trust == Trust.OUTSIDE, kind="stable")
    best = best.drop_duplicates(Column.MATERIAL_ID)
    best = best.assign(**{Column.GAPPED_METAL_CONFIDENCE: best[Column.CONSENSUS_CONFIDENCE]})
    return best.sort_values(
        [Column.CONSENSUS_CONFIDENCE, Column.GAP_WIDTH_EV, Column.MATERIAL_ID],
        ascending=[False, False, True],
        kind="stable",
        ignore_index=True,
    )


def _pick(
    ranked: pd.Series,
    refused: Collection[str],
    ids: pa.Array,
    positive: NDArray[np.bool_],
    negative: NDArray[np.bool_],
    settings: SelectionSettings,
) -> pd.DataFrame:
    """The first of the ranked positives, then random ones of the other positives and of the negatives."""
    best = [str(name) for name in ranked[~ranked.isin(list(refused))].head(settings.max_positives)]
    chosen = [(name, BY_CONSENSUS, place, 1.0) for place, name in enumerate(best, 1)]
    positives, negatives = ids.filter(pa.array(positive)), ids.filter(pa.array(negative))
    others = positives.filter(pc.invert(pc.is_in(positives, value_set=pa.array(best, type=positives.type))))
    chosen += _draw(others, settings.n_random_positives, RANDOM_POSITIVE, settings.seed + 1)
    chosen += _draw(negatives, settings.n_random_negatives, RANDOM_NEGATIVE, settings.seed)
    columns = [
        str(name) for name in (Column.MATERIAL_ID, Column.SELECTED_AS, Column.RANK, Column.INCLUSION_PROBABILITY)
    ]
    return pd.DataFrame(chosen, columns=columns).astype({Column.RANK: "int64", Column.INCLUSION_PROBABILITY: "float64"})


def _draw(ids: pa.Array, most: int, kind: str, seed: int) -> list[tuple[str, str, int, float]]:
    """Draw materials of one group uniformly, without replacement, whatever their order."""
    size = min(most, len(ids))
    if size == 0:
        return []
    drawn = np.random.default_rng(seed).choice(len(ids), size=size, replace=False)
    names = ids.take(pc.array_sort_indices(ids).take(pa.array(drawn))).to_pylist()
    return [(name, kind, rank, size / len(ids)) for rank, name in enumerate(names, 1)]
