import json

import numpy as np
import pytest

from mat2spec.benchmark.data import BenchmarkError
from mat2spec.benchmark.label_noise import LabelNoise
from mat2spec.benchmark.layouts import LAYOUTS
from mat2spec.benchmark.paper import PUBLISHED_PHONONS
from mat2spec.benchmark.plots import choose_materials, draw_quintiles
from mat2spec.benchmark.report import Figures, heading, make_rows, markdown, read_report, write_report
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.readers.data_folder import load_phdos

PHONONS = LAYOUTS["phdos"]
HEADER = PHONONS.header
R2, WD = HEADER.index("R2 blind"), HEADER.index("WD / cm-1")


def result(contender="mat2spec", setting="sumnorm-kl", seed=0, r2=0.6, **others):
    scores = {"n": 9.0, "r2_blind": r2, "wasserstein_cm1": 20.0 + seed, "error_rank_correlation": None}
    return {
        "contender": contender,
        "setting": setting,
        "seed": seed,
        "folder": "/somewhere",
        "material_ids": {"valid": ["mp-1"], "test": ["mp-2"]},
        "metrics": {"test": scores},
        **others,
    }


def test_seeds_are_averaged_with_their_spread():
    rows = make_rows(Figures([result(seed=0, r2=0.5), result(seed=1, r2=0.6), result(seed=2, r2=0.7)]), PHONONS)
    (ours,) = (row for row in rows if row.kind == "seeds")
    assert (ours.kind, ours.n_members) == ("seeds", 3)
    assert ours.mean["r2_blind"] == pytest.approx(0.6)
    assert ours.spread["r2_blind"] == pytest.approx(0.1)
    assert ours.cells(PHONONS)[R2] == "0.600 +- 0.100"
    assert ours.cells(PHONONS)[WD] == "21.0 +- 1.0"
    assert ours.cells(PHONONS)[HEADER.index("rank corr.")] == ""


def test_a_line_says_what_was_trained_on_and_for_how_long():
    training = {"materials": {"train": 1173}, "epochs": 60, "device": "cpu"}
    seeds = [result(seed=seed, training=training | {"seconds": seconds}) for seed, seconds in enumerate((80, 90, 400))]
    (ours,) = (row for row in make_rows(Figures(seeds), PHONONS) if row.kind == "seeds")
    assert ours.cells(PHONONS)[HEADER.index("training")] == "1,173 x 60, 90 s cpu"


def test_one_seed_has_no_spread():
    (ours,) = (row for row in make_rows(Figures([result()]), PHONONS) if row.kind == "seeds")
    assert ours.cells(PHONONS)[R2] == "0.600"


def test_published_figures_stand_under_what_they_are():
    rows = make_rows(Figures([result(setting="maxnorm-mse"), result()]), PHONONS)
    published = {(row.setting, row.contender): row for row in rows if row.kind == "paper"}
    assert len(published) == 6
    assert published["maxnorm-mse", "mat2spec"].mean["r2_blind"] == 0.63
    assert "r2_oracle" not in published["maxnorm-mse", "mat2spec"].mean
    assert published["sumnorm-kl", "mat2spec"].mean["r2_oracle"] == 0.62
    assert "r2_blind" not in published["sumnorm-kl", "mat2spec"].mean


def test_all_published_rows_are_there():
    assert len(PUBLISHED_PHONONS) == 9
    assert {row.model for row in PUBLISHED_PHONONS} == {"e3nn", "gatgnn", "mat2spec"}
    assert sum(row.wasserstein_cm1 for row in PUBLISHED_PHONONS) == 39 + 44 + 33 + 132 + 194 + 21 + 50 + 215 + 24


def test_lines_are_ordered_and_ensembles_and_weights_named():
    ensemble, ours = result(n_members=3), result(contender="ours", n_members=2)
    rows = make_rows(Figures([result(seed=1), result(seed=0), result("gatgnn")], [ensemble], [ours]), PHONONS)
    assert [row.cells(PHONONS)[1:3] for row in rows] == [
        ["e3nn", "paper"],
        ["gatgnn", "1"],
        ["gatgnn", "paper"],
        ["mat2spec", "2"],
        ["mat2spec", "ensemble of 3"],
        ["mat2spec", "paper"],
        ["ours", "weights of 2"],
    ]


def test_markdown_is_a_table_that_says_that_the_paper_split_differs():
    text = markdown(Figures([result()]), PHONONS)
    assert "**another split**" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {len(HEADER) + 1}


ELECTRONS = LAYOUTS["edos"]


def electrons(contender, kind=None, **test_sets):
    """A result with an R2 and its interval on each test set."""
    metrics = {name: {"n": 40.0, "n_gapped_metals": 6.0, "r2_blind": r2} for name, r2 in test_sets.items()}
    intervals = {name: {"r2_blind": [r2 - 0.1, r2 + 0.1]} for name, r2 in test_sets.items()}
    of_kind = {"setting": "composition only"} if kind == "baseline" else {"setting": "sumnorm-kl", "n_members": 1}
    return {"contender": contender, "metrics": metrics, "intervals": intervals, **of_kind}


