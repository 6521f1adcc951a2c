"""What a person asks of a finished run: the table of picks, why, compare, SQL, exports, and the page that shows how."""

import json
import re
import shlex
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pymatgen.io.cif import CifParser

from flows.cli.program import run
from flows.commands.exits import ExitCode
from flows.commands.screen import show_results
from flows.commands.terminal import console
from mat2spec.crystals.composition import reduced_formulas
from screening.runs.schemas import TableName

PAGE = Path(__file__).parents[3] / "docs" / "results.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def say(capfd, finished_run, monkeypatch, tmp_path):
    (tmp_path / "results").symlink_to(finished_run.path.parent)
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        capfd.readouterr()
        code = run(list(arguments))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def picks(finished_run):
    return pd.read_parquet(finished_run.table_path(TableName.PICKS))


def test_flags_of_every_table_work_as_masks_although_a_crystal_failed(finished_run, picks):
    classes = pd.read_parquet(finished_run.table_path(TableName.CLASSIFICATIONS))
    assert classes.is_gapped_metal.isna().any()
    assert len(classes[classes.is_gapped_metal]) == int(classes.is_gapped_metal.sum())
    assert set(map(str, picks.select_dtypes("bool").columns)) >= {"is_gapped_metal", "gap_open_at_bottom"}
    assert str(pd.read_parquet(finished_run.table_path(TableName.PREDICTIONS)).status.dtype) == "str"


def test_every_material_that_was_named_or_chosen_is_one_row(finished_run, picks):
    classes = finished_run.read_table(TableName.CLASSIFICATIONS)
    named = set(classes.loc[classes.is_gapped_metal.fillna(value=False), "material_id"])
    chosen = set(finished_run.read_table(TableName.DFT_JOBS).material_id)
    assert sorted(picks.material_id) == sorted(named | chosen)
    assert (picks.space_group == 225).all()
    assert (picks.space_group_symbol == "Fm-3m").all()
    assert picks.loc[picks.material_id.isin(chosen), "choice"].str.startswith("chosen: ").all()


def test_removed_materials_name_their_filter(finished_run, say):
    removed = finished_run.read_table(TableName.REMOVED).set_index("material_id")["filter"]
    assert removed.to_dict() == {"unstable": "energy above hull", "insulator": "band gap"}
    counts = finished_run.read_table(TableName.FILTER_COUNTS)
    assert counts.removed.sum() == len(removed)
    code, out, _ = say("why", "unstable")
    assert code == ExitCode.DONE
    assert "LiF, unstable: 2 sites per cell, 0.900 eV/atom above the hull" in out
    assert "the filter 'energy above hull' removed it" in out


def test_why_tells_of_models_rank_and_dft(say, finished_run):
    job = finished_run.read_table(TableName.DFT_JOBS).iloc[0]
    code, out, _ = say("why", job.material_id)
    assert code == ExitCode.DONE
    for model in finished_run.read_table(TableName.CLASSIFICATIONS).model.unique():
        assert f"\n{model}: " in out
    assert "It was chosen for DFT" in out
    assert "DFT (fake PBE" in out
    code, out, _ = say("why", "overlap")
    assert "could not predict it" in out
    assert "it has no prediction" in out


def test_why_takes_a_formula_and_refuses_what_it_does_not_know(say):
    code, out, _ = say("why", "TiN")
    assert code == ExitCode.DONE
    assert out.startswith("TiN, TiN: ")
    code, _, err = say("why", "NoSuch")
    assert code == ExitCode.FAILED
    assert "has no material 'NoSuch'" in err


def two_runs(finished_run, results):
    """A results folder with two copies of a run, `latest` being the second."""
    for name, created in (("first", "2026-01-01T00:00:00"), ("second", "2026-01-02T00:00:00")):
        shutil.copytree(finished_run.path, results / name)
        record = results / name / "run.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "run_id": name, "created": created}))
    (results / "latest").symlink_to("second")
    return results


def test_a_run_is_compared_with_the_one_before_it_unless_another_is_named(finished_run, tmp_path, capfd):
    results = two_runs(finished_run, tmp_path / "results")
    for arguments in ([], ["first"], ["first", "second"]):
        assert run(["compare", *arguments, "--results-dir", str(results)]) == ExitCode.DONE
        out = capfd.readouterr().out
        assert "Before: first\nAfter:  second\n" in out
        assert "Settings, weights and database are the same." in out
        assert "No material changed its verdict." in out
    for arguments, words in ((["second"], "Both runs are second"), (["first", "first"], "Both runs are first")):
        assert run(["compare", *arguments, "--results-dir", str(results)]) == ExitCode.FAILED
        assert words in capfd.readouterr().err


def test_the_first_run_has_none_before_it(say, finished_run):
    code, _, err = say("compare")
    assert code == ExitCode.FAILED
    assert f"finished before {finished_run.run_id}" in err


def test_sql_joins_tables_and_has_spectra_bin_by_bin(say, tmp_path):
    query = "select p.formula, s.* from picks p join spectra s using (material_id) where s.model = 'DFT'"
    code, _, err = say("tables", "--sql", query, "-n", "0", "-o", str(tmp_path / "s.parquet"))
    assert code == ExitCode.DONE, err
    table = pq.read_table(tmp_path / "s.parquet").to_pandas()
    assert len(table) % 128 == 0
    assert len(table) > 0
    assert table.energy_ev.min() == pytest.approx(-4)
    assert (table.edos >= 0).all()


