"""Wide tables stay readable."""

import pandas as pd
import pytest

from flows.commands.terminal import console, print_frame, print_leading_columns, say_counts, say_hanging


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(console, "width", 60)


def test_columns_that_do_not_fit_go_to_further_blocks_led_by_the_first(narrow, capfd):
    frame = pd.DataFrame({"material_id": ["mp-1", "mp-2"]} | {f"quantity_number_{i}": [i, -i] for i in range(6)})
    print_frame(frame, "A title")
    out = capfd.readouterr().out
    lines = out.splitlines()
    assert max(len(line) for line in lines) <= 60
    assert all(f"quantity_number_{i}" in out for i in range(6))
    heads = [line for line in lines if "quantity_number" in line]
    assert len(heads) > 1
    assert all("material_id" in line for line in heads)
    assert out.count("A title") == 1


def test_a_text_that_is_the_same_in_every_row_is_said_once(narrow, capfd):
    print_frame(pd.DataFrame({"model": ["a", "b"], "setting": ["a long rule"] * 2, "n": [3, 3]}), "")
    out = capfd.readouterr().out
    assert out.count("a long rule") == 1
    assert "setting = a long rule in every row" in out
    assert "n" in out


def test_columns_named_first_lead_and_the_others_are_counted(narrow, capfd):
    frame = pd.DataFrame({f"quantity_number_{i}": [i, -i] for i in range(9)} | {"material_id": ["mp-1", "mp-2"]})
    print_leading_columns(frame, "A title", ("material_id", "not_there", "quantity_number_3"))
    out = capfd.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 60
    head = next(line for line in out.splitlines() if "material_id" in line)
    assert head.index("material_id") < head.index("quantity_number_3") < len(head)
    assert "quantity_number_8" not in out
    assert f"{len(frame.columns) - out.count('quantity_number') - 1} more columns" in out


def test_a_narrow_table_is_shown_whole(narrow, capfd):
    print_leading_columns(pd.DataFrame({"a": ["x"], "b": [""]}), "")
    assert "more columns" not in capfd.readouterr().out


@pytest.mark.parametrize("frame", [pd.DataFrame({"a": [], "b": []}), pd.DataFrame({"a": ["x"], "b": ["y"]})])
def test_empty_and_single_rows_keep_their_columns(narrow, capfd, frame):
    print_frame(frame, "")
    out = capfd.readouterr().out
    assert "a" in out
    assert "b" in out
    assert "every row" not in out


def test_a_finished_stage_is_one_line(capfd):
    say_counts("Run DFT", 12.34, {"computed": 1200, "gapped_metals": 3})
    assert capfd.readouterr().out.split() == ["Run", "DFT", "12.3", "s", "computed", "1,200,", "gapped", "metals", "3"]


@pytest.mark.parametrize("width", [80, 140])
def test_further_lines_of_words_stand_below_the_first(monkeypatch, capfd, width):
    monkeypatch.setattr(console, "width", width)
    say_hanging("  model          ", " ".join(["[red]word"] * 40))
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= width
    assert all(line.index("[red]word") == lines[0].index("[red]word") for line in lines)
