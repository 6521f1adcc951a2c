from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from mat2spec.spectra.grids import EDOS_GRID
from screening.choose.filters import filter_candidates
from screening.choose.selection import select_for_dft
from screening.classify.gaps import classify_spectra
from screening.evaluate.evaluation import precision_recall
from screening.report.figures import spectrum_figure
from screening.report.tables import (
    describe_reference,
    dft_table,
    filter_counts_table,
    format_value,
    frame_table,
    gapped_metals_table,
    precision_recall_table,
)
from screening.sources.parquet import ParquetSource


def text_of(table):
    console = Console(file=io.StringIO(), width=200, color_system=None, markup=False)
    console.print(table)
    return console.file.getvalue()


@pytest.fixture
def screen(crystals_path, make_spectrum):
    candidates, counts = filter_candidates(ParquetSource(crystals_path).properties())
    spectra = np.stack([make_spectrum(), make_spectrum(bottom=-5), make_spectrum(metal=False)])
    classes = classify_spectra(spectra).assign(material_id=candidates.material_id)
    both = pd.concat([classes.assign(model="mat2spec"), classes.iloc[:1].assign(model="gatgnn")])
    return candidates, counts, both


def test_gapped_metals_stand_once_with_every_model_that_predicts_them(screen):
    candidates, _, classes = screen
    text = text_of(gapped_metals_table(classes, candidates))
    assert "2 of 3 candidates" in text
    assert text.count("SrVO3") == 1
    assert "2 of 2" in text
    assert "mean confidence of gatgnn, mat2spec" in text
    assert "≥" in text
    assert "TiN" not in text


def test_counts_of_the_filters(screen):
    text = text_of(filter_counts_table(screen[1]))
    assert "energy above hull" in text
    assert "Unknown, kept" in text
    assert "of them unknown" not in text  # nothing was


def test_dft_results_name_the_reason_of_a_failure(screen):
    candidates, _, classes = screen
    picks = select_for_dft(classes, candidates).picks
    results = pd.DataFrame(
        {
            "material_id": [picks.material_id[0], picks.material_id[1]],
            "status": ["ok", "timed_out"],
            "reason": ["", "No answer within 60 s"],
            "is_gapped_metal": pd.array([True, None], dtype="boolean"),
            "gap_width_ev": [1.25, np.nan],
        }
    )
    text = text_of(dft_table(results, picks, candidates))
    assert "timed_out: No answer within 60 s" in text
    assert "1.25" in text
    assert "not computed" in text


def test_precision_and_recall_show_intervals_and_dashes(screen):
    candidates, _, classes = screen
    picks = select_for_dft(classes, candidates).picks
    results = classes[classes.model == "mat2spec"].assign(status="ok").drop(columns="model")
    results = results.assign(engine="gpaw", functional="PBE", spin="unpolarised", u_values='{"V": 3.25}')
    text = text_of(precision_recall_table(precision_recall(classes, results, picks)))
    assert "1.00 [.34-1.0]" in text
    assert "population" in text
    assert "against gpaw PBE+U unpolarised" in text


def test_any_table_can_be_shown():
    frame = pd.DataFrame({"edos": [[1.0] * 128] * 30, "is_metal": pd.array([True, None] * 15, dtype="boolean")})
    text = text_of(frame_table(frame, "Predictions", max_rows=2))
    assert "[128 numbers]" in text
    assert "2 of 30 rows" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (pd.NA, "-"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (1234.0, "1234"),
        (1.37547e22, "1.38e22"),
        (9857.4, "9857"),
        (999.7, "1000"),
        (12.34, "12.3"),
        (0.123456, "0.123"),
        (7, "7"),
        ("Al", "Al"),
    ],
)
def test_values_are_written_for_people(value, text):
    assert format_value(value) == text


