"""The table of projections."""

from __future__ import annotations

import numpy as np

from mat2spec.spectra.grids import EDOS_GRID
from screening.report.projections import projections_of_table, projections_table
from screening.runs.schemas import TableName, conform, empty_table

SPECTRUM = np.linspace(0, 3, EDOS_GRID.size)


def test_projections_come_back_from_their_table_as_they_were():
    made = {"mp-1": {"Ti d": SPECTRUM, "O p": SPECTRUM * 2}, "mp-2": {"O s": SPECTRUM / 2}}
    table = conform(projections_table(made, "tight-binding", "abc"), TableName.PROJECTIONS, EDOS_GRID)
    assert table.select(["material_id", "element", "shell"]).to_pylist()[0] == {
        "material_id": "mp-1",
        "element": "Ti",
        "shell": "d",
    }
    found = projections_of_table(table)
    assert {name: list(shells) for name, shells in found.items()} == {
        name: list(shells) for name, shells in made.items()
    }
    np.testing.assert_allclose(found["mp-1"]["O p"], SPECTRUM * 2, rtol=1e-6)


def test_nothing_to_project_is_a_table_without_rows():
    table = conform(projections_table({}, "tight-binding", "abc"), TableName.PROJECTIONS)
    assert table.schema.names == empty_table(TableName.PROJECTIONS).schema.names
    assert projections_of_table(table) == {}
