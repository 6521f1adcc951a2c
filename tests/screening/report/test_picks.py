"""One row per material that a model calls a hit or that DFT was to check."""

import pandas as pd

from screening.report.picks import dft_verdict, picks_table, with_numbers
from screening.settings import SelectionSettings


def make(classifications, jobs=(), results=None):
    ids = classifications["material_id"].unique()
    candidates = pd.DataFrame({"material_id": ids, "formula": "X", "chemsys": "X", "nsites": range(7, 7 + len(ids))})
    jobs = pd.DataFrame(jobs, columns=["material_id", "selected_as", "status", "reason"])
    classes = classifications.assign(gap_top_ev=-0.5, gap_open_at_bottom=pd.array([True] * len(classifications)))
    predictions = classes[["material_id", "model"]].assign(reason="", domain_distance=0.5)
    picks = picks_table(candidates, classes, predictions, jobs, results, SelectionSettings(max_sites=8))
    return picks.set_index("material_id")


def test_all_models_vote_and_the_most_confident_gives_the_classes(make_classifications):
    rows = make_classifications(
        ("mp-1", "a", True, 0.6, 1.0),
        ("mp-1", "b", True, 0.8, 2.0),
        ("x", "a", True, 1.0, 1.0),
        ("x", "b", False, 0.0, 0.1),
        ("none", "a", False, 0.1, 0.1),
        ("none", "b", None, None, None),
    )
    picks = make(rows)
    assert picks.index.tolist() == ["mp-1", "x"]
    assert picks.pick_rank.tolist() == [1, 2]
    assert picks.consensus_confidence.round(2).tolist() == [0.7, 0.5]
    assert picks.gapped_metal_by.tolist() == ["a, b", "a"]
    assert picks.model.tolist() == ["b", "a"]
    assert picks.gap_width_ev.tolist() == [2.0, 1.0]
    assert picks.link.tolist()[1] == ""
    assert picks.link["mp-1"].endswith("/mp-1")


def test_the_reason_why_one_was_not_chosen_is_given(make_classifications):
    picks = make(make_classifications(*((name, "a", True, 0.9, 1.0) for name in ("p", "q", "r"))))
    assert "neither among the 12" in picks.choice["p"]
    assert picks.choice["r"] == "not chosen: 9 sites, more than selection.max_sites = 8"
    assert (picks.dft_status == "not_chosen").all()
    assert (picks.dft_verdict == "not computed").all()


def test_a_large_cell_of_a_small_primitive_one_is_not_called_too_large(make_classifications):
    rows = make_classifications(("p", "a", True, 0.9, 1.0), ("q", "a", True, 0.8, 1.0))
    candidates = pd.DataFrame({"material_id": ["p", "q"], "formula": "X", "chemsys": "X", "nsites": 16})
    jobs = pd.DataFrame(columns=["material_id", "selected_as", "status", "reason"])
    picks = picks_table(
        candidates.assign(nsites_primitive=[2, 16]),
        rows.assign(gap_top_ev=-0.5, gap_open_at_bottom=pd.array([True] * 2)),
        rows[["material_id", "model"]].assign(reason=""),
        jobs,
        None,
        SelectionSettings(max_sites=8),
    )
    assert "neither among the 12" in picks.choice[0]
    assert picks.choice[1] == "not chosen: 16 sites, more than selection.max_sites = 8"


def test_a_chosen_negative_is_a_row_without_rank_and_failures_keep_their_reason(make_classifications):
    rows = make_classifications(("p", "a", True, 0.9, 1.0), ("n", "a", False, 0.1, 0.1))
    jobs = [("p", "positive:a", "over_budget", "Spent."), ("n", "random_negative", "ok", "")]
    results = pd.DataFrame(
        [{"material_id": "n", "status": "ok", "reason": "", "is_gapped_metal": False, "is_metal": False}]
    )
    picks = make(rows, jobs, results)
    assert picks.index.tolist() == ["p", "n"]
    assert pd.isna(picks.pick_rank["n"])
    assert picks.gapped_metal_by["n"] == ""
    assert picks.dft_verdict.tolist() == ["not computed", "not a metal"]
    assert picks.dft_reason["p"] == "Spent."
    assert picks.choice["p"] == "chosen: most confident by a"


def test_numbers_of_another_table_are_added_but_replace_none(make_classifications):
    picks = make(make_classifications(("p", "a", True, 0.9, 1.0))).reset_index().assign(implausibility=0.25)
    phonons = pd.DataFrame({"material_id": ["p"], "implausibility": [0.5], "debye_temperature_k": [300.0]})
    more = with_numbers(picks, phonons)
    assert list(more.columns) == [*picks.columns, "debye_temperature_k"]
    assert more.loc[0, ["implausibility", "debye_temperature_k"]].tolist() == [0.25, 300.0]


def test_the_verdict_of_dft_is_one_of_five():
    assert dft_verdict({}) == "not computed"
    assert dft_verdict({"is_gapped_metal": True}) == "gapped metal"
    assert dft_verdict({"is_gapped_metal": False, "below_threshold_everywhere": True}) == "low DOS everywhere"
    assert dft_verdict({"is_gapped_metal": False, "is_metal": True}) == "metal without such a gap"
    assert dft_verdict({"is_gapped_metal": False, "is_metal": False}) == "not a metal"


def test_a_second_check_stands_in_the_table_and_changes_the_risk(make_classifications):
    rows = make_classifications(*((name, "a", True, 0.9, 1.0) for name in ("p", "q", "r")))
    rows = rows.assign(false_metal_risk="some", false_metal_reason="open shell of V")
    jobs = [(name, "positive:consensus", "ok", "") for name in ("p", "q")]
    results = pd.DataFrame(
        {
            "material_id": ["p", "q"],
            "status": "ok",
            "reason": "",
            "second_check": ["not a metal", None],
            "false_metal_risk": ["high", "some"],
            "false_metal_reason": ["gap of 1.00 eV with spin in a doubled cell; open shell of V", "open shell of V"],
        }
    )
    picks = make(rows, jobs, results)
    assert picks.second_check.fillna("none").tolist() == ["not a metal", "none", "none"]
    assert picks.false_metal_risk.tolist() == ["high", "some", "some"]
    assert picks.false_metal_reason["p"].startswith("gap of 1.00 eV")
    assert "second_check" not in make(rows, jobs, results.drop(columns="second_check"))