def test_each_test_set_has_a_table_with_the_baselines_first():
    weights = [electrons("ours", test_random=0.6, test_prototype=0.4), electrons("older", test_unpolarised=0.3)]
    baselines = [electrons("mean-spectrum", "baseline", test_random=0.1, test_prototype=0.05, test_unpolarised=0.0)]
    figures = Figures(weights=weights, baselines=baselines)
    assert figures.test_sets == ["test_random", "test_prototype", "test_unpolarised"]
    rows = make_rows(figures, ELECTRONS, "test_prototype")
    assert [(row.kind, row.contender) for row in rows] == [("baseline", "mean-spectrum"), ("weights", "ours")]
    sections = [line for line in markdown(figures, ELECTRONS).splitlines() if line.startswith("## ")]
    assert sections == [
        "## Random materials (40 materials, 6 gapped metals)",
        "## New prototypes (40 materials, 6 gapped metals)",
        "## Hypothetical and unpolarised (40 materials, 6 gapped metals)",
    ]


def test_intervals_stand_behind_the_figure_and_their_ends_are_averaged_over_seeds():
    (row,) = make_rows(Figures(weights=[electrons("ours", test_prototype=0.6)]), ELECTRONS, "test_prototype")
    assert row.cells(ELECTRONS)[4] == "0.600 [0.500, 0.700]"
    seeds = [{**electrons("ours", test_prototype=r2), "seed": seed} for seed, r2 in enumerate((0.5, 0.7))]
    (row,) = make_rows(Figures(seeds), ELECTRONS, "test_prototype")
    assert row.cells(ELECTRONS)[4] == "0.600 +- 0.141 [0.500, 0.700]"


def test_a_result_of_fewer_materials_says_so():
    fewer = electrons("older", test_random=0.5)
    fewer["metrics"]["test_random"]["n"] = 30.0
    figures = Figures(weights=[fewer, electrons("ours", test_random=0.6)])
    rows = make_rows(figures, ELECTRONS, "test_random")
    assert {row.contender for row in rows if row.kind == "weights"} == {"older (30 materials)", "ours"}
    assert heading(figures, "test_random") == "Random materials (40 materials, 6 gapped metals)"


def test_label_noise_stands_below_as_the_ceiling(tmp_path):
    noise = LabelNoise(what="150 k-points", how="a script", n=28, metrics={"r2_blind": 0.95, "gap_f1": 0.9})
    _, table = write_report(
        tmp_path, Figures(baselines=[electrons("mean", "baseline", test_random=0)]), ELECTRONS, [noise]
    )
    text = table.read_text()
    assert "| label noise | materials | R2 blind | gap F1 |" in text
    assert "| 150 k-points | 28 | 0.950 | 0.900 |" in text


def test_earlier_figures_of_a_test_set_that_has_grown_are_left_out():
    earlier = Figures(weights=[electrons("older", test_random=0.5, test_unpolarised=0.3)])
    new = electrons("mean", "baseline", test_random=0.1, test_unpolarised=0.0)
    new["metrics"]["test_random"]["n"] = 50.0
    (older,) = Figures(baselines=[new]).completed_by(earlier).weights
    assert older["metrics"].keys() == {"test_unpolarised"}


def test_written_results_name_neither_folders_nor_materials(tmp_path):
    data, table = write_report(tmp_path / "new", Figures([result()]), PHONONS)
    assert "0.600" in table.read_text()
    text = data.read_text()
    assert json.loads(text)["cells"][0]["metrics"]["test"]["r2_blind"] == 0.6
    assert "/somewhere" not in text
    assert "mp-2" not in text


def test_earlier_figures_stay_unless_they_were_made_anew(tmp_path):
    earlier = Figures(
        [result(seed=0), result(seed=1), result("gatgnn")], [result(n_members=2)], [result("ours", n_members=1)]
    )
    write_report(tmp_path, earlier, PHONONS)
    new = Figures([result(r2=0.9)], [], [result("ours", r2=0.8, n_members=1)]).completed_by(read_report(tmp_path))
    assert [(cell["contender"], cell["metrics"]["test"]["r2_blind"]) for cell in new.cells] == [
        ("mat2spec", 0.9),
        ("gatgnn", 0.6),
    ]
    assert not new.ensembles, "the ensemble of trainings that are replaced"
    assert [one["metrics"]["test"]["r2_blind"] for one in new.weights] == [0.8]


def test_a_report_that_cannot_be_read_is_a_sentence(tmp_path):
    assert not read_report(tmp_path)
    for text in ("{", '{"rows": []}', "[1]"):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(BenchmarkError, match="move the file away"):
            read_report(tmp_path)


def test_five_materials_of_every_quintile_from_good_to_bad():
    errors = np.random.default_rng(0).permutation(100) / 100
    chosen = choose_materials(errors)
    assert len(set(chosen.ravel())) == 25
    for quintile, materials in enumerate(chosen):
        assert (np.floor(errors[materials] * 5 + 1e-9) == quintile).all()
    assert (np.diff(errors[chosen.ravel()]) > 0).all()


def test_quintile_plot_is_a_picture_and_always_the_same(phonon_folder, tmp_path):
    labels = load_phdos(phonon_folder, GraphSettings(), pretraining=False).part("test")
    for name in ("one.png", "two.png"):
        draw_quintiles(tmp_path / name, labels.spectra * 0.9, labels, "a model")
    picture = (tmp_path / "one.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert picture == (tmp_path / "two.png").read_bytes()
