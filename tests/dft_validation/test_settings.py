"""Settings: what changes a result changes the hash, and nothing else does."""

import pytest
from pydantic import ValidationError

from dft_validation import DftSettings


@pytest.mark.parametrize("change", [{"kpoint_density": 600}, {"band_interpolation": 2}, {"symmetry_tolerance_a": 0}])
def test_physics_changes_the_hash(change):
    assert DftSettings(**change).settings_hash != DftSettings().settings_hash


@pytest.mark.parametrize("change", [{"workers": 7}, {"time_limit_s": 1}, {"cache_dir": "x"}, {"max_jobs": 0}])
def test_amounts_and_places_do_not(change):
    assert DftSettings(**change).settings_hash == DftSettings().settings_hash


def test_unknown_and_contradictory_settings_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        DftSettings(kpoints=3)
    with pytest.raises(ValidationError, match="drop fewer or add extra_bands"):
        DftSettings(extra_bands=1, extra_bands_per_atom=1, dropped_bands=4)


def test_every_setting_is_described():
    assert [name for name, info in DftSettings.model_fields.items() if not info.description] == []
