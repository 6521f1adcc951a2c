"""Materials reserved for an independent test: neither they nor their formulas are ever labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mat2spec.crystals.composition import canonical_formula
from mat2spec.crystals.material_ids import in_digits
from mat2spec.labels.labelled import DataError
from mat2spec.labels.reserved import RESERVED_FILE, STRUCTURES_FILE
from mat2spec.tables.files import file_sha256, read_words
from mat2spec.tables.parquet import read_table


@dataclass(frozen=True)
class Reserved:
    """A list of reserved materials.

    Parameters
    ----------
    ids
        Their identifiers, in digits (`mat2spec.crystals.material_ids`).
    formulas
        Their reduced formulas.
    sha256
        Hash of the list; empty without a list.
    """

    ids: frozenset[str] = frozenset()
    formulas: frozenset[str] = frozenset()
    sha256: str = ""

    def holds(self, material_id: str, formula: str) -> bool:
        """Whether a material or its formula is reserved."""
        return in_digits(material_id) in self.ids or formula in self.formulas


def find_reserved_list(given: Path | None, data_dir: Path | None) -> Path | None:
    """The given list, else that of the data folder, else None.

    Raises
    ------
    DataError
        If the given list does not exist.
    """
    if given is not None:
        if not given.is_file():
            raise DataError(f"There is no list of reserved materials at {given}; check the path.")
        return given
    inside = None if data_dir is None else data_dir / RESERVED_FILE
    return inside if inside is not None and inside.is_file() else None


def read_reserved(path: Path | None, formula_of: Mapping[str, str]) -> Reserved:
    """Read a list of reserved materials and find their formulas.

    Parameters
    ----------
    path
        Text file with identifiers and formulas; None is the empty list. The formula of an identifier is taken from the
        given crystals or from `mp_structures.parquet` beside the list.
    formula_of
        Formulas of the given crystals by identifier.

    Raises
    ------
    DataError
        If the formula of an entry cannot be found: its polymorphs could then not be excluded.
    """
    if path is None:
        return Reserved()
    entries = {in_digits(entry) for entry in read_words(path)}
    formula_of = {in_digits(name): formula for name, formula in formula_of.items()}
    known = {entry: canonical_formula(formula_of[entry]) for entry in entries if entry in formula_of}
    formulas = {entry: formula for entry, formula in known.items() if formula is not None}
    beside = path.with_name(STRUCTURES_FILE)
    if len(formulas) < len(entries) and beside.is_file():
        formulas |= _formulas_in(beside, entries - formulas.keys())
    for entry in sorted(entries - formulas.keys()):
        formula = canonical_formula(entry)
        if formula is None:
            raise DataError(
                f"The formula of the reserved material {entry} is neither among the crystals nor in {beside}; write its "
                f"formula into {path} instead, so that its polymorphs are excluded too."
            )
        formulas[entry] = formula
    return Reserved(frozenset(entries), frozenset(formulas.values()), file_sha256(path))


def _formulas_in(table_path: Path, ids: set[str]) -> dict[str, str]:
    table = read_table(table_path, columns=["material_id", "formula"])
    rows = table.filter(pc.is_in(table["material_id"], value_set=pa.array(sorted(ids)))).to_pylist()
    found = {row["material_id"]: canonical_formula(row["formula"]) for row in rows}
    return {material_id: formula for material_id, formula in found.items() if formula is not None}
