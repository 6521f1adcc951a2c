"""Formulas that must never be labelled or trained on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mat2spec.crystals.composition import reduced_formula
from mat2spec.crystals.material_ids import in_digits
from mat2spec.labels.labelled import DataError, LabelledSpectra
from mat2spec.tables.files import read_words
from mat2spec.tables.parquet import read_table

RESERVED_FILE = "reserved_ids.txt"
STRUCTURES_FILE = "mp_structures.parquet"


def data_file(data_dir: Path, name: str) -> Path:
    """A file of a data folder.

    Raises
    ------
    DataError
        If it is missing.
    """
    path = Path(data_dir) / name
    if not path.is_file():
        raise DataError(
            f"The training data {name} are not in {Path(data_dir)}. They are not part of the project: "
            "give the folder that holds them with --data or the variable MAT2SPEC_DATA_DIR."
        )
    return path


def reserved_formulas(data_dir: Path) -> set[str]:
    """Reduced formulas of the materials that must never be labelled or trained on."""
    ids = [in_digits(entry) for entry in read_words(data_file(data_dir, RESERVED_FILE))]
    table = read_table(data_file(data_dir, STRUCTURES_FILE), columns=["material_id", "formula"])
    chosen = table.filter(pc.is_in(table["material_id"], value_set=pa.array(ids)))
    if chosen.num_rows < len(set(ids)):
        raise DataError(
            f"{len(set(ids)) - chosen.num_rows} ids of {RESERVED_FILE} are not in {STRUCTURES_FILE}; "
            "their formulas are unknown, so they cannot be excluded."
        )
    return {reduced_formula(formula) for formula in chosen["formula"].to_pylist()}


def known_reserved_formulas(data_dir: Path | None) -> set[str]:
    """Reserved formulas of a data folder, if it is one and has the list."""
    if data_dir is None or not all((Path(data_dir) / name).is_file() for name in (RESERVED_FILE, STRUCTURES_FILE)):
        return set()
    return reserved_formulas(data_dir)


def without_reserved(data: LabelledSpectra, reserved: Collection[str]) -> LabelledSpectra:
    """The data without reserved formulas in the training and validation splits."""
    hidden = np.isin(data.formulas, list(reserved)) & (data.split != "test")
    if not hidden.any():
        return data
    dropped = {**data.dropped, "reserved formula": int(hidden.sum())}
    return replace(data.take(np.flatnonzero(~hidden)), dropped=dropped)
