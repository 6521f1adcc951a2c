"""What a person asks of a finished run: the table of picks, why, compare, SQL, exports, and the page that shows how."""

import re
import shlex
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


def test_a_run_compared_with_itself_has_not_changed(say, finished_run):
    code, out, err = say("compare", finished_run.run_id)
    assert code == ExitCode.DONE, err
    assert "Settings, weights and database are the same." in out
    assert "No material changed its verdict." in out


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


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_every_recipe_of_the_page_runs(say, number):
    exec(blocks("python")[number], {})
    duckdb.close()


@pytest.mark.parametrize(
    "line", [line for block in blocks("bash") for line in block.splitlines() if line.startswith("mat2spec")]
)
def test_every_line_of_the_page_runs(say, picks, line):
    words = [word.replace("mp-149", picks.material_id[0]) for word in shlex.split(line)[1:]]
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
