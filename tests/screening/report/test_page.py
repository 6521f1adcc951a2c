from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mat2spec.spectra.grids import EDOS_GRID
from screening.classify.gaps import classify_spectra
from screening.evaluate.evaluation import precision_recall
from screening.evaluate.threshold_curves import threshold_curve
from screening.report.figures import spectrum_figure
from screening.report.page import figures_page, validation_page
from screening.settings import EvaluationSettings, GapSettings


@pytest.fixture
def tables(make_spectrum):
    """One gapped metal and one that is none, both predicted; a third that failed; a material with markup for a name."""
    dft = {"a": make_spectrum(), "<b>": make_spectrum(floor=3.0)}
    predictions = pd.DataFrame(
        [
            {"material_id": name, "model": "m", "edos": spectrum * 0.9, "uncertainty": np.full(EDOS_GRID.size, 0.3)}
            for name, spectrum in [*dft.items(), ("c", make_spectrum())]
        ]
    )
    results = pd.concat(
        [
            pd.DataFrame({"material_id": list(dft), "status": "ok", "edos": list(dft.values())}),
            classify_spectra(np.stack(list(dft.values()))),
        ],
        axis=1,
    ).assign(engine="gpaw", functional="PBE", spin="unpolarised", u_values="{}")
    failure = pd.DataFrame([{"material_id": "c", "status": "unconverged", "functional": "PBE", "spin": "unpolarised"}])
    results = pd.concat([results, failure], ignore_index=True)
    jobs = pd.DataFrame(
        {
            "material_id": ["a", "<b>", "c"],
            "selected_as": ["positive:m", "random_negative", "positive:m"],
            "inclusion_probability": [1.0, 0.1, 1.0],
            "status": ["ok", "ok", "unconverged"],
            "reason": ["", "", "No convergence in 100 steps."],
        }
    )
    candidates = pd.DataFrame({"material_id": jobs.material_id, "formula": ["SrVO3", "Al", "LaNiO3"]})
    classes = pd.concat([predictions, classify_spectra(np.stack(predictions.edos.tolist()))], axis=1)
    table = precision_recall(classes, results, jobs)
    few = EvaluationSettings(
        curve_threshold_factors=(0.5, 1, 2), curve_top_min_ev=(), curve_min_width_ev=(), n_draws=100
    )
    curve = threshold_curve(predictions, results, jobs, candidates.assign(nsites=1), GapSettings(), few)
    return predictions, results, jobs, candidates, table, curve


def test_every_validated_material_has_a_figure_with_its_gap_and_uncertainty(tables):
    page = validation_page("Run 1", *tables, GapSettings())
    assert page.count("Plotly.newPlot(") == 3  # the curve, a, <b>
    assert page.count("one standard deviation") == 2
    assert page.count('"text":"gap ') == 1
    assert "SrVO3 (a)" in page
    assert "A gapped metal, by gpaw PBE unpolarised; chosen as positive of m" in page


def test_what_failed_is_listed_with_its_reason_and_names_are_escaped(tables):
    page = validation_page("Run <1>", *tables, GapSettings())
    assert "LaNiO3 (c): unconverged. No convergence in 100 steps." in page
    assert "<h1>Run &lt;1&gt;</h1>" in page
    assert "(<b>)" not in page


def test_the_page_has_the_figures_of_merit_and_what_they_compare_with(tables):
    page = validation_page("Run 1", *tables, GapSettings())
    assert "<td>gpaw PBE unpolarised</td>" in page
    assert "<td>validated set</td>" in page
    assert "<td>population</td>" in page


def test_the_script_comes_once_and_from_nowhere_else(make_spectrum):
    figure = spectrum_figure({"m": make_spectrum()})
    one, three = figures_page([figure], "t"), figures_page([figure] * 3, "t")
    assert "<script src=" not in three
    assert len(three) - len(one) < 0.1 * len(one)
    assert figures_page([], "nothing").startswith("<!doctype html>")


def test_a_run_without_results_still_makes_a_page(tables):
    predictions, results, jobs, candidates, _, _ = tables
    none = results[:0]
    table = precision_recall(
        pd.concat([predictions, classify_spectra(np.stack(predictions.edos.tolist()))], axis=1), none, jobs
    )
    curve = threshold_curve(predictions, none, jobs, candidates.assign(nsites=1), GapSettings())
    page = validation_page("Run 1", predictions, none, jobs, candidates, table, curve, GapSettings())
    assert "Plotly.newPlot(" not in page
    assert "Chosen and not computed" in page
