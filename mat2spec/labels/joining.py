"""Join labels that refer to their crystals by id with a table of structures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.identity import structure_hash
from mat2spec.labels.labelled import DataError
from mat2spec.tables.parquet import read_table

_CRYSTAL = ("lattice", "frac_coords", "atomic_numbers")


def with_crystals(store: pa.Table, structures: Path | None) -> tuple[pa.Table, dict[str, int]]:
    """Fill in the crystals that a store gives only by id.

    Parameters
    ----------
    store
        Labels from `mat2spec.labels.edos_store.read_edos_store`.
    structures
        Parquet table of crystals with the column `material_id`, e.g. `mp_structures.parquet`; needed only if a label
        lacks its crystal.

    Returns
    -------
    pyarrow.Table
        The labels that now have a crystal, those that already had one first. Spectra remain per cell of `nsites`.
    dict
        Reason to number of labels without a crystal.

    Raises
    ------
    DataError
        If crystals are missing and there is no table of structures.
    """
    has_crystal = pc.is_valid(store["atomic_numbers"])
    complete, bare = store.filter(has_crystal), store.filter(pc.invert(has_crystal))
    if not len(bare):
        return complete, {}
    if structures is None or not structures.is_file():
        raise DataError(
            f"{len(bare)} labels refer to crystals of the Materials Project by id, but there is no table of their structures "
            f"({structures or 'none given'}); give the data folder (MAT2SPEC_DATA_DIR), or fetch them with "
            "mat2spec fetch structures."
        )
    wanted = pc.is_in(pc.field("material_id"), pa.array(bare["material_id"].to_pylist()))
    table = read_table(structures, columns=["material_id", *_CRYSTAL]).filter(wanted)
    crystals = Crystals.from_arrow(table)
    row_of = {str(material_id): row for row, material_id in enumerate(crystals.material_ids)}
    found, rows, left_out = [], [], Counter[str]()
    for index, (material_id, known) in enumerate(
        zip(bare["material_id"].to_pylist(), bare["structure_hash"].to_pylist(), strict=True)
    ):
        row = row_of.get(material_id)
        if row is None:
            left_out["not in the table of structures"] += 1
        elif structure_hash(crystals.cell(row)) != known:
            left_out["another structure in the table of structures"] += 1
        else:
            found.append(index)
            rows.append(row)
    joined = bare.take(found)
    for name in _CRYSTAL:
        column = store.schema.get_field_index(name)
        values = table[name].take(pa.array(rows, pa.int64())).cast(store.schema.field(name).type)
        joined = joined.set_column(column, store.schema.field(name), values)
    return pa.concat_tables([complete, joined]), dict(left_out)