def test_wrong_sql_is_refused_with_the_names_of_the_tables(say):
    code, _, err = say("tables", "--sql", "select * from nowhere")
    assert code == ExitCode.FAILED
    assert "picks" in err
    code, _, err = say("tables", "--sql", "select 1", "--where", "x")
    assert code == ExitCode.WRONG_USE


def test_picks_are_exported_as_identifiers_and_as_crystals(say, picks, finished_run, tmp_path):
    assert say("tables", "picks", "-n", "0", "-o", "p.txt")[0] == ExitCode.DONE
    assert (tmp_path / "p.txt").read_text().split() == picks.material_id.tolist()
    assert say("tables", "picks", "-n", "0", "-o", "p.cif")[0] == ExitCode.DONE
    structures = CifParser(tmp_path / "p.cif").parse_structures(primitive=False)
    assert [s.composition.reduced_formula for s in structures] == reduced_formulas(
        finished_run.crystals(picks.material_id)
    ).tolist()
    code, _, err = say("tables", "filter_counts", "-o", "f.txt")
    assert code == ExitCode.FAILED
    assert "needs the column material_id" in err
    assert say("tables", "picks", "-o", "p.doc")[0] == ExitCode.FAILED


def test_a_terminal_shows_a_screenful_and_says_what_is_left_out_and_a_file_has_all(say, tmp_path, monkeypatch, picks):
    monkeypatch.setattr("flows.commands.tables.ROWS_IN_A_TERMINAL", 2)
    code, out, err = say("tables", "picks")
    assert code == ExitCode.DONE, err
    assert "Only the first 2 rows; -n 0 shows all." in out
    assert f"{len(picks.columns)} more columns" not in out
    assert re.search(r"\d+ more columns: --columns all shows them", out)
    assert max(map(len, out.splitlines())) <= console.width
    assert "-n 0" not in say("tables", "picks", "-n", "0")[1]
    assert "-n 0" in say("tables", "--sql", "select material_id from picks")[1]
    assert say("tables", "picks", "-o", "all.csv")[0] == ExitCode.DONE
    assert len(pd.read_csv(tmp_path / "all.csv")) == len(picks) > 2
    assert say("tables", "picks", "-n", "1", "-o", "one.csv")[0] == ExitCode.DONE
    assert len(pd.read_csv(tmp_path / "one.csv")) == 1


def test_counts_stay_counts_in_a_text_file(say, tmp_path, picks):
    assert picks.pick_rank.isna().any()
    assert say("tables", "picks", "-o", "p.csv")[0] == ExitCode.DONE
    written = pd.read_csv(tmp_path / "p.csv", dtype=str, keep_default_na=False)
    assert written.pick_rank.tolist() == ["" if pd.isna(rank) else str(int(rank)) for rank in picks.pick_rank]


@pytest.mark.parametrize("name", list(TableName))
def test_every_column_of_every_table_has_a_meaning(say, finished_run, name):
    if not finished_run.has_table(name):
        pytest.skip("this run has no such table")
    code, out, err = say("tables", name, "--describe")
    assert code == ExitCode.DONE, err
    assert TableName(name).description.split()[0] in out
    assert "A column of your own." not in out
    heads = [line.split()[0] for line in out.splitlines() if line and not line.startswith(" ")]
    assert set(finished_run.column_names(name)) <= set(heads)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("picks", "--columns", "formla"), "There is no column 'formla'. Did you mean formula"),
        (("picks", "--where", "xyzzy = 1"), "columns; --describe lists them"),
        (("filter_counts", "--sort", "xyzzy"), "There is no column 'xyzzy'. Columns are filter, removed"),
        (("picks", "--where", "formula ="), "error"),
    ],
)
def test_an_unknown_column_is_named_with_those_that_look_like_it(say, options, said):
    code, _, err = say("tables", *options)
    assert code == ExitCode.FAILED
    assert said in err
    assert len(err) < 400


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_every_recipe_of_the_page_runs(say, number):
    exec(blocks("python")[number], {})
    duckdb.close()


@pytest.mark.parametrize(
    "line", [line for block in blocks("bash") for line in block.splitlines() if line.startswith("mat2spec")]
)
def test_every_line_of_the_page_runs(say, picks, finished_run, tmp_path, line):
    words = [word.replace("mp-149", picks.material_id[0]) for word in shlex.split(line)[1:]]
    if words[0] == "compare":
        words += ["--results-dir", str(two_runs(finished_run, tmp_path / "two"))]
    code, out, err = say(*words)
    assert code == ExitCode.DONE, err
    assert out


@pytest.mark.parametrize("width", [80, 140])
def test_all_that_a_run_prints_fits_the_terminal_and_cuts_no_identifier(finished_run, picks, monkeypatch, capfd, width):
    monkeypatch.setattr(console, "width", width)
    folder = str(finished_run.path.parent)
    show_results(finished_run)
    for command in (["tables", "picks"], ["tables", "precision_recall"], ["tables", "dft_jobs"], ["why", "TiN"]):
        assert run([*command, "--results-dir", folder]) == ExitCode.DONE
    lines = capfd.readouterr().out.splitlines()
    # Paths and commands are kept whole, to be copied.
    assert max(len(line) for line in lines if "results" not in line and "mat2spec" not in line) <= width
    out = "\n".join(lines)
    assert all(name in out for name in picks.material_id)
    assert not re.search(r"\bnan\b|…|\de\+0\d", out)
