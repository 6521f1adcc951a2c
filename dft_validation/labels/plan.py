"""The label plan: which crystals of a database are labelled, in an order whose every prefix is a fair sample."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dft_validation.labels.choice import (
    Uncertainty,
    by_falling,
    has_free_electrons,
    likely_gapped_metals,
    spread_over_elements,
)
from dft_validation.labels.pool import Pool, element_matrix
from dft_validation.settings import LabelSettings, Part
from mat2spec.crystals.arrays import Crystals
from mat2spec.tables.columns import Column
from mat2spec.tables.files import TableError
from mat2spec.tables.parquet import read_metadata, read_table, write_table

PART = "part"
PLAN_KEY = "label_plan"
# The order consists of blocks of this size with the share of every part: a whole number of each by default.
_BLOCK = 40
_SCHEMA = pa.schema([(str(Column.MATERIAL_ID), pa.string()), (str(Column.FORMULA), pa.string()), (PART, pa.string())])


@dataclass(frozen=True)
class Judges:
    """Model predictions for crystals; each called once, with all crystals of the pool.

    Parameters
    ----------
    uncertainty
        Relative uncertainty of predictions, shape (n,), NaN where there is none.
    gapped_confidence
        Confidence that a crystal is a gapped metal, shape (n,), NaN where there is none.
    """

    uncertainty: Uncertainty
    gapped_confidence: Callable[[Crystals], NDArray[np.floating]]


def make_plan(pool: Pool, settings: LabelSettings, judges: Judges) -> pa.Table:
    """Choose the crystals of a plan and shuffle them.

    Parameters
    ----------
    pool
        Crystals that may be labelled.
    settings
        `plan`, and the anions of likely gapped metals.
    judges
        Models that choose the uncertain and the likely gapped crystals.

    Returns
    -------
    pyarrow.Table
        `material_id`, `formula` and `part` in the order of labelling; one crystal per formula.
    """
    plan = settings.plan
    elements = element_matrix(pool.crystals)
    rng = np.random.default_rng(plan.seed)
    orders = {
        Part.RANDOM: iter(rng.permutation(len(pool)).tolist()),
        Part.GAPPED: _likely_gapped(pool, settings, judges, rng),
        Part.UNCERTAIN: by_falling(judges.uncertainty(pool.crystals)),
        Part.RARE: spread_over_elements(elements, np.zeros(elements.shape[1]), rng),
    }
    taken: set[str] = set()
    rows: list[int] = []
    parts: list[Part] = []
    for part in _mixed_parts(plan.shares, rng):
        row = next((row for row in orders[part] if pool.formulas[row] not in taken), None)
        if len(rows) >= plan.n or row is None:
            # A plan whose parts no longer have their shares would not be a fair sample.
            break
        taken.add(pool.formulas[row])
        rows.append(row)
        parts.append(part)
    return pa.table(
        [
            pa.array(pool.crystals.material_ids[rows].astype(str), pa.string()),
            pa.array(pool.formulas[rows].astype(str), pa.string()),
            pa.array([str(part) for part in parts], pa.string()),
        ],
        schema=_SCHEMA,
    )


def _mixed_parts(shares: dict[Part, float], rng: np.random.Generator) -> Iterator[Part]:
    """Endless sequence of parts, in shuffled blocks with the share of each."""
    total = sum(shares.values())
    bounds = np.rint(np.cumsum([share / total for share in shares.values()]) * _BLOCK).astype(int)
    block = np.repeat(np.array(list(shares), dtype=object), np.diff(bounds, prepend=0))
    while True:
        yield from rng.permutation(block).tolist()


def _likely_gapped(pool: Pool, settings: LabelSettings, judges: Judges, rng: np.random.Generator) -> Iterator[int]:
    """Alternately the crystal of highest model confidence and a random one of those suggested by composition."""
    crystals = pool.crystals
    suggested = likely_gapped_metals(crystals, settings.electronegative_anions) | has_free_electrons(crystals)
    confident = by_falling(judges.gapped_confidence(crystals))
    random = iter(rng.permutation(np.flatnonzero(suggested)).tolist())
    while True:
        for order in (confident, random):
            row = next(order, None)
            if row is None:
                return
            yield row


def write_plan(path: Path, plan: pa.Table, provenance: Mapping[str, object], left_out: Counter[str]) -> None:
    """Write a plan with its provenance and the reasons why other crystals were left out."""
    made = {**provenance, "left_out": dict(left_out)}
    write_table(path, plan, {PLAN_KEY: json.dumps(made, sort_keys=True)})


def read_plan(path: Path) -> pa.Table:
    """Read a plan.

    Raises
    ------
    mat2spec.tables.files.TableError
        If the file is damaged or not a plan.
    """
    if PLAN_KEY not in read_metadata(path):
        raise TableError(f"{path} is not a label plan; give another file, or remove it to create a plan there.")
    return read_table(path, _SCHEMA.names).cast(_SCHEMA)
