"""The paper's archive, on small ones made here in the layout of its authors."""

import json
import pickle
import random
import sys
import types

import numpy as np
import pytest

from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError
from mat2spec.labels.readers import load_archive_edos, load_archive_phdos
from mat2spec.labels.readers.archive import published_edos_split
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt
from tests.mat2spec.labels.readers.small_archives import (
    SALTS,
    write_edos_archive,
    write_phdos_archive,
    write_pickle,
)

GRAPHS = GraphSettings()


@pytest.fixture
def edos(tmp_path):
    return write_edos_archive(tmp_path)


@pytest.fixture
def phdos(tmp_path):
    return write_phdos_archive(tmp_path)


def test_edos_is_read_per_atom_in_the_published_split(edos):
    data = load_archive_edos(edos, GRAPHS)
    assert len(data) == 20
    assert data.formulas[5] == "NaCl"
    np.testing.assert_allclose(data.spectra[5], 3.0)  # sixth row of the labels, two atoms
    assert data.split.tolist() == published_edos_split(20).tolist()
    assert set(data.sources) == {"mpids.csv", "total_dos_128.npy", "materials_with_edos"}


def test_published_split_has_the_sizes_of_the_paper():
    split = published_edos_split(37565)
    counts = {name: int((split == name).sum()) for name in ("train", "valid", "test")}
    assert counts == {"train": 30052, "valid": 3757, "test": 3756}


def test_published_split_is_what_the_training_script_draws():
    # random.shuffle with the global generator seeded with 1, then two cuts of scikit-learn, which takes the
    # first part of a permutation as the held-out one; written out by hand for ten materials.
    state = random.getstate()
    random.seed(1)
    order = list(range(10))
    random.shuffle(order)
    random.setstate(state)
    first = np.random.RandomState(1).permutation(10)
    held_out, train = [order[i] for i in first[:2]], [order[i] for i in first[2:]]
    second = np.random.RandomState(1).permutation(2)
    split = published_edos_split(10)
    assert sorted(np.flatnonzero(split == "train")) == sorted(train)
    assert split[held_out[second[0]]] == "valid"
    assert split[held_out[second[1]]] == "test"


def test_subclass_of_the_archive_brings_its_own_split(edos):
    folder = edos / "label_edos/materials_classes/chlorides"
    folder.mkdir(parents=True)
    for name, indices in {"train": [1, 5], "val": [9], "test": [13]}.items():
        (folder / f"{name}_idx.json").write_text(json.dumps(indices))
    data = load_archive_edos(edos, GRAPHS, materials_class="chlorides")
    assert dict(zip(data.formulas, data.split, strict=True)) == {
        "LiCl": "train",
        "NaCl": "train",
        "KCl": "valid",
        "RbCl": "test",
    }


def test_reserved_formulas_are_tested_on_at_most(edos):
    split = published_edos_split(20)
    hidden = {SALTS[int(np.flatnonzero(split == name)[0])].reduced_formula for name in ("train", "valid", "test")}
    data = load_archive_edos(edos, GRAPHS, reserved=hidden)
    assert len(data) == 18
    assert data.dropped == {"reserved formula": 2}
    assert set(data.split[np.isin(data.formulas, list(hidden))]) == {"test"}


def test_missing_and_unusable_crystals_are_counted_and_the_others_go_on(edos):
    (edos / "materials_with_edos/dos_mp-3.json").unlink()
    (edos / "materials_with_edos/dos_mp-4.json").write_text('{"structure": {"sites": 5}}')
    shared = rock_salt()
    shared.replace(0, {"Na": 0.5, "K": 0.5})
    (edos / "materials_with_edos/dos_mp-5.json").write_text(json.dumps({"structure": shared.as_dict()}))
    data = load_archive_edos(edos, GRAPHS)
    assert len(data) == 17
    assert data.dropped == {
        "Its file in materials_with_edos is missing.": 1,
        "Its crystal cannot be read.": 1,
        "The crystal has partial occupancies.": 1,
    }


@pytest.mark.parametrize("name", ["label_edos/mpids.csv", "label_edos/total_dos_128.npy"])
def test_missing_file_of_edos_is_named(edos, name):
    (edos / name).unlink()
    with pytest.raises(DataError, match=f"lacks {name}"):
        load_archive_edos(edos, GRAPHS)


@pytest.mark.parametrize("name", ["phdos/ph_structures.pkl", "phdos/ph_dos.npy"])
def test_missing_file_of_phdos_is_named(phdos, name):
    (phdos / name).unlink()
    with pytest.raises(DataError, match=f"lacks {name}"):
        load_archive_phdos(phdos, GRAPHS)


def test_missing_index_arrays_are_a_sentence(phdos):
    (phdos / "phdos/200801_trteva_indices.pkl").unlink()
    with pytest.raises(DataError, match="one pickle of index arrays"):
        load_archive_phdos(phdos, GRAPHS)


def test_labels_without_their_material_are_refused(edos):
    np.save(edos / "label_edos/total_dos_128.npy", np.ones((19, 128)))
    with pytest.raises(DataError, match=r"holds 19 spectra, .* 20 materials"):
        load_archive_edos(edos, GRAPHS)


