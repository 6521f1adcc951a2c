"""Screens of tables with members that cannot be computed: the others are, and nothing that failed is called success."""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from flows.commands.screen import screen
from flows.settings_layers import load_settings
from flows.stages import NoPredictionError
from mat2spec.crystals.arrays import Crystals
from screening.runs.record import list_runs
from screening.runs.schemas import TableName


def primitive_salt(cation, anion="O", a=4.8):
    return Structure(a / 2 * (1 - Lattice.cubic(1).matrix), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def sheared(structure, by=100_000):
    lattice = structure.lattice.matrix.copy()
    lattice[1] += by * lattice[0]
    return Structure(lattice, structure.species, structure.cart_coords, coords_are_cartesian=True)


GOOD = {"good": primitive_salt("V"), "other": primitive_salt("Nb", "N")}
BAD = {
    "americium": (primitive_salt("Am"), "Z = 94|atomic number 95"),
    "nobelium": (primitive_salt("No"), "Z = 94|atomic number 102"),
    "overlap": (Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.001, 0, 0]]), "apart"),
    "needle": (Structure(Lattice.orthorhombic(1e-9, 3e5, 3e5), ["Na"], [[0, 0, 0]]), "Angstrom long"),
    "empty": (Structure(Lattice.cubic(40), ["Na"], [[0, 0, 0]]), "isolated"),
}


def run(folder, structures, *assignments):
    crystals = Crystals.from_structures(list(structures.values()), list(structures))
    pq.write_table(crystals.to_arrow(), folder / "crystals.parquet")
    return screen(
        load_settings(
            None,
            [
                "source.kind=parquet",
                f"source.path={folder / 'crystals.parquet'}",
                f"results_dir={folder / 'results'}",
                f"dft.cache_dir={folder / 'cache'}",
                "filters.n_elements_min=1",
                "run_dft=false",
                *assignments,
            ],
        )
    )


@pytest.mark.parametrize("model", ["mat2spec", "sitedos"])
def test_each_bad_member_is_a_row_with_its_reason(tmp_path, model):
    members = GOOD | {name: structure for name, (structure, _) in BAD.items()}
    done = run(tmp_path, members, f"prediction.models=[{model}]")
    rows = done.read_table(TableName.PREDICTIONS).set_index("material_id")
    assert rows.loc[list(GOOD), "status"].eq("ok").all()
    for name, (_, words) in BAD.items():
        if model == "mat2spec" and "Z = 94" in words:
            continue  # its elements are described up to Z = 103
        assert rows.loc[name, "status"] == "failed"
        assert pd.Series([rows.loc[name, "reason"]]).str.contains(words).all(), rows.loc[name, "reason"]


def test_a_sheared_cell_is_the_same_crystal(tmp_path):
    members = {"plain": GOOD["good"], "sheared": sheared(GOOD["good"])}
    done = run(tmp_path, members, "prediction.models=[mat2spec]")
    rows = done.read_table(TableName.PREDICTIONS).set_index("material_id")
    assert rows["status"].eq("ok").all()
    assert rows.loc["plain", "edos"] == pytest.approx(rows.loc["sheared", "edos"], abs=1e-3)


def test_a_run_without_a_single_prediction_is_a_failure_with_its_reasons(tmp_path):
    members = {name: structure for name, (structure, words) in BAD.items() if "Z = 94" not in words}
    with pytest.raises(NoPredictionError, match=r"None of the 3 predictions succeeded: .*apart.*\(1\)"):
        run(tmp_path, members, "prediction.models=[mat2spec]")
    (record,) = list_runs(tmp_path / "results")
    assert record["status"] == "failed"
    assert "succeeded" in record["reason"]
