"""Consistency of the columns of a table of crystals with the coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.claims import VOLUME_TOLERANCE, elements_among
from mat2spec.crystals.columns import first_of
from mat2spec.crystals.composition import ElementCounts, canonical_formula, reduced_formulas
from mat2spec.crystals.numbers import plain_number
from mat2spec.tables.columns import Column

FORMULA_COLUMNS = (str(Column.FORMULA), "formula_pretty")
ELEMENT_COLUMNS = (str(Column.CHEMSYS), "elements")
CLAIM_COLUMNS = (*FORMULA_COLUMNS, *ELEMENT_COLUMNS, str(Column.NSITES), str(Column.VOLUME))


def with_contradictions(crystals: Crystals, table: pa.Table) -> Crystals:
    """Crystals, with a problem if the formula, number of sites or volume of a row contradicts its coordinates.

    Parameters
    ----------
    crystals
        The crystals read from the coordinates.
    table
        The same rows, with those `CLAIM_COLUMNS` that the table has.
    """
    formula_columns = [name for name in FORMULA_COLUMNS if name in table.column_names]
    formulas = reduced_formulas(crystals).tolist() if formula_columns else []
    found = [_of_formula(formulas, table, name) for name in formula_columns]
    element_columns = [name for name in ELEMENT_COLUMNS if name in table.column_names]
    found += [_of_elements(crystals, table, name) for name in element_columns]
    if Column.NSITES in table.column_names:
        found.append(_of_number(crystals, table))
    if Column.VOLUME in table.column_names:
        found.append(_of_volume(crystals, table))
    known = np.full(len(crystals), None) if crystals.problems is None else crystals.problems
    problems = first_of(known, *found)
    return crystals if all(problem is None for problem in problems) else replace(crystals, problems=problems)


def _of_formula(formulas: Sequence[str], table: pa.Table, name: str) -> NDArray[np.object_]:
    """Contradictions of a column of formulas; `formulas` are those of the atoms, empty for a row without atoms."""
    problems = np.full(len(formulas), None, dtype=object)
    for row, (stated, read) in enumerate(zip(table[name].to_pylist(), formulas, strict=True)):
        text = stated.decode(errors="replace") if isinstance(stated, bytes) else stated
        if read and isinstance(text, str) and text and text != read:
            meant = canonical_formula(text)
            if meant is not None and meant != read:
                problems[row] = (
                    f"The column {name} of the row gives {text}, but its atoms are {read}: one of them is wrong."
                )
    return problems


def _of_number(crystals: Crystals, table: pa.Table) -> NDArray[np.object_]:
    problems = np.full(len(crystals), None, dtype=object)
    for row, (stated, n_sites) in enumerate(
        zip(table[Column.NSITES].to_pylist(), crystals.n_sites.tolist(), strict=True)
    ):
        number = _number(stated)
        if number is not None and n_sites and number != n_sites:
            problems[row] = f"The column {Column.NSITES} of the row gives {number:g}, but it has {n_sites} atoms."
    return problems


def _of_volume(crystals: Crystals, table: pa.Table) -> NDArray[np.object_]:
    problems = np.full(len(crystals), None, dtype=object)
    volumes = crystals.volumes
    for row, stated in enumerate(table[Column.VOLUME].to_pylist()):
        number = _number(stated)
        if number is not None and number > 0 and abs(volumes[row] / number - 1) > VOLUME_TOLERANCE:
            problems[row] = (
                f"The column {Column.VOLUME} of the row gives {number:.6g} cubic Angstrom, but its lattice has "
                f"{volumes[row]:.6g}: one of them is in another unit."
            )
    return problems


def _of_elements(crystals: Crystals, table: pa.Table, name: str) -> NDArray[np.object_]:
    """Contradictions of a column that lists elements, or joins them by hyphens."""
    problems = np.full(len(crystals), None, dtype=object)
    systems = ElementCounts.from_crystals(crystals).chemical_systems()
    for row, (stated, read) in enumerate(zip(table[name].to_pylist(), systems, strict=True)):
        if not read or stated == read:
            continue
        listed = elements_among(stated.split("-") if isinstance(stated, str) else stated or ())
        if listed and listed != set(read.split("-")):
            problems[row] = (
                f"The column {name} of the row lists {', '.join(sorted(listed))}, but its atoms are {read}: one of them is "
                "wrong."
            )
    return problems


def _number(stated: object) -> float | None:
    """A number, also a decimal or one written as text; None for anything else."""
    if isinstance(stated, str):
        return plain_number(stated.strip())
    return float(stated) if isinstance(stated, int | float | Decimal) and not isinstance(stated, bool) else None