def test_labels_on_another_grid_are_refused(edos):
    np.save(edos / "label_edos/total_dos_128.npy", np.ones((20, 32)))
    with pytest.raises(DataError, match=r"shape \(20, 32\).*128 bins from -4 to 4 eV"):
        load_archive_edos(edos, GRAPHS)


def test_pickled_labels_are_refused(edos):
    np.save(edos / "label_edos/total_dos_128.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="an array of numbers"):
        load_archive_edos(edos, GRAPHS)


@pytest.mark.parametrize("protocol", range(6))
def test_phonons_of_every_pickle_protocol(phdos, protocol):
    for path in (phdos / "phdos").glob("*.pkl"):
        write_pickle(path, pickle.loads(path.read_bytes()), protocol)
    data = load_archive_phdos(phdos, GRAPHS)
    assert data.formulas.tolist() == ["SrVO3", "LiF", "LiCl", "LiBr", "LiI", low_symmetry().reduced_formula]
    assert data.split.tolist() == ["train", "train", "valid", "test", "valid", "train"]
    assert data.graphs.n_atoms.tolist() == [5, 2, 2, 2, 2, 4]
    np.testing.assert_allclose(data.grid.integrate(data.spectra), 3, rtol=1e-5)
    np.testing.assert_allclose(data.crystals.lattices[0], perovskite().lattice.matrix)


def test_structures_of_an_old_pymatgen_with_oxidation_states_are_read(phdos):
    """Names and attributes as pymatgen wrote them in 2018; its classes are not there any more."""

    def fake(module, name, **state):
        if module not in sys.modules:
            sys.modules[module] = types.ModuleType(module)
        kind = getattr(sys.modules[module], name, None)
        if kind is None or not getattr(kind, "made_here", False):
            kind = type(name, (), {"__module__": module, "made_here": True})
            setattr(sys.modules[module], name, kind)
        made = kind()
        made.__dict__.update(state)
        return made

    modules = [f"pymatgen.old_{name}" for name in ("structure", "lattice", "sites", "composition", "species")]
    structure, lattice, sites, composition, species = modules
    cell = fake(lattice, "Lattice", _matrix=np.eye(3).ravel() * 4.2)
    atoms = [
        fake(
            sites,
            "PeriodicSite",
            _fcoords=np.array(place),
            _species=fake(composition, "Composition", _data={fake(species, "Specie", _el=symbol, _oxi_state=1): 1.0}),
        )
        for symbol, place in (("Cs", [0.0, 0, 0]), ("Cl", [0.5, 0.5, 0.5]))
    ]
    write_pickle(
        phdos / "phdos/ph_structures.pkl", [fake(structure, "Structure", _lattice=cell, _sites=tuple(atoms))] * 6
    )
    for module in modules:
        del sys.modules[module]
    data = load_archive_phdos(phdos, GRAPHS)
    assert set(data.formulas) == {"CsCl"}
    np.testing.assert_allclose(data.crystals.lattices[0], np.eye(3) * 4.2)


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return __import__("os").system, (f"touch {self.target}",)


@pytest.mark.parametrize("where", ["ph_structures.pkl", "200801_trteva_indices.pkl"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_malicious_pickle_is_refused_and_runs_nothing(phdos, tmp_path, where, protocol):
    trace = tmp_path / "trace"
    write_pickle(phdos / "phdos" / where, [Malicious(trace)], protocol)
    with pytest.raises(DataError, match=r"requests '(posix|nt)\.system'.*None of it was used"):
        load_archive_phdos(phdos, GRAPHS)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__", "exec"])
def test_builtin_functions_are_refused(phdos, name):
    (phdos / "phdos/ph_structures.pkl").write_bytes(b"cbuiltins\n" + name.encode() + b"\n(S'1'\ntR.")
    with pytest.raises(DataError, match=f"requests 'builtins.{name}'"):
        load_archive_phdos(phdos, GRAPHS)


def test_torn_pickle_is_a_sentence(phdos):
    path = phdos / "phdos/ph_structures.pkl"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="is damaged"):
        load_archive_phdos(phdos, GRAPHS)


def test_index_arrays_that_share_a_material_are_refused(phdos):
    write_pickle(phdos / "phdos/200801_trteva_indices.pkl", ([0, 1], [1, 2], [3]))
    with pytest.raises(DataError, match="into two splits"):
        load_archive_phdos(phdos, GRAPHS)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (([0], [1]), "holds 2 index arrays"),
        (([0], [1], [6]), "material 6 of 6"),
        (([0], [1], [0.5]), "arrays of indices"),
        (([0], [1], {"a": 1}), "arrays of indices"),
    ],
)
def test_index_arrays_that_fit_nothing_are_refused(phdos, indices, message):
    write_pickle(phdos / "phdos/200801_trteva_indices.pkl", indices)
    with pytest.raises(DataError, match=message):
        load_archive_phdos(phdos, GRAPHS)
