import json

import pandas as pd
import pytest

from flows.cli.program import run
from flows.commands.benchmark import Benchmark
from flows.commands.exits import ExitCode
from tests.mat2spec.benchmark.conftest import phonon_folder  # noqa: F401 - a fixture
from tests.mat2spec.labels.readers.small_archives import write_edos_archive, write_phdos_archive

SIZES = "model_settings={encoder: {width: 16, n_heads: 2}}"


@pytest.fixture
def command(phonon_folder, tmp_path):  # noqa: F811 - the fixture that is imported
    def run_it(*options):
        given = ["--data", phonon_folder, "--folder", tmp_path / "cells", "--output", tmp_path / "out"]
        return run(["benchmark", "phdos", *map(str, given), *options])

    return run_it


def test_benchmark_trains_reports_and_resumes(command, tmp_path, capsys):
    cells = ["--models", "gatgnn", "--settings", "maxnorm-mse,sumnorm-kl", "--epochs", "1", "--set", SIZES]
    cells += ["--set", "accelerator=cpu"]
    assert command(*cells, "--seeds", "0") == ExitCode.DONE
    assert command(*cells, "--seeds", "0,1") == ExitCode.DONE
    printed = capsys.readouterr().out
    assert "[1/4] gatgnn-maxnorm-mse-seed0" in printed
    assert "paper" in printed
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(content["cells"]) == 4
    assert [result["n_members"] for result in content["ensembles"]] == [2, 2]
    assert "ensemble of 2" in (tmp_path / "out" / "table.md").read_text()
    assert list((tmp_path / "out").glob("quintiles-*.png"))
    errors = pd.read_parquet(tmp_path / "out" / "errors.parquet")
    assert len(errors) == 6 * 7, "four trainings and two ensembles of seven test materials"
    means = errors.groupby(["setting", "seed"])["mae_blind"].mean()
    for cell in content["cells"]:
        assert means[cell["setting"], cell["seed"]] == pytest.approx(cell["metrics"]["test"]["mae_blind"])
    weights = next((tmp_path / "cells" / "gatgnn-sumnorm-kl-seed0").glob("gatgnn*.safetensors"))
    assert command("--only-report", "--weights", f"ours={weights}", "--plot", "ours/sumnorm-kl") == ExitCode.DONE
    assert (tmp_path / "out" / "quintiles-ours-sumnorm-kl.png").is_file()
    assert len(pd.read_parquet(tmp_path / "out" / "errors.parquet")) == 7 * 7, "earlier rows stay, none is doubled"


def test_figures_of_the_errors_are_drawn_from_the_table_alone(command, tmp_path, capsys):
    cells = ["--models", "gatgnn", "--settings", "sumnorm-kl", "--epochs", "1", "--set", SIZES, "--seeds", "0,1"]
    assert command(*cells, "--set", "accelerator=cpu") == ExitCode.DONE
    errors = tmp_path / "out" / "errors.parquet"
    assert run(["benchmark", "figures", str(errors), "-o", str(tmp_path / "figures")]) == ExitCode.DONE
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    names = ("composition", "similarity", "fourier", "subclass", "quintiles")
    assert drawn == {"errors.md", *(f"errors-{name}.png" for name in names)}
    assert "gatgnn/sumnorm-kl, ensemble" in (tmp_path / "figures" / "errors.md").read_text()
    assert run(["benchmark", "figures", str(errors), "--models", "megnet/x"]) == ExitCode.FAILED
    assert "The model 'megnet/x' is not in the table" in " ".join(capsys.readouterr().err.split())


def test_one_command_makes_table_one_of_the_archive(tmp_path, capsys):
    archive = write_phdos_archive(tmp_path)
    cells = ["--models", "gatgnn", "--settings", "sumnorm-kl", "--seeds", "0", "--epochs", "1", "--set", SIZES]
    where = ["--data", str(archive), "--folder", str(tmp_path / "cells"), "--output", str(tmp_path / "out")]
    assert run(["benchmark", "phdos", *where, *cells]) == ExitCode.DONE
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["cells"][0]["training"]["data"] == "phonons of the paper's archive"
    assert content["cells"][0]["training"]["materials"] == {"train": 3, "valid": 2, "test": 1}


