"""Settings: what changes a result changes the hash, and nothing else does."""

import json

import pytest
from pydantic import ValidationError

from dft_validation import DftSettings
from dft_validation.settings import LabelPlanSettings, level_of


@pytest.mark.parametrize(
    "change", [{"kpoint_density": 600}, {"band_interpolation": 2}, {"symmetry_tolerance_a": 0}, {"cell": "doubled"}]
)
def test_physics_changes_the_hash(change):
    assert DftSettings(**change).settings_hash != DftSettings().settings_hash


@pytest.mark.parametrize(
    "change",
    [{"workers": 7}, {"time_limit_s": 1}, {"cache_dir": "x"}, {"fallback_engine": "elk"}, {"second_check": True}],
)
def test_amounts_and_places_do_not(change):
    assert DftSettings(**change).settings_hash == DftSettings().settings_hash


def test_unknown_and_contradictory_settings_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        DftSettings(kpoints=3)
    with pytest.raises(ValidationError, match="drop fewer or add extra_bands"):
        DftSettings(extra_bands=1, extra_bands_per_atom=1, dropped_bands=4)


@pytest.mark.parametrize("change", [{"second_check": True}, {"cell": "doubled"}])
def test_vasp_computes_no_doubled_cell(change):
    with pytest.raises(ValidationError, match="The engine vasp does not compute doubled cells"):
        DftSettings(engine="vasp", **change)


def test_every_setting_is_described():
    assert [name for name, info in DftSettings.model_fields.items() if not info.description] == []


def test_the_hash_of_the_default_physics_stays_as_results_were_kept_under():
    settings = DftSettings()
    assert settings.settings_hash == "fdf76b13f350e07d"
    assert json.dumps(settings.physics(), sort_keys=True) == (
        '{"band_attempts": 2, "band_interpolation": 3, "density_tolerance": 0.001, "dropped_bands": 4, '
        '"eigenstates_tolerance": 1e-06, "extra_bands": 4, "extra_bands_per_atom": 3, "functional": "PBE", '
        '"gap_tolerance_ev": 0.05, "kpoint_density": 350.0, "max_scf_iterations": 100, '
        '"plane_wave_cutoff_ev": 350.0, "smearing_ev": 0.05, "spin": "unpolarised", "symmetry_tolerance_a": 0.01}'
    )


@pytest.mark.parametrize(
    "change", [{"spin": "polarised"}, {"hubbard_u": "mp"}, {"elk_rgkmax": 8}, {"fermi_energy": "tetrahedra"}]
)
def test_spin_and_u_are_physics_where_they_differ_from_the_default(change):
    changed = DftSettings(**change)
    assert changed.settings_hash != DftSettings().settings_hash
    assert {*changed.physics()} - {*DftSettings().physics()} <= {*change}


def test_labels_at_the_level_of_the_materials_project_keep_their_hash():
    """Labels are kept under it: another hash would compute them all again."""
    plan = LabelPlanSettings()
    settings = DftSettings.model_validate({"level": "mp", **plan.dft})
    assert (settings.spin, settings.hubbard_u, settings.occupations) == ("mp", "mp", "tetrahedra")
    assert level_of(settings.physics()) == "mp"
    assert settings.settings_hash == "41a2805a7ec58aa4"


def test_anions_need_few_empty_bands_and_lanthanides_those_of_their_f_shell():
    settings = DftSettings(extra_bands=4, extra_bands_per_atom=3, extra_bands_per_anion=1)
    assert settings.empty_bands([11, 17]) == 4 + 3 + 1
    assert settings.empty_bands([57, 9]) == 4 + 3 + 7 + 1
    every_atom_alike = DftSettings(extra_bands=4, extra_bands_per_atom=3)
    assert every_atom_alike.empty_bands([11, 17]) == every_atom_alike.empty_bands([57, 9]) == 4 + 3 + 3
