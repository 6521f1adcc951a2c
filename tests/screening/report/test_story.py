"""What is said of one prediction, in words."""

import numpy as np
import pytest

from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.grids import EDOS_GRID
from screening.classify.classes import classify
from screening.classify.gaps import classify_spectra
from screening.classify.materials import Materials
from screening.classify.metals import MetalEvidence
from screening.report.story import describe_class, describe_trust


def insulator():
    spectrum = np.full(EDOS_GRID.size, 2.0)
    spectrum[(EDOS_GRID.centers > 0) & (EDOS_GRID.centers < 4)] = 0
    return spectrum


def words_of(spectrum):
    return describe_class(classify_spectra(spectrum[None]).to_dict("records")[0])


def test_the_kind_of_material_comes_first(make_spectrum):
    one_site = Materials(
        CellSizes(np.ones(1, dtype=np.int64), np.ones(1, dtype=np.int64), np.full(1, 20.0)), np.zeros(1)
    )
    row = classify(insulator()[None], one_site).to_dict("records")[0]
    words = describe_class(row)
    assert words.startswith("insulator, not a gapped metal: its DOS above E_F falls to 0.00 states/eV and ")
    assert words_of(insulator()).startswith("not a metal, not a gapped metal: ")
    assert words_of(make_spectrum()).startswith("gapped metal with a gap ")
    flat = words_of(np.full(EDOS_GRID.size, 2.0))
    assert flat.startswith("metal, not a gapped metal: it has no gap below E_F (confidence 0.")
    assert words_of(np.full(EDOS_GRID.size, 0.01)) == "not a gapped metal: the whole spectrum is below the threshold"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, []),
        ({"relative_error": float("nan"), "domain_distance": None, "reason": ""}, []),
        (
            {"relative_error": 0.123, "domain_distance": 0.4, "reason": "A note."},
            ["expected error 12% of the spectrum", "domain distance 0.40", "A note"],
        ),
        ({"domain_distance": 1.5}, ["domain distance 1.50 (unlike its training crystals)"]),
    ],
)
def test_how_far_a_prediction_can_be_trusted(row, expected):
    assert describe_trust(row) == expected


def test_what_is_unsure_or_decided_by_others_is_said(make_spectrum):
    sizes = CellSizes(np.ones(1, dtype=np.int64), np.ones(1, dtype=np.int64), np.full(1, 20.0))

    def words(spectrum, prior, gap=np.nan):
        evidence = MetalEvidence(np.array(["mat2spec"], dtype=object), np.array([prior]), np.array([gap]))
        classes = classify(spectrum[None], Materials(sizes, np.zeros(1)), evidence=evidence)
        return describe_class(classes.to_dict("records")[0])

    assert words(make_spectrum(), 0.7).startswith("unsure whether a metal (")
    assert "); if so, a gapped metal with a gap " in words(make_spectrum(), 0.7)
    unsure = words(make_spectrum(), 0.3)
    assert unsure.startswith("unsure whether a metal (")
    assert unsure.count("metal head") == 0, "the probability is said once"
    assert "by spectrum and metal head" in words(make_spectrum(), 0.001)
    assert words(make_spectrum(), 0.999, 4.0).startswith("insulator, not a gapped metal: its source knows a band gap")
