"""Labels that name their crystals by id: the join with a table of structures."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.crystals.cell import Cell
from mat2spec.crystals.identity import structure_hash
from mat2spec.labels.edos_store import STORE_SCHEMA
from mat2spec.labels.joining import with_crystals
from mat2spec.labels.labelled import DataError

LATTICE = 4.0 * np.eye(3)
COORDINATES = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
NUMBERS = np.array([55, 17])


def store_of(*rows):
    """Labels with an id and what else is given; the other columns are zero or empty."""
    plain = {field.name: "" if pa.types.is_string(field.type) else 0 for field in STORE_SCHEMA}
    lists = {field.name: None for field in STORE_SCHEMA if pa.types.is_list(field.type)}
    full = [{**plain, **lists, "edos": [0.0] * 128, "is_metal": True, **row} for row in rows]
    return pa.Table.from_pylist(full, schema=STORE_SCHEMA)


@pytest.fixture
def structures(tmp_path):
    path = tmp_path / "structures.parquet"
    cells = {"mp-1": LATTICE, "mp-2": 1.1 * LATTICE}
    columns = {
        "material_id": list(cells),
        "lattice": [lattice.ravel().tolist() for lattice in cells.values()],
        "frac_coords": [COORDINATES.ravel().tolist()] * 2,
        "atomic_numbers": [NUMBERS.tolist()] * 2,
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_crystals_are_joined_by_id_if_they_are_still_the_same(structures):
    known = structure_hash(Cell(LATTICE, COORDINATES, NUMBERS))
    own = {"lattice": [3.0] * 9, "frac_coords": [0.0] * 3, "atomic_numbers": [11]}
    store = store_of(
        {"material_id": "mp-2", "structure_hash": known},
        {"material_id": "mp-1", "structure_hash": known},
        {"material_id": "mp-3", "structure_hash": known},
        {"material_id": "mine", **own},
    )
    joined, left_out = with_crystals(store, structures)
    assert joined["material_id"].to_pylist() == ["mine", "mp-1"]
    assert joined["atomic_numbers"].to_pylist() == [[11], [55, 17]]
    assert joined["lattice"].to_pylist()[1] == LATTICE.ravel().tolist()
    assert left_out == {
        "another structure in the table of structures": 1,
        "not in the table of structures": 1,
    }
    assert joined.schema == store.schema


def test_without_a_table_of_structures_it_says_how_to_get_one(tmp_path):
    with pytest.raises(DataError, match="mat2spec fetch structures"):
        with_crystals(store_of({"material_id": "mp-1"}), None)
    with pytest.raises(DataError, match=r"nowhere\.parquet"):
        with_crystals(store_of({"material_id": "mp-1"}), tmp_path / "nowhere.parquet")
