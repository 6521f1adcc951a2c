"""What `mat2spec predict` says in the terminal."""

from pathlib import Path

import pandas as pd
import pytest

from flows.cli.program import run
from flows.commands import predict
from flows.commands.exits import ExitCode
from flows.commands.terminal import console
from tests.flows.conftest import rock_salt


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, (cation, anion) in enumerate([("Ti", "N"), ("V", "O"), ("Na", "O")]):
        rock_salt(cation, anion).to(filename=f"crystal_with_quite_a_long_name_{number}.cif")
    Path("broken.cif").write_text("nothing")
    return sorted(path.name for path in tmp_path.glob("*.cif"))


@pytest.mark.parametrize("width", [80, 140])
def test_each_crystal_is_a_block_that_fits_the_terminal(files, capfd, monkeypatch, width):
    monkeypatch.setattr(console, "width", width)
    assert run(["predict", *files, "--model", "mat2spec", "--model", "sitedos"]) == ExitCode.FAILED
    out = capfd.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert "\ncrystal_with_quite_a_long_name_0.cif: TiN\n  mat2spec" in out
    assert "expected error" in out
    assert "broken.cif\n  failed: " in out, "what no model could read is said once"
    assert "CHGNet" not in out
    assert "nan" not in out


def test_many_files_are_summed_up_and_the_table_is_named(files, capfd, monkeypatch):
    monkeypatch.setattr(predict, "MAX_BLOCKS", 2)
    Path("empty.cif").touch()
    assert run(["predict", *files, "empty.cif", "none.cif", "--model", "mat2spec", "--table", "all.csv"]) == 1
    out = capfd.readouterr().out
    assert "6 crystals\n  mat2spec         3 predicted, 3 failed, " in out
    assert all(f"  {name}.cif failed: " in out for name in ("broken", "empty", "none"))
    assert "3 of 6 predictions failed" in out
    assert "The rows of all crystals are in all.csv." in out


def test_a_summary_names_the_best_and_the_first_that_failed(capfd, monkeypatch):
    monkeypatch.setattr(predict, "MAX_NAMED", 2)
    rows = {
        "model": "m",
        "formula": "X",
        "status": ["ok"] * 4 + ["failed"] * 3,
        "is_gapped_metal": [True] * 3 + [None] * 4,
    }
    frame = pd.DataFrame({"material_id": list("abcdefg"), "gapped_metal_confidence": [0.2, 0.9, 0.5] + [0] * 4, **rows})
    predict._say_counts(frame.assign(reason="It is bad."), 7, Path("all.csv"))
    out = capfd.readouterr().out
    assert "3 gapped metals, the most confident: X (b), X (c)" in " ".join(out.split())
    assert "  e failed: It is bad.\n  f failed: It is bad.\n  and 1 more failed\n" in out


def test_a_page_must_be_named_as_one(files, capfd):
    assert run(["predict", files[0], "--model", "mat2spec", "--report", "page.pdf"]) == ExitCode.FAILED
    assert "must end in .html" in capfd.readouterr().err
    assert not list(Path().glob("predictions.*")), "nothing is done before"


def test_the_version_is_shown(capfd):
    assert run(["--version"]) == ExitCode.DONE
    assert capfd.readouterr().out.startswith("mat2spec ")