def test_the_figure_shows_prediction_dft_band_and_gap(make_spectrum):
    spectrum = make_spectrum()
    figure = spectrum_figure(
        {"mat2spec": spectrum},
        dft=spectrum * 1.1,
        uncertainties={"mat2spec": np.full(EDOS_GRID.size, 10.0)},
        gap=(-2.5, -0.6),
        title="SrVO3",
    )
    names = [trace.name for trace in figure.data]
    assert names == ["DFT", "mat2spec, one standard deviation", "mat2spec, predicted"]
    np.testing.assert_allclose(figure.data[0].y, spectrum * 1.1)
    assert min(figure.data[1].y) == 0.0
    assert figure.layout.xaxis.title.text == "E \N{MINUS SIGN} E<sub>F</sub> (eV)"
    assert figure.layout.yaxis.title.text == "DOS (states/eV per cell)"
    rectangles = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (rectangles[0].x0, rectangles[0].x1) == (-2.5, -0.6)
    assert any("gap 1.90 eV" in annotation.text for annotation in figure.layout.annotations)


def test_a_figure_of_nothing_or_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="no spectrum to plot"):
        spectrum_figure({})
    with pytest.raises(ValueError, match="128 bins"):
        spectrum_figure({"mat2spec": np.zeros(51)})


LONG_ID = "catalogue-of-structures-cP5-221-CaTiO-Rb-Lu-Br-with-a-name-that-is-longer-than-a-line"


@pytest.mark.parametrize("width", [80, 140])
def test_tables_fit_the_terminal_and_cut_no_identifier(width, screen):
    candidates, counts, classes = screen
    first = candidates.material_id[0]
    candidates = candidates.replace({"material_id": {first: LONG_ID}})
    classes = classes.replace({"material_id": {first: LONG_ID}, "model": {"gatgnn": "tight-binding"}})
    picks = select_for_dft(classes, candidates).picks
    results = classes[classes.model == "mat2spec"].assign(status="ok").drop(columns="model")
    results = results.assign(engine="gpaw", functional="PBE", spin="unpolarised", u_values='{"V": 3.25}')
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False)
    for table in (
        filter_counts_table(counts),
        gapped_metals_table(classes, candidates),
        dft_table(results, picks, candidates),
        precision_recall_table(precision_recall(classes, results, picks)),
        frame_table(candidates),
    ):
        console.print(table)
    text = console.file.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "nan" not in text
    folded = "".join(line.split("  ")[0].strip(" │") for line in text.splitlines())
    assert text.count(LONG_ID[:10]) >= 3
    assert LONG_ID in folded or LONG_ID in text


@pytest.mark.parametrize("several", [False, True], ids=["one reference", "two references"])
def test_models_are_named_whole_beside_precision_and_recall_in_80_columns(screen, several):
    candidates, _, classes = screen
    names = {"gatgnn": "tight-binding", "mat2spec": "tight-binding-mp"}
    picks = select_for_dft(classes, candidates).picks
    results = classes[classes.model == "mat2spec"].assign(status="ok").drop(columns="model")
    results = results.assign(engine="gpaw", functional="PBE", spin="unpolarised", u_values='{"V": 3.25}')
    scores = precision_recall(classes, results, picks).replace({"model": names})
    if several:
        scores = pd.concat([scores, scores.assign(reference="published", functional="PBEsol")])
    console = Console(file=io.StringIO(), width=80, color_system=None, markup=False)
    console.print(precision_recall_table(scores))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if "[." in line and not line.startswith(" ")} == set(names.values())
    assert not any("…" in line for line in lines)
    if several:
        assert "(1) gpaw PBE+U unpolarised; (2) published PBEsol+U" in " ".join(" ".join(lines).split())


def test_text_from_data_is_not_markup(screen):
    candidates, _, classes = screen
    first = candidates.material_id[0]
    names = {"material_id": {first: "[/red]x[bold]"}}
    text = text_of(gapped_metals_table(classes.replace(names), candidates.replace(names)))
    assert "[/red]x[bold]" in text


def test_an_unknown_reference_is_not_shown_as_nan():
    row = {"reference": "published", "functional": float("nan"), "spin": None, "u_values": None}
    assert describe_reference(row) == "published"
    assert describe_reference({}) == "DFT"


def test_hits_show_what_their_condition_names(screen):
    candidates, _, classes = screen
    classes = classes.assign(is_target=classes.is_gapped_metal, carriers_per_cm3=1.2e21, dos_gap_ev=0.25)
    text = text_of(gapped_metals_table(classes, candidates, condition="carriers_per_cm3 > 1e20 and dos_gap_ev < 1"))
    assert "carriers_per_cm3" in text
    assert "dos_gap_ev" in text
    assert "0.25" in text
    assert "Top and width" not in text
    assert max(map(len, text.splitlines())) <= 80
