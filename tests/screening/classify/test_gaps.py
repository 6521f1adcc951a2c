from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mat2spec.spectra.grids import EDOS_GRID
from screening.classify.gaps import classify_spectra
from screening.settings import GapSettings

WIDTH = EDOS_GRID.width
# Read here: the tests themselves run without the settings of the person who starts them.
DATA_DIR = os.environ.get("MAT2SPEC_DATA_DIR")
EDOS_TABLE = Path(DATA_DIR or ".") / "edos_pbe.parquet"

random_spectra = arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.just(EDOS_GRID.size)),
    elements=st.floats(0, 3, allow_nan=False, width=32),
)


def with_run(first, last, level=5.0):
    """A flat spectrum with an empty run from bin `first` to bin `last`, both included."""
    spectrum = np.full((1, EDOS_GRID.size), level)
    spectrum[0, first : last + 1] = 0.0
    return spectrum


def by_definition(spectrum, threshold=0.7):
    """The rule read aloud, one bin after the other."""
    below = list(spectrum < threshold)
    if all(below):
        return True
    for end in range(len(below)):
        if not below[end] or (end + 1 < len(below) and below[end + 1]):
            continue
        start = end
        while start > 0 and below[start - 1]:
            start -= 1
        in_window = EDOS_GRID.edges[end] <= -0.3 and EDOS_GRID.edges[end + 1] >= -1.0
        if end - start + 1 >= 16 and in_window:
            return True
    return False


@given(last=st.integers(48, 59), n_bins=st.integers(16, 48))
def test_a_gap_is_found_with_its_top_bottom_and_width(last, n_bins):
    row = classify_spectra(with_run(last - n_bins + 1, last)).iloc[0]
    assert row.has_vb_gap
    assert row.is_gapped_metal
    assert row.gap_top_ev == pytest.approx(EDOS_GRID.edges[last + 1])
    assert row.gap_bottom_ev == pytest.approx(EDOS_GRID.edges[last - n_bins + 1])
    assert row.gap_width_ev == pytest.approx(n_bins * WIDTH)
    assert row.gap_width_ev == pytest.approx(row.gap_top_ev - row.gap_bottom_ev)
    assert row.gap_floor_states_per_ev == 0.0
    assert row.gap_confidence == pytest.approx(1.0)


@pytest.mark.parametrize(("last", "found"), [(47, False), (48, True), (59, True), (60, False)])
def test_the_last_bin_must_reach_into_the_window(last, found):
    assert classify_spectra(with_run(last - 20, last)).has_vb_gap[0] == found


@pytest.mark.parametrize(("n_bins", "found"), [(15, False), (16, True)])
def test_one_ev_is_sixteen_bins(n_bins, found):
    assert classify_spectra(with_run(55 - n_bins + 1, 55)).has_vb_gap[0] == found


def test_a_gap_may_be_open_at_the_bottom_of_the_grid():
    row = classify_spectra(with_run(0, 55)).iloc[0]
    assert row.has_vb_gap
    assert row.gap_open_at_bottom
    assert not classify_spectra(with_run(1, 55)).gap_open_at_bottom[0]


def test_below_the_threshold_everywhere_counts_for_the_rule_but_not_as_gapped_metal():
    row = classify_spectra(np.full((1, EDOS_GRID.size), 0.5)).iloc[0]
    assert row.has_vb_gap
    assert row.below_threshold_everywhere
    assert row.is_metal
    assert not row.is_gapped_metal
    assert row.gap_confidence == 0.0


def test_a_run_that_fails_the_rule_is_still_described():
    row = classify_spectra(with_run(10, 45)).iloc[0]
    assert not row.has_vb_gap
    assert row.gap_top_ev == pytest.approx(EDOS_GRID.edges[46])
    assert row.gap_width_ev == pytest.approx(36 * WIDTH)


def test_without_any_low_bin_below_efermi_the_gap_columns_are_null():
    row = classify_spectra(with_run(100, 120)).iloc[0]
    assert not row.has_vb_gap
    assert np.isnan(row.gap_width_ev)
    assert row.gap_open_at_bottom is pd.NA


def test_the_run_that_satisfies_the_rule_is_reported_before_a_wider_one():
    spectrum = with_run(0, 30)
    spectrum[0, 40:57] = 0.0
    row = classify_spectra(spectrum).iloc[0]
    assert row.has_vb_gap
    assert row.gap_width_ev == pytest.approx(17 * WIDTH)


@settings(max_examples=60)
@given(random_spectra)
def test_the_fast_rule_agrees_with_its_definition(spectra):
    found = classify_spectra(spectra).has_vb_gap
    assert found.tolist() == [by_definition(spectrum) for spectrum in spectra]


