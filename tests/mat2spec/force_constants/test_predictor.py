"""The mean of network and potential keeps the contract of every model, and says where the network stands alone."""

import numpy as np
import pytest
from pymatgen.core import Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.force_constants import potential
from mat2spec.force_constants.potential import modes_by_potential
from mat2spec.force_constants.predictor import SHARE, spectrum_of_potential
from mat2spec.models.checkpoints import WeightsError
from mat2spec.prediction import load_predictor, predict_with_models
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.metrics import normalise_sum
from mat2spec.tables.array_cache import ArrayCache
from tests.mat2spec.conftest import perovskite, rock_salt, rock_salt_primitive


@pytest.fixture(scope="module")
def predictor():
    return load_predictor("force-constants", "phdos", device="cpu")


@pytest.fixture(scope="module")
def network():
    return load_predictor("sitedos", "phdos", device="cpu")


def crystals_of(*structures):
    return Crystals.from_structures(structures)


def test_the_spectrum_is_the_mean_of_both_and_holds_three_modes_per_atom(predictor, network):
    crystals = crystals_of(rock_salt_primitive(), perovskite(4.0))
    prediction = predictor.predict(crystals)
    by_network = network.predict(crystals).spectra
    own = [spectrum_of_potential(*both) for both in zip(modes_by_potential(crystals), by_network, strict=True)]
    expected = SHARE * np.array(own) + (1 - SHARE) * normalise_sum(by_network)
    assert normalise_sum(prediction.spectra) == pytest.approx(expected, abs=1e-6)
    assert prediction.scale == pytest.approx([6, 15], rel=1e-5)
    assert prediction.spectra.min() >= 0
    assert prediction.speakers == ["force-constants"] * 2
    assert (prediction.relative_error > 0).all()
    assert (prediction.uncertainty > 0).all()


def test_choice_of_cell_order_of_atoms_and_batch_change_nothing(predictor):
    large = rock_salt()
    moved = large.frac_coords[::-1] + np.array([0.1, 0.7, 0.3])
    shuffled = Structure(large.lattice, [large[i].specie for i in range(7, -1, -1)], moved)
    alone = predictor.predict(crystals_of(rock_salt_primitive())).spectra[0] / 2
    for row in predictor.predict(crystals_of(large, shuffled, large * (1, 1, 2))).spectra / [[8], [8], [16]]:
        # Forces of single precision over displacements of 0.005 Angstrom.
        assert row == pytest.approx(alone, abs=3e-3 * float(alone.max()))


def test_where_the_potential_has_no_answer_the_network_speaks_alone_and_says_so(predictor, network, monkeypatch):
    crystals = crystals_of(rock_salt_primitive(), perovskite(4.0))
    monkeypatch.setattr(potential, "MOST_FORCES", 100)
    prediction = predictor.predict(crystals)
    alone = network.predict(crystals)
    assert prediction.speakers == ["sitedos", "sitedos"]
    assert prediction.spectra == pytest.approx(alone.spectra, rel=1e-5)
    assert prediction.uncertainty == pytest.approx(alone.uncertainty, rel=1e-5)
    assert prediction.trust == alone.trust
    assert all("more than 100" in reason for reason in prediction.reason)


def test_what_the_potential_cannot_do_is_a_remark_and_full_memory_is_not(predictor, monkeypatch):
    crystals = crystals_of(rock_salt_primitive())
    for error, text in ((ValueError("no equilibrium"), "no equilibrium"), (IndexError("list"), "list")):
        monkeypatch.setattr(potential.harmonic, "solve", raising(error))
        (reason,) = predictor.predict(crystals).reason
        assert text in reason
    monkeypatch.setattr(potential.harmonic, "solve", raising(RuntimeError("DefaultCPUAllocator: not enough memory")))
    with pytest.raises(MemoryError):
        predictor.predict(crystals)


def raising(error):
    def solve(*_):
        raise error

    return solve


def test_a_crystal_that_the_network_cannot_predict_fails_with_its_reason(predictor):
    unknown = rock_salt_primitive(cation="Po")
    prediction = predictor.predict(crystals_of(unknown, rock_salt_primitive()))
    assert [str(status) for status in prediction.status] == ["failed", "ok"]
    assert "does not know the elements" in prediction.reason[0]


def test_the_potential_is_asked_once(predictor, tmp_path, monkeypatch):
    crystals, cache = crystals_of(rock_salt_primitive()), ArrayCache(tmp_path, 2**20)
    (first,) = modes_by_potential(crystals, cache)
    monkeypatch.setattr(potential.harmonic, "solve", raising(AssertionError("asked again")))
    (again,) = modes_by_potential(crystals, cache)
    assert (first == again).all()


def test_it_predicts_beside_other_models_and_reports_every_crystal(predictor, network):
    done = []
    crystals = crystals_of(rock_salt_primitive(), rock_salt_primitive(cation="Po"))
    both = predict_with_models([network, predictor], crystals, done.append)
    assert [one.model for one in both] == ["sitedos", "force-constants"]
    assert sum(done) == 4
    assert both[0].weights_hash != both[1].weights_hash


def test_it_predicts_phonons_only():
    with pytest.raises(WeightsError, match="phonon densities of states, not edos"):
        load_predictor("force-constants", "edos")
    assert load_predictor("force-constants", "phdos", device="cpu").grid == PHDOS_GRID
