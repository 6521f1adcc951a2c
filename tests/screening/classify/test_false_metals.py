from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.primitive import CellSizes
from screening.classify.classes import classify
from screening.classify.false_metals import Risk, after_second_check, gapped_polymorphs
from screening.classify.materials import Materials
from screening.classify.metals import MetalEvidence
from screening.report.story import describe_risk
from tests.screening.classify.test_classes import insulator

METAL = np.full(128, 3.0)
# Empty but for a band from -0.3 to 0.3 eV.
NARROW = np.where(np.abs(np.linspace(-4, 4, 128)) < 0.3, 5.0, 0.0)
AL, NA_CL, SR_V_O3, CU2 = [13], [11, 17], [38, 23, 8, 8, 8], [29, 29]


def facts_of(numbers, n_primitive=None, polymorph=""):
    elements = ElementCounts.from_lists([pa.array([numbers], pa.list_(pa.int32()))])
    n = np.array([len(numbers)])
    sizes = CellSizes(n, n if n_primitive is None else np.array([n_primitive]), n * 15.0)
    return Materials.of_elements(sizes, elements, np.array([polymorph], dtype=object))


def risk_of(spectrum, numbers, with_spin=False, **more):
    return classify(spectrum[None], facts_of(numbers, **more), with_spin=np.array([with_spin])).iloc[0]


def test_an_odd_number_of_electrons_counts_only_without_spin():
    found = risk_of(METAL, AL)
    assert found.false_metal_risk == Risk.SOME
    assert found.false_metal_reason == "odd number of electrons, without spin"
    assert risk_of(METAL, AL, with_spin=True).false_metal_risk == Risk.LOW


def test_the_parity_is_that_of_the_primitive_cell():
    assert "odd" in risk_of(METAL, CU2, n_primitive=1).false_metal_reason
    assert risk_of(METAL, CU2, n_primitive=2).false_metal_reason == ""


def test_several_reasons_make_a_high_risk():
    found = risk_of(NARROW, SR_V_O3, polymorph="mp-1 with 1.20 eV")
    assert found.false_metal_risk == Risk.HIGH
    assert found.false_metal_reason.split("; ") == [
        "odd number of electrons, without spin",
        f"partly filled band of only {found.partly_filled_band_ev:.2f} eV",
        "open shell of V",
        "polymorph with a gap: mp-1 with 1.20 eV",
    ]
    assert describe_risk(found)[0].startswith(
        "high risk of a false metal: odd number of electrons, without spin, partly"
    )


def test_a_non_metal_has_no_risk():
    row = risk_of(insulator(2.0), NA_CL)
    assert row.false_metal_risk is None
    assert describe_risk(row) == []


def test_models_of_polarised_spectra_are_known():
    def reason(model):
        evidence = MetalEvidence(np.array([model], dtype=object), np.array([0.99]), np.array([np.nan]))
        return classify(METAL[None], facts_of(AL), evidence=evidence).false_metal_reason[0]

    assert reason("tight-binding")
    assert not reason("tight-binding-mp")


@pytest.mark.parametrize(("gap", "words"), [(1.2, "mp-2 with 1.20 eV"), (0.05, ""), (None, "")])
def test_a_polymorph_counts_if_its_gap_is_known(gap, words):
    source = pd.DataFrame(
        {"material_id": ["mp-1", "mp-2", "mp-3"], "formula": ["VO2", "VO2", None], "band_gap": [0.0, gap, 3.0]}
    )
    assert gapped_polymorphs(pd.Series(["VO2", "Al"]), source) == [words, ""]


def test_a_second_check_is_a_reason_or_takes_reasons_away():
    before = "odd number of electrons, without spin; partly filled band of only 0.50 eV; open shell of V"
    risk, reason = after_second_check(before, 1.234)
    assert risk == Risk.HIGH
    assert reason == f"gap of 1.23 eV with spin in a doubled cell; {before}"
    assert after_second_check("", 0.5)[0] == Risk.HIGH
    assert after_second_check(before, 0.0) == (Risk.SOME, "partly filled band of only 0.50 eV")
    assert after_second_check("open shell of V", 0.0) == (Risk.LOW, "")