def test_one_command_makes_table_two_of_the_archive(tmp_path, capsys):
    archive = write_edos_archive(tmp_path)
    cells = ["--models", "gatgnn", "--settings", "standard-mae,sumnorm-kl", "--seeds", "0,1", "--epochs", "1"]
    where = ["--data", str(archive), "--folder", str(tmp_path / "cells"), "--output", str(tmp_path / "out")]
    assert run(["benchmark", "edos", *where, *cells, "--set", SIZES]) == ExitCode.DONE
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(content["cells"]) == 4
    for result in [*content["cells"], *content["ensembles"]]:
        scores = result["metrics"]["test"]
        assert scores["n"] == 2
        assert scores["mae_blind"] > 0, "shapes have the scale of the same seed's standard-mae"
        assert {"gap_f1", "wasserstein_ev", "mse_oracle"} <= scores.keys()
    errors = pd.read_parquet(tmp_path / "out" / "errors.parquet")
    assert errors["mae_blind"].notna().all(), "shapes have their scale in the table too"
    table = (tmp_path / "out" / "table.md").read_text()
    assert "Only on the paper's own archive" in table
    assert "| sumnorm-kl | mat2spec | paper |" in table
    assert list((tmp_path / "out").glob("quintiles-gatgnn-*.png"))
    place = tmp_path / "cells"
    files = [
        next((place / f"gatgnn-{name}-seed0").glob("gatgnn*.safetensors")) for name in ("sumnorm-kl", "standard-mae")
    ]
    weights = f"shipped={','.join(map(str, files))}"
    assert run(["benchmark", "edos", *where, "--only-report", "--weights", weights]) == ExitCode.DONE
    judged = json.loads((tmp_path / "out" / "results.json").read_text())["weights"][0]
    (cell,) = (c for c in content["cells"] if (c["setting"], c["seed"]) == ("sumnorm-kl", 0))
    assert judged["metrics"]["test"]["mae_blind"] == pytest.approx(cell["metrics"]["test"]["mae_blind"], rel=1e-4)


def test_shipped_weights_are_judged_by_name(command, tmp_path):
    assert command("--only-report", "--shipped") == ExitCode.DONE
    weights = json.loads((tmp_path / "out" / "results.json").read_text())["weights"]
    assert {"shipped-mat2spec", "shipped-gatgnn"} <= {one["contender"] for one in weights}
    assert all(one["metrics"]["test"]["n"] == 7 for one in weights)


def test_report_without_a_finished_cell_has_the_baselines(command, tmp_path, capsys):
    assert command("--only-report") == ExitCode.DONE
    words = " ".join(capsys.readouterr().out.split())
    assert "is finished and no weights were given: only baselines are shown" in words
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [one["contender"] for one in content["baselines"]] == [
        "mean-spectrum",
        "nearest-composition",
        "composition-knn-parity",
    ]
    assert all(one["metrics"]["test"]["n"] == 7 for one in content["baselines"])
    assert "| composition only | mean-spectrum | baseline |" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--models", "megnet"], "Unknown recipe or model 'megnet'"),
        (["--settings", "maxnorm"], "Unknown setting 'maxnorm'; choose from standard-mae"),
        (["--seeds", "one"], "Cannot read the seeds 'one'"),
        (["--only-report", "--weights", "ours"], "Cannot read the weights 'ours'"),
        (["--set", "batchsize=3"], "batch_size"),
    ],
)
def test_what_cannot_be_run_is_a_sentence(command, capsys, options, sentence):
    assert command(*options) == ExitCode.FAILED
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_epochs_of_the_command_line_win_over_the_recipe(tmp_path):
    benchmark = Benchmark("phdos", tmp_path, tmp_path, tmp_path, "e3nn,mat2spec", "sumnorm-kl", "0", ["epochs=3"])
    assert [cell.training.epochs for cell in benchmark.cells()] == [3, 3]
    assert [cell.name for cell in benchmark.cells()] == ["e3nn-sumnorm-kl-seed0", "mat2spec-sumnorm-kl-seed0"]