@settings(max_examples=40)
@given(random_spectra, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_scaling_spectrum_and_thresholds_together_changes_no_class(spectra, factor):
    scaled = GapSettings(dos_threshold_states_per_ev=0.7 * factor, metal_dos_threshold_states_per_ev=0.1 * factor)
    plain, other = classify_spectra(spectra), classify_spectra(spectra * factor, settings=scaled)
    in_dos = ["gap_floor_states_per_ev", "dos_at_efermi_states_per_ev", "dos_above_efermi_states_per_ev"]
    pd.testing.assert_frame_equal(plain.drop(columns=in_dos), other.drop(columns=in_dos))
    np.testing.assert_allclose(other[in_dos], plain[in_dos] * factor, rtol=1e-12)


@settings(max_examples=40)
@given(random_spectra, st.sampled_from([2, 4, 8]))
def test_per_atom_a_supercell_is_classified_like_its_cell(spectra, multiple):
    per_atom = GapSettings(
        per_atom=True, dos_threshold_states_per_ev_per_atom=0.25, metal_dos_threshold_states_per_ev_per_atom=0.03125
    )
    n_sites = np.full(len(spectra), 4)
    cell = classify_spectra(spectra, settings=per_atom, n_sites=n_sites)
    supercell = classify_spectra(spectra * multiple, settings=per_atom, n_sites=n_sites * multiple)
    for column in ["has_vb_gap", "is_metal", "gap_width_ev", "gap_confidence", "metal_confidence"]:
        pd.testing.assert_series_equal(cell[column], supercell[column])


@settings(max_examples=40)
@given(random_spectra, st.sampled_from([2, 4, 8]), st.booleans())
def test_a_crystal_has_the_same_class_in_every_cell(spectra, multiple, per_atom):
    rule, primitive = GapSettings(per_atom=per_atom), np.full(len(spectra), 4)
    cell = classify_spectra(spectra, settings=rule, n_sites=primitive, n_primitive=primitive)
    supercell = classify_spectra(spectra * multiple, settings=rule, n_sites=primitive * multiple, n_primitive=primitive)
    pd.testing.assert_frame_equal(cell, supercell)


@given(random_spectra)
def test_confidence_is_a_share_and_is_zero_only_if_the_rule_fails(spectra):
    found = classify_spectra(spectra)
    assert found.gap_confidence.between(0, 1 + 1e-12).all()
    genuine = found.has_vb_gap & ~found.below_threshold_everywhere
    assert (found.gap_confidence[genuine] > 0).all()


def test_a_gap_at_the_limit_is_less_confident_than_a_clear_one(make_spectrum):
    clear, shallow = make_spectrum(floor=0.0), make_spectrum(floor=0.65)
    found = classify_spectra(np.stack([clear, shallow]))
    assert found.has_vb_gap.all()
    assert found.gap_confidence[1] < found.gap_confidence[0]


def test_the_dos_just_above_zero_distinguishes_metals_from_gapped_materials(make_spectrum):
    found = classify_spectra(np.stack([make_spectrum(metal=True), make_spectrum(metal=False)]))
    assert found.is_metal.tolist() == [True, False]
    assert found.is_gapped_metal.tolist() == [True, False]


def test_a_spectrum_that_is_not_finite_has_null_columns_and_the_others_go_on(make_spectrum):
    spectra = np.stack([make_spectrum(), np.full(EDOS_GRID.size, np.nan)]).astype(np.float32)
    found = classify_spectra(spectra)
    assert found.is_gapped_metal[0]
    assert found.iloc[1].isna().all()


def test_no_spectra_give_an_empty_table_with_all_columns():
    found = classify_spectra(np.empty((0, EDOS_GRID.size)))
    assert len(found) == 0
    assert "gapped_metal_confidence" in found


def test_blocks_do_not_change_the_result(monkeypatch, make_spectrum):
    spectra = np.stack([make_spectrum(top=top) for top in np.linspace(-1.5, 0.0, 23)])
    whole = classify_spectra(spectra)
    monkeypatch.setattr("screening.classify.gaps.BLOCK_SIZE", 5)
    pd.testing.assert_frame_equal(classify_spectra(spectra), whole)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"top_min_ev": -0.2}, "lies above"),
        ({"top_max_ev": 0.1}, "not below E_F"),
        ({"metal_stretch_ev": 0.5}, "longer than"),
        ({"dos_threshold_states_per_ev": -0.7}, "greater than 0"),
        ({"dos_treshold": 1.0}, "Extra inputs"),
    ],
)
def test_contradictory_settings_are_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        GapSettings(**values)


def test_a_width_that_no_gap_can_have_is_refused(make_spectrum):
    with pytest.raises(ValueError, match="No gap of 7 eV can end"):
        classify_spectra(make_spectrum()[None], settings=GapSettings(min_width_ev=7.0))


def test_thresholds_per_atom_need_the_number_of_sites(make_spectrum):
    with pytest.raises(ValueError, match="need the number of sites"):
        classify_spectra(make_spectrum()[None], settings=GapSettings(per_atom=True))
    with pytest.raises(ValueError, match="need the number of sites"):
        classify_spectra(make_spectrum()[None], n_primitive=np.array([2]))


def test_a_spectrum_on_another_grid_is_refused():
    with pytest.raises(ValueError, match="128 bins"):
        classify_spectra(np.zeros((1, 51)))


def test_twenty_thousand_spectra_take_less_than_five_seconds():
    spectra = np.random.default_rng(0).gamma(1.0, 2.0, size=(20_000, EDOS_GRID.size)).astype(np.float32)
    start = time.perf_counter()
    classify_spectra(spectra)
    assert time.perf_counter() - start < 5


@pytest.mark.skipif(
    DATA_DIR is None or not EDOS_TABLE.exists(),
    reason="set MAT2SPEC_DATA_DIR to a folder with edos_pbe.parquet to compare with computed spectra",
)
def test_twenty_seven_of_the_computed_metals_have_a_gap_in_the_valence_band():
    # 281 PBE spectra computed for this project: 262 metals, 27 of them gapped by the published rule.
    table = pd.read_parquet(EDOS_TABLE)
    found = classify_spectra(np.stack(table.edos))
    metal = table.is_metal.to_numpy()
    assert len(table) == 281
    assert metal.sum() == 262
    assert (found.has_vb_gap & metal).sum() == 27
    assert found.below_threshold_everywhere.sum() == 0
    # The DOS at E_F calls 10 of 262 metals gapped (semimetals, and one whose states end at E_F) and 2 of 19 others metals.
    assert (~found.is_metal & metal).sum() == 10
    assert (found.is_metal & ~metal).sum() == 2
    assert (found.is_gapped_metal & metal).sum() == 26
