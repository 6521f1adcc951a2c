"""What counts as the truth: who computed it, with which functional, treatment of spin and Hubbard U."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mat2spec.tables.columns import Column


@dataclass(frozen=True)
class Reference:
    """A level of theory that predictions are compared with.

    Parameters
    ----------
    name
        Who computed it: the engine, several joined by "+", or e.g. "materials-project".
    functional, spin
        Level of theory; None where it is not known.
    u_values
        Hubbard U in eV by element of all results together, as JSON; None where it is not known.
    """

    name: str
    functional: str | None = None
    spin: str | None = None
    u_values: str | None = None

    def columns(self) -> dict[str, object]:
        """The columns of a table that state the reference."""
        return {
            Column.REFERENCE: self.name,
            Column.FUNCTIONAL: self.functional,
            Column.SPIN: self.spin,
            Column.U_VALUES: self.u_values,
        }


def split_by_reference(dft_results: pd.DataFrame, name: str | None = None) -> list[tuple[Reference, pd.DataFrame]]:
    """Results grouped by level of theory, with and without Hubbard U, so that like is compared with like.

    Parameters
    ----------
    dft_results
        `material_id` and, where known, `engine`, `functional`, `spin`, `u_values`.
    name
        Name of the reference; that of the engines if None.

    Returns
    -------
    list
        References in alphabetical order of their level, with their results; one without a level for an empty table.
    """
    levels = [str(column) for column in (Column.FUNCTIONAL, Column.SPIN) if column in dft_results]
    if not levels or dft_results.empty:
        return [(_describe(dft_results, name), dft_results)]
    keys: list[Any] = [dft_results[level].to_numpy() for level in levels]
    if Column.U_VALUES in dft_results:
        keys.append(with_u(dft_results[Column.U_VALUES]).to_numpy())
    groups = dft_results.groupby(keys, dropna=False, sort=True)
    return [(_describe(group, name), group) for _, group in groups]


def with_u(u_values: pd.Series) -> pd.Series:
    """Which results were computed with a Hubbard U."""
    return ~u_values.fillna("").isin(["", "{}"])


def _describe(results: pd.DataFrame, name: str | None) -> Reference:
    engines = _known(results, Column.ENGINE)
    return Reference(
        name=name or "+".join(engines) or "unknown",
        functional=next(iter(_known(results, Column.FUNCTIONAL)), None),
        spin=next(iter(_known(results, Column.SPIN)), None),
        u_values=_merge_u(_known(results, Column.U_VALUES)),
    )


def _known(results: pd.DataFrame, column: Column) -> list[str]:
    return sorted({str(value) for value in results[column].dropna()}) if column in results else []


def _merge_u(texts: Iterable[str]) -> str | None:
    """All values of U together; an element with several keeps all of them."""
    merged: dict[str, set[float]] = {}
    known = False
    for text in texts:
        known = True
        for element, value in json.loads(text).items():
            merged.setdefault(element, set()).add(float(value))
    if not known:
        return None
    plain = {element: min(values) if len(values) == 1 else sorted(values) for element, values in merged.items()}
    return json.dumps(plain, sort_keys=True)
