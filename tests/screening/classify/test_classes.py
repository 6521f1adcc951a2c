from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.grids import EDOS_GRID
from screening.classify.classes import ClassifierError, classify, load_function, mark_targets
from screening.classify.gaps import classify_spectra
from screening.classify.materials import Materials, stoner_factors
from screening.settings import ClassifySettings

CENTERS = EDOS_GRID.centers


def materials(n=1, n_sites=1, n_primitive=1):
    return Materials(
        CellSizes(np.full(n, n_sites), np.full(n, n_primitive), np.full(n, 20.0 * n_sites)), np.full(n, 0.45)
    )


def insulator(gap):
    """Filled up to zero, empty for `gap` eV."""
    return np.where((CENTERS > 0) & (gap > CENTERS), 0.0, 5.0)


def test_the_four_electronic_classes():
    semimetal = 0.3 * np.abs(CENTERS) + 0.03
    spectra = np.stack([np.full(128, 2.0), semimetal, insulator(1.0), insulator(3.5)])
    found = classify(spectra * 5, materials(4, n_sites=5, n_primitive=5))
    assert found.electronic_class.tolist() == ["metal", "semimetal", "semiconductor", "insulator"]
    assert found.dos_gap_ev[2] == pytest.approx(1.0, abs=0.07)
    assert found.dos_gap_ev[3] == pytest.approx(3.5, abs=0.07)
    assert np.isnan(found.dos_gap_ev[0])
    assert found.electronic_class_confidence.between(0.5, 1).all()


def test_what_cannot_be_judged_has_no_class():
    row = classify(np.full((1, 128), np.nan), materials()).iloc[0]
    assert row.isna().all()


def test_a_supercell_has_the_properties_of_its_cell():
    spectrum = np.where(CENTERS < -2, 6.0, np.where(CENTERS < -0.7, 0.0, 3.0))[None]
    errors = np.full((1, 128), 0.3)
    cell = classify(spectrum, materials(n_sites=2, n_primitive=2), uncertainty=errors)
    supercell = classify(spectrum * 4, materials(n_sites=8, n_primitive=2), uncertainty=errors * 4)
    pd.testing.assert_frame_equal(cell, supercell)


def test_gaps_on_both_sides_bound_the_window_of_transparency():
    spectrum = np.where((np.abs(CENTERS) < 0.6) | (np.abs(CENTERS) > 3.4), 5.0, 0.0)
    row = classify(spectrum[None], materials()).iloc[0]
    assert row.gapped_metal_type == "n+p"
    assert row.transparency_window_ev == pytest.approx(3.4, abs=0.07)
    assert row.is_transparent
    assert row.partly_filled_band_ev == pytest.approx(1.2, abs=0.13)
    one_sided = classify(np.where(CENTERS > 0.6, 5.0, spectrum)[None], materials()).iloc[0]
    assert one_sided.gapped_metal_type == "n"
    assert one_sided.is_transparent is pd.NA
    assert np.isnan(one_sided.partly_filled_band_ev)


def test_the_gap_above_is_the_gap_below_of_the_mirrored_spectrum():
    rng = np.random.default_rng(1)
    spectra = rng.gamma(0.5, 1.0, (50, 128)) * (rng.random((50, 1)) < 0.9)
    spectra[:, 70:100] *= rng.choice([0, 1], (50, 1))
    found, mirrored = classify_spectra(spectra), classify_spectra(spectra[:, ::-1])
    assert found.has_gap_above.any()
    for above, below, sign in (
        ("has_gap_above", "has_vb_gap", 1),
        ("gap_above_width_ev", "gap_width_ev", 1),
        ("gap_above_bottom_ev", "gap_top_ev", -1),
        ("gap_above_top_ev", "gap_bottom_ev", -1),
        ("gap_above_confidence", "gap_confidence", 1),
    ):
        np.testing.assert_allclose(found[above].astype(float), sign * mirrored[below].astype(float), atol=1e-12)


def test_stoner_factors_weigh_the_magnetic_atoms():
    # Per atom of the cell: iron itself, and FeO where half of the atoms are iron.
    elements = ElementCounts(
        np.array([0, 1, 1, 2]), np.array([26, 8, 26, 13]), np.array([1, 1, 1, 1]), np.array([1, 2, 1])
    )
    assert stoner_factors(elements)[:2].tolist() == pytest.approx([0.45, 0.9])
    assert np.isnan(stoner_factors(elements)[2])
    # Unpolarised bcc iron has 3.1 states/eV per atom.
    assert stoner_factors(elements)[0] * 3.1 > 1


def test_a_target_is_any_condition_on_classes_and_candidates():
    spectra = np.stack([np.full(128, 2.0), insulator(1.0), np.full(128, np.nan)])
    table = classify(spectra, materials(3)).assign(material_id=["a", "b", "c"], model="m")
    candidates = pd.DataFrame({"material_id": ["c", "b", "a"], "formula": ["X", "Si", "Al"]})
    found = mark_targets(table, candidates, "electronic_class = 'semiconductor' and formula = 'Si'")
    assert found.is_target.tolist() == [False, True, pd.NA]
    shouted = mark_targets(table, candidates, "ELECTRONIC_CLASS = 'semiconductor' and FORMULA = 'Si'")
    assert shouted.is_target.equals(found.is_target)
    # A metal without a gap has no type: no hit, not an unknown one.
    assert mark_targets(table, candidates, "gapped_metal_type = 'n'").is_target.tolist() == [False, False, pd.NA]
    assert found.drop(columns="is_target").equals(table)
    assert mark_targets(table, candidates, "is_gapped_metal").is_target.equals(table.is_gapped_metal)
    # Nor has it a window of transparency: the name of a column alone is a condition like any other.
    assert mark_targets(table, candidates, "is_transparent").is_target.tolist() == [False, False, pd.NA]
    with pytest.raises(ClassifierError, match=r"cannot be used.*Columns are"):
        mark_targets(table, candidates, "colour = 'red'")


def test_a_function_of_the_users_adds_columns(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def total(spectra):\n    return {'total': spectra.values.sum(axis=1)}\n")
    settings = ClassifySettings(functions=(f"{path}:total",))
    found = classify(np.ones((2, 128)), materials(2, n_sites=2, n_primitive=2), settings=settings)
    assert found.total.tolist() == [64.0, 64.0]


def test_a_function_that_is_not_there_or_does_not_fit_is_a_sentence():
    with pytest.raises(ClassifierError, match="'no_module:f' was not found"):
        load_function("no_module:f")
    with pytest.raises(ClassifierError, match="must return new columns with 1 rows"):
        classify(np.ones((1, 128)), materials(), functions=[lambda spectra: {"is_metal": [True]}])


def test_blocks_do_not_change_the_result(monkeypatch):
    spectra = np.random.default_rng(0).gamma(1.0, 1.0, (13, 128))
    whole = classify(spectra, materials(13), uncertainty=spectra / 4)
    monkeypatch.setattr("screening.classify.classes.BLOCK_SIZE", 5)
    pd.testing.assert_frame_equal(classify(spectra, materials(13), uncertainty=spectra / 4), whole)
    assert len(classify(spectra[:0], materials(0))) == 0
