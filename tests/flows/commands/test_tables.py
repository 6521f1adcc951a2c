"""`mat2spec tables` on runs of this version and of the first one, which kept no coordinates."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.cli.program import run
from flows.commands.exits import ExitCode
from screening.runs.schemas import TableName

OLD_RUN = next(Path(__file__).parent.glob("run_of_version_0_1/*"))
OLD_TABLES = {path.stem for path in OLD_RUN.glob("*.parquet")}


@pytest.fixture
def results(tmp_path):
    shutil.copytree(OLD_RUN, tmp_path / "results" / OLD_RUN.name)
    (tmp_path / "results" / "latest").symlink_to(OLD_RUN.name)
    return tmp_path / "results"


@pytest.fixture
def say(capfd, results):
    def command(*arguments):
        capfd.readouterr()
        code = run([*arguments, "--results-dir", str(results)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return command


def test_the_stored_run_is_one_of_version_0_1():
    assert json.loads((OLD_RUN / "run.json").read_text())["versions"]["mat2spec-screening"] == "0.1.0"
    later = {
        TableName.CRYSTALS,
        TableName.PREVIOUS_CLASSIFICATIONS,
        TableName.PICKS,
        TableName.REMOVED,
        TableName.PHONONS,
        TableName.TRANSPORT,
        TableName.PROJECTIONS,
        TableName.SCAN,
        TableName.FUNNEL,
        TableName.FUNNEL_LOSS,
    }
    assert set(TableName) - OLD_TABLES == later


def test_a_run_of_version_0_1_is_listed(say):
    code, out, _ = say("tables")
    assert code == ExitCode.DONE
    assert all(name in out for name in OLD_TABLES)
    assert not any(line.startswith("│ crystals ") for line in out.splitlines())


@pytest.mark.parametrize("name", sorted(OLD_TABLES))
def test_its_tables_are_read(say, name, tmp_path):
    code, _, err = say("tables", OLD_RUN.name, name, "-n", "0", "-o", str(tmp_path / "rows.parquet"))
    assert code == ExitCode.DONE, err
    assert pq.read_table(tmp_path / "rows.parquet").equals(pq.read_table(OLD_RUN / f"{name}.parquet"))


def test_what_is_new_in_it_is_listed(say):
    code, out, _ = say("tables", "new")
    assert code == ExitCode.DONE
    assert "TiN" in out


@pytest.mark.parametrize("word", ["status", "report"])
def test_its_dft_jobs_are_shown_and_reported(say, word):
    code, out, err = say("dft", word)
    assert code == ExitCode.DONE, err
    assert "CPU seconds spent" in out or "have a DFT spectrum" in out


def test_what_needs_its_coordinates_says_that_it_has_none_and_leaves_it_alone(say, results):
    code, _, err = say("dft", "run")
    assert code == ExitCode.FAILED
    assert "made by version 0.1" in err
    assert (results / OLD_RUN.name / "run.json").read_bytes() == (OLD_RUN / "run.json").read_bytes()
