"""What holds for all crystals, tables and texts, tried on many of them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import find_notes, find_problems
from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.crystals.readers import read_structures
from mat2spec.graphs.building import build_graphs
from mat2spec.tables.text import one_line, visible
from screening.sources.parquet import ParquetSource
from scripts.fuzz_readers import fuzz
from tests.robustness.strategies import crystals, names, tables, texts, unimodular

# The slower ones of this folder: some tens of CPU seconds.
pytestmark = pytest.mark.slow

quick = settings(
    # Shrinking takes minutes where an example reads files; the seed finds it again.
    phases=[Phase.generate],
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
WRITERS = {
    "x.cif": lambda crystal: str(CifWriter(crystal, significant_figures=10)),
    "POSCAR": lambda crystal: Poscar(crystal).get_str(significant_figures=12),
    "x.json": lambda crystal: json.dumps(crystal.as_dict()),
}


@pytest.mark.parametrize("name", WRITERS)
@quick
@given(crystal=crystals())
def test_what_is_written_is_read(tmp_path, name, crystal):
    (tmp_path / name).write_text(WRITERS[name](crystal))
    (entry,) = read_structures([tmp_path / name])
    assert entry.structure is not None, entry.reason
    read = entry.structure
    assert read.composition.reduced_composition == crystal.composition.reduced_composition
    assert read.volume / len(read) == pytest.approx(crystal.volume / len(crystal), rel=1e-5)
    np.testing.assert_allclose(contacts(read), contacts(crystal), atol=0.02)


def contacts(crystal):
    """The shortest distance, and a smooth sum over the neighbours of an atom."""
    distances = crystal.get_neighbor_list(6.0)[3]
    return distances.min(initial=6.0), ((1 - (distances / 6) ** 2) ** 2).sum() / len(crystal)


@quick
@given(crystal=crystals(), other=unimodular())
def test_another_cell_of_a_lattice_is_the_same_crystal(crystal, other):
    skewed = Structure(
        other @ crystal.lattice.matrix,
        crystal.species,
        crystal.cart_coords,
        coords_are_cartesian=True,
        to_unit_cell=True,  # coordinates beyond 1 would be noted
    )
    both = Crystals.from_structures([crystal, skewed])
    problems = find_problems(both)
    assert problems[0] == problems[1]
    assert find_notes(both)[0] == find_notes(both)[1]
    if problems[0] is None:
        graphs, _ = build_graphs(both)
        lengths = [np.sort(graphs[i].edge_length.numpy().repeat(graphs[i].edge_multiplicity.numpy())) for i in (0, 1)]
        assert len(lengths[0]) == len(lengths[1])
        np.testing.assert_allclose(*lengths, atol=2e-3)


@quick
@given(crystal=crystals(), other=unimodular())
def test_reduction_keeps_lattice_and_volume(crystal, other):
    skewed = Structure(other @ crystal.lattice.matrix, crystal.species, crystal.cart_coords, coords_are_cartesian=True)
    given_ = Crystals.from_structures([skewed])
    reduced = reduce_skewed_cells(given_)
    assert reduced.volumes[0] == pytest.approx(given_.volumes[0], rel=1e-6)
    back = given_.lattices[0] @ np.linalg.inv(reduced.lattices[0])
    np.testing.assert_allclose(back, np.rint(back), atol=1e-3)


@quick
@given(table=tables())
def test_no_table_of_numbers_raises_an_exception(tmp_path, table):
    pq.write_table(table, tmp_path / "x.parquet")
    source = ParquetSource(tmp_path / "x.parquet")
    assert len(source.properties()) == table.num_rows
    read = source.crystals(table["material_id"].to_pylist())
    problems = find_problems(read)
    graphs, again = build_graphs(read)
    assert len(problems) == len(again) == len(find_notes(read)) == table.num_rows
    assert all((problem is None) == (n > 0) for problem, n in zip(again, graphs.n_nodes.tolist(), strict=True))
    assert find_problems(Crystals.from_arrow(read.to_arrow())) == problems


@pytest.mark.parametrize("name", ["x.cif", "x.json", "POSCAR", "x"])
@quick
@given(text=texts)
def test_no_text_raises_an_exception(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8", errors="replace")
    entries = read_structures([tmp_path / name])
    assert entries
    for entry in entries:
        assert (entry.structure is None) == bool(entry.reason)
        assert "\n" not in entry.reason


@quick
@given(name=names)
def test_names_become_printable_and_stay_so(name):
    shown = one_line(name)
    assert all(unicodedata.category(letter) not in {"Cc", "Cs"} for letter in shown)
    assert one_line(shown) == shown
    assert visible(visible(name)) == visible(name)
    pa.array([shown], type=pa.string())
    if name.isascii() and name.isprintable():
        assert shown == name


@quick
@given(ids=st.lists(names.filter(bool), min_size=2, max_size=4))
def test_documents_of_any_names_are_all_read_and_kept_apart(tmp_path, ids):
    crystal = Structure(np.eye(3) * 4.12, ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]).as_dict()
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"material_id": name, "structure": crystal} for name in ids]))
    entries = read_structures([Path(path)])
    assert len({entry.name for entry in entries}) == len(ids)
    assert all(entry.structure is not None for entry in entries)


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_files_are_sentences(seed, tmp_path):
    counts, n_findings = fuzz(2.0, seed, tmp_path / "findings")
    told = [path.read_text() for path in tmp_path.glob("findings/*.txt")]
    assert n_findings == 0, told[:1]
    assert sum(counts.values()) > 50
