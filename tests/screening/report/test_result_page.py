"""The page of a run, read as text and, where there is a browser, used in it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mat2spec.crystals.arrays import Crystals
from mat2spec.spectra.grids import EDOS_GRID
from screening.classify.gapped_metals import best_cut
from screening.classify.gaps import classify_spectra
from screening.evaluate.evaluation import precision_recall
from screening.evaluate.threshold_curves import threshold_curve
from screening.report import result_page as module
from screening.report.comparison import Comparison
from screening.report.picks import picks_table, with_space_groups
from screening.report.result_page import PageContent, page_data, result_page, shown_picks, with_upload
from screening.settings import EvaluationSettings, GapSettings, SelectionSettings

CHROMIUM = shutil.which("chromium")
ODD = "__proto__"  # every object of JavaScript has it
EVIL = "</script><script>window.evil = 1</script>[/red]"


@pytest.fixture
def content(make_spectrum):
    """Four materials: a gapped metal by DFT too, one with markup for a name, one not computed, one that is not gapped."""
    spectra = {
        "a": make_spectrum(),
        EVIL: make_spectrum(bottom=-3),
        ODD: make_spectrum(),
        "d": make_spectrum(floor=3.0),
    }
    ids = list(spectra)
    matrix = np.stack(list(spectra.values()))
    classes = pd.concat(
        [pd.DataFrame({"material_id": ids, "model": model}).join(classify_spectra(matrix)) for model in ("m", "<i>n")],
        ignore_index=True,
    )
    predictions = classes[["material_id", "model"]].assign(
        edos=[*matrix, *matrix], uncertainty=[np.full(EDOS_GRID.size, 0.3)] * 8, reason="", domain_distance=0.4
    )
    candidates = pd.DataFrame(
        {"material_id": ids, "formula": ["NaCl", "<b>KCl", "RbCl", "Al"], "chemsys": ["Cl-Na", "Cl-K", "Cl-Rb", "Al"]}
    ).assign(nsites=2, n_elements=2)
    jobs = pd.DataFrame(
        {
            "material_id": ["a", EVIL, "d"],
            "selected_as": ["positive:m", "positive:m", "random_negative"],
            "inclusion_probability": [1.0, 1.0, 1.0],
            "status": ["ok", "timed_out", "ok"],
            "reason": ["", "No answer within <60> s.", ""],
        }
    )
    computed = pd.DataFrame({"material_id": ["a", "d"], "status": "ok", "reason": "", "edos": [matrix[0], matrix[3]]})
    results = computed.join(classify_spectra(matrix[[0, 3]])).assign(
        engine="gpaw", functional="PBE", spin="unpolarised", u_values="{}"
    )
    crystals = Crystals.from_lists(
        ids, [[11, 17]] * 4, [np.array([[0, 0, 0], [0.5, 0.5, 0.5]])] * 4, [np.eye(3) * 4] * 4
    )
    picks = picks_table(candidates, classes, predictions, jobs, results, SelectionSettings())
    crystals = crystals.take([ids.index(name) for name in picks.material_id])
    few = EvaluationSettings(
        curve_threshold_factors=(0.5, 1, 2), curve_top_min_ev=(), curve_min_width_ev=(), n_draws=100
    )
    return PageContent(
        run_id="run <1>",
        created="2026-11-27T01:00:00+00:00",
        source="crystals & more",
        picks=with_space_groups(picks, crystals),
        classifications=classes,
        predictions=predictions,
        results=results,
        precision_recall=precision_recall(classes, results, jobs),
        curve=threshold_curve(predictions, results, jobs, candidates, GapSettings(), few),
        filter_counts=pd.DataFrame({"filter": ["source", "band gap"], "removed": [0, 5], "remaining": [9, 4]}),
        crystals=crystals,
        gap=GapSettings(),
        grid=EDOS_GRID,
    )


def data_of(page):
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


def test_the_page_holds_picks_spectra_structures_and_dft(content):
    data = data_of(result_page(content))
    assert [pick["material_id"] for pick in data["picks"]] == content.picks.material_id.tolist()
    assert set(data["spectra"]["a"]) == {"m", "<i>n"}
    assert len(data["spectra"]["a"]["m"]["edos"]) == len(data["energies"]) == 128
    assert set(data["dft"]) == {"a", "d"}
    assert data["structures"]["a"].count("Na") > 0
    assert data["columns"]["gap_width_ev"]["unit"] == "eV"
    assert {row["threshold"] for row in data["curve"]} >= {0.7}
    assert {one["symbol"]: one["n"] for one in data["elements"] if one["n"]} == {"Cl": 3, "Na": 1, "K": 1, "Rb": 1}
    assert [row[1] for row in data["merit"]["rows"]][:1] == ["the computed materials"]


def test_text_from_data_is_never_markup(content):
    page = result_page(content)
    assert "window.evil" in page
    assert "<script>window.evil" not in page
    assert "<title>Gapped metals, run run &lt;1&gt;</title>" in page
    assert "crystals &amp; more" in page


def test_nothing_is_loaded_from_elsewhere(content):
    page = result_page(content)
    assert "<script src=" not in page
    assert "<link" not in page.partition("<script>")[0]
    assert "default-src 'none'" in page


def test_unknown_columns_are_shown_by_their_name(content):
    data = data_of(result_page(replace(content, picks=content.picks.assign(trust="high", my_column=1.5))))
    assert data["picks"][0]["my_column"] == 1.5
    assert data["columns"]["my_column"]["label"] == "my_column"


def test_a_run_without_results_or_coordinates_has_a_page_too(content):
    empty = replace(
        content,
        results=content.results[:0],
        precision_recall=content.precision_recall[:0],
        curve=content.curve[:0],
        crystals=None,
    )
    page = result_page(empty)
    assert "Nothing has been computed yet" in page
    data = data_of(page)
    assert data["dft"] == data["structures"] == {}
    assert data["curve"] == data["merit"]["rows"] == []


def test_the_threshold_is_that_of_the_rule_and_cells_tell_what_it_is_per(content):
    per_atom = GapSettings(per_atom=True, dos_threshold_states_per_ev_per_atom=0.11)
    picks = content.picks.assign(nsites_primitive=1)
    data = data_of(result_page(replace(content, gap=per_atom, picks=picks)))
    assert (data["threshold"], data["per_atom"]) == (0.11, True)
    assert (data["picks"][0]["nsites"], data["picks"][0]["nsites_primitive"]) == (2, 1)


def test_the_slider_of_confidence_starts_at_the_cut_of_the_run(content):
    slider = re.search(
        r'<input [^>]*id="cut"[^>]*>', result_page(replace(content, gap=GapSettings(min_probability=0.35)))
    )
    assert 'value="0.35"' in slider[0]


def test_a_long_list_is_cut_but_keeps_what_dft_was_to_check(content, monkeypatch):
    monkeypatch.setattr(module, "MOST_PICKS", 1)
    shown = shown_picks(content.picks)
    assert len(shown) == 1 + content.picks.choice.str.startswith("chosen").iloc[1:].sum() < len(content.picks)
    assert "The page shows 3 of 4 picks" in result_page(content)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        running = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield running
        running.close()


@pytest.fixture
def opened(browser, content, tmp_path):
    """The page in a browser, 1300 pixels wide, and what went wrong in it or left the machine."""
    path = tmp_path / "report.html"
    path.write_text(result_page(content), encoding="utf-8")
    problems = []
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    page.wait_for_selector("#spectrum .main-svg")
    yield page, problems
    page.close()


def ids_in(page):
    return page.eval_on_selector_all("#rows tr", "rows => rows.map(row => row.dataset.id)")


def test_the_list_sorts_and_filters_in_a_browser(opened, content):
    page, problems = opened
    in_order = content.picks.material_id.tolist()
    assert ids_in(page) == in_order
    page.click("#head button:has-text('Formula')")
    page.click("#head button:has-text('Formula')")
    by_formula = content.picks.set_index("material_id").formula
    assert [by_formula[name] for name in ids_in(page)] == ["RbCl", "NaCl", "Al", "<b>KCl"]
    page.fill("#filter", "rbcl")
    assert ids_in(page) == [ODD]
    page.fill("#filter", "")
    page.select_option("#dft", "gapped metal")
    assert ids_in(page) == ["a"]
    page.select_option("#dft", "")
    page.click("#periodic button:has-text('Rb')")
    assert ids_in(page) == [ODD]
    page.click("#symbol")
    assert len(ids_in(page)) == 4
    assert problems == []


def test_a_pick_is_drawn_with_its_spectra_structure_and_downloads(opened):
    page, problems = opened
    page.click("#rows tr[data-id='a']")
    assert page.inner_text("#name") == "NaCl (a)"
    assert "DFT: gapped metal." in page.inner_text("#verdict")
    names = page.evaluate("document.getElementById('spectrum').data.map(trace => trace.name)")
    assert [name for name in names if name] == ["DFT", "&lt;i>n", "m"]
    full = page.evaluate("document.getElementById('spectrum').layout.yaxis.range[1]")
    page.check("#low")
    low = page.evaluate("document.getElementById('spectrum').layout.yaxis.range[1]")
    assert low == pytest.approx(4 * GapSettings().dos_threshold)
    assert low < full
    assert page.locator("#structure canvas").count() == 1
    with page.expect_download() as download:
        page.click("#csv")
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 129
    assert lines[0].startswith('"energy_ev","DFT","<i>n"')
    with page.expect_download() as download:
        page.click("#cif")
    assert "data_a" in download.value.path().read_text()
    with page.expect_download() as download:
        page.click("#all")
    assert len(download.value.path().read_text().splitlines()) == 5
    assert problems == []


def test_what_speaks_against_a_pick_is_said(content):
    picks = content.picks.assign(trust="outside", trust_reason="no training label has Pu")
    picks = picks.assign(false_metal_risk="some", false_metal_reason="open shell of Pu")
    data = page_data(replace(content, picks=picks))
    assert data["verdicts"]["a"][-1].startswith("DFT (gpaw PBE unpolarised) finds a gapped metal with a gap ")
    assert data["verdicts"]["d"][-1].startswith("DFT (gpaw PBE unpolarised) does not find a gapped metal: ")
    assert len(data["verdicts"][ODD]) == 2, "it was not computed"


@pytest.mark.parametrize("condition", ["", "carriers_per_cm3 > 1e20"])
def test_a_search_of_your_own_shows_what_its_condition_names(browser, content, tmp_path, condition):
    picks = content.picks.assign(carriers_per_cm3=1.234e22, trust="outside", trust_reason="no label has Pu")
    target = {"target": condition} if condition else {}
    path = tmp_path / "report.html"
    path.write_text(result_page(replace(content, picks=picks, **target)), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#spectrum .main-svg")
    assert ("1.23e22" in page.inner_text("#rows")) == bool(condition)
    page.click("#rows tr[data-id='a']")
    said = page.inner_text("#verdict")
    assert ("a hit of carriers_per_cm3 > 1e20" in said) == bool(condition)
    assert ("gapped metal" in said) != bool(condition)
    assert page.inner_text("#doubts").startswith("Trust: outside, no label has Pu.")
    page.fill("#filter", "outside")
    assert len(ids_in(page)) == 4
    page.close()


def test_names_with_markup_do_nothing_and_phones_see_the_page_whole(opened):
    page, problems = opened
    page.locator("#rows tr", has_text="<b>KCl").click()
    assert page.inner_text("#name") == f"<b>KCl ({EVIL})"
    assert "No answer within <60> s." in page.inner_text("#choice")
    assert page.evaluate("window.evil") is None
    page.locator("#rows tr", has_text="RbCl").click()
    assert page.inner_text("#name") == f"RbCl ({ODD})"
    assert "DFT" not in page.evaluate("document.getElementById('spectrum').data.map(trace => trace.name)")
    page.evaluate(
        "document.getElementById('threshold').value = 0; document.getElementById('threshold').dispatchEvent(new Event('input'))"
    )
    assert page.inner_text("#at") == "0.35 states/eV"
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= 400", timeout=10_000)
    assert problems == []


def test_confidence_against_dft_moves_with_its_slider(opened):
    page, problems = opened
    assert page.inner_text("#cutat") == f"{best_cut():g}"
    assert page.locator("#reliability .main-svg").count() > 0
    rows = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    before = page.eval_on_selector_all("#cutscores tr", rows)
    assert ["m", "1.00", "1.00", "1", "0", "0", "1"] in before
    page.evaluate(
        "document.getElementById('cut').value = 0; document.getElementById('cut').dispatchEvent(new Event('input'))"
    )
    assert page.inner_text("#cutat") == "0"
    assert ["m", "0.50", "1.00", "1", "1", "0", "0"] in page.eval_on_selector_all("#cutscores tr", rows)
    assert problems == []


def test_two_runs_side_by_side(browser, content, tmp_path):
    comparison = Comparison(
        pd.DataFrame({"setting": ["gap.min_width_ev"], "before": ["1.0"], "after": ["<i>2.0"]}),
        pd.DataFrame({"what": ["candidates"], "before": ["4"], "after": ["4"]}),
        pd.DataFrame(
            {
                "change": ["now a gapped metal"],
                "material_id": [EVIL],
                "formula": ["x"],
                "before": [""],
                "after": ["1.00"],
            }
        ),
        "old run",
        "new run",
    )
    others = content.predictions[["material_id", "model", "edos"]]
    path = tmp_path / "report.html"
    path.write_text(result_page(replace(content, comparison=comparison, other_predictions=others)), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("#spectrum .main-svg")
    assert "Before: old run; after: new run" in page.inner_text("#others")
    assert "<i>2.0" in page.inner_text("#conditions")
    assert EVIL in page.inner_text("#changed")
    names = page.evaluate("document.getElementById('spectrum').data.map(trace => [trace.name, trace.visible])")
    assert ["m, run before", "legendonly"] in names
    assert page.evaluate("window.evil") is None
    page.close()


def test_five_hundred_picks_are_listed_sorted_and_filtered_at_once(browser, content, tmp_path):
    picks = pd.concat([content.picks] * 125, ignore_index=True)
    picks["material_id"] = [f"mp-{number}" for number in range(500)]
    path = tmp_path / "report.html"
    path.write_text(result_page(replace(content, picks=picks, crystals=None)), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("#spectrum .main-svg")
    assert len(ids_in(page)) == 500
    sort = "() => { const start = performance.now(); document.querySelector('#head button').click();"
    milliseconds = page.evaluate(sort + " document.body.offsetHeight; return performance.now() - start }")
    assert milliseconds < 5000, "some 0.1 s on a machine that does nothing else"
    page.fill("#filter", "mp-499")
    assert ids_in(page) == ["mp-499"]
    page.close()


def test_only_the_page_of_a_server_may_ask_it(content):
    page = with_upload(result_page(content))
    assert "connect-src 'self'" in page
    assert '<body data-upload="yes">' in page
    assert "connect-src" not in result_page(content)
