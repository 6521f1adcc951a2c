"""The class of a crystal and its gap do not depend on the cell, the orientation, the order of its sites or the file."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from flows.commands.predict import crystals_of, predict_crystals, prediction_rows
from flows.settings import ScreenSettings
from mat2spec.crystals.readers import read_structures
from mat2spec.spectra.grids import EDOS_GRID
from screening.settings import GapSettings

CLASSES = ["is_gapped_metal", "has_vb_gap", "is_metal"]
NUMBERS = ["gap_top_ev", "gap_bottom_ev", "gap_width_ev", "gap_floor_states_per_ev", "gapped_metal_confidence"]


def crystals():
    """Primitive cells of a perovskite, two rock salts, a metal and a layered crystal."""
    rock_salt = [[0, 0, 0], [0.5, 0.5, 0.5]]
    yield (
        "SrVO3",
        Structure.from_spacegroup(
            "Pm-3m", Lattice.cubic(3.86), ["Sr", "V", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
        ),
    )
    for name, length in (("CeS", 5.78), ("TiN", 4.24)):
        elements = [name[:2], name[2:]]
        yield (
            name,
            Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), elements, rock_salt).get_primitive_structure(),
        )
    yield "Al", Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.05), ["Al"], [[0, 0, 0]]).get_primitive_structure()
    yield "NbS2", Structure(
        Lattice.hexagonal(3.34, 12.0), ["Nb", "Nb", "S", "S", "S", "S"],
        [[0, 0, 0.25], [0, 0, 0.75], [1 / 3, 2 / 3, 0.12], [1 / 3, 2 / 3, 0.38], [2 / 3, 1 / 3, 0.62], [2 / 3, 1 / 3, 0.88]],
    )  # fmt: skip


def other_cells(structure):
    """The same crystal in other cells, turned, and with its sites in another order."""
    generator = np.random.default_rng(3)
    turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    yield "conventional", structure.to_conventional()
    yield "doubled", structure * (2, 1, 1)
    yield "2x2x2", structure * (2, 2, 2)
    yield "turned", Structure(structure.lattice.matrix @ turn, structure.species, structure.frac_coords)
    yield "reordered", Structure.from_sites([structure[index] for index in generator.permutation(len(structure))])


@pytest.mark.parametrize("per_atom", [False, True])
def test_a_crystal_has_the_same_class_in_every_cell_and_file(tmp_path, per_atom):
    files, names = [], []
    for name, structure in crystals():
        cells = {"primitive": structure, **dict(other_cells(structure))}
        for number, (kind, cell) in enumerate(cells.items()):
            suffix = ("cif", "vasp")[number % 2]
            files.append(tmp_path / f"{name} {kind}.{suffix}")
            names.append((name, kind))
            cell.to(str(files[-1]), fmt={"cif": "cif", "vasp": "poscar"}[suffix])
    settings = ScreenSettings(prediction={"models": ["mat2spec"]}, gap=GapSettings(per_atom=per_atom))
    read = read_structures(files)
    given = crystals_of(read)
    predictions = predict_crystals(given, settings, "edos")
    rows = prediction_rows(read, given, predictions, settings, EDOS_GRID).to_pandas()
    rows[["crystal", "cell"]] = names
    for name, group in rows.groupby("crystal"):
        first = group[group.cell == "primitive"].iloc[0]
        for row in group.to_dict("records"):
            assert [row[column] for column in CLASSES] == first[CLASSES].tolist(), (name, row["cell"])
            numbers = np.array([row[column] for column in NUMBERS], dtype=float)
            np.testing.assert_allclose(
                numbers, first[NUMBERS].to_numpy(float), atol=2e-3, err_msg=f"{name} {row['cell']}"
            )
