"""A screen in Python: the same classes and ranks as in a run folder, nothing written."""

import pytest
from pymatgen.core import Lattice, Structure

import screening
from screening.settings import ClassifySettings, GapSettings


def rock_salt(cation, anion, a):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def crystals():
    return [rock_salt("Ce", "Te", 6.36).get_primitive_structure(), rock_salt("Mg", "O", 4.2), "no crystal"]


def test_every_crystal_is_predicted_by_every_model_and_hits_are_ranked(crystals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    everything = ClassifySettings(target="dos_at_efermi_states_per_ev >= 0")
    found = screening.screen(crystals, ["mat2spec", "gatgnn"], ["CeTe", "MgO", "bad"], settings=everything)
    assert len(found.predictions) == len(found.classifications) == 6
    failed = found.predictions[found.predictions.status != "ok"]
    assert failed.material_id.tolist() == ["bad", "bad"]
    assert failed.reason.str.contains("is not a crystal").all()
    assert sorted(found.picks.material_id) == ["CeTe", "MgO"]
    assert found.picks.pick_rank.tolist() == [1, 2]
    assert found.picks.space_group.tolist() == [225, 225]
    assert found.picks.n_models.tolist() == [2, 2]
    # No label of their training has cerium: ranked last, by no number.
    assert found.picks.material_id.tolist() == ["MgO", "CeTe"]
    assert found.picks.trust.tolist()[1] == "outside"
    assert found.picks.unseen_elements.tolist() == ["", "Ce"]
    assert found.picks.consensus_confidence.notna().tolist() == [True, False]
    assert not any(name.startswith("dft_") for name in found.picks.columns)
    assert list(tmp_path.iterdir()) == []


def test_the_rule_of_a_gap_is_the_one_given(crystals):
    strict = GapSettings(dos_threshold_states_per_ev=1e-6)
    found = screening.screen(crystals[0], ["mat2spec"], gap=strict)
    assert found.picks.empty
    assert not found.classifications.has_vb_gap.any()


def test_names_are_unique(crystals):
    with pytest.raises(ValueError, match="the same material_id"):
        screening.screen(crystals, ["mat2spec"], ["a", "a", "b"])
