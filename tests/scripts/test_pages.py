from __future__ import annotations

import pytest

from scripts.pages import put_row, put_table

PAGE = "# One\n\nWords.\n\n| a |\n|---|\n| 1 |\n\nMore.\n\n# Two\n\n| b |\n|---|\n"


def test_the_first_table_below_a_heading_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    put_table(page, "# One", "| c |\n|---|\n")
    assert page.read_text() == PAGE.replace("| a |\n|---|\n| 1 |", "| c |\n|---|")
    put_table(page, "# Two", "| d |")
    assert page.read_text().endswith("# Two\n\n| d |\n")


def test_a_heading_or_table_that_is_missing_is_named(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n\n# Two\n")
    with pytest.raises(ValueError, match="no heading '# Three'"):
        put_table(page, "# Three", "| c |")
    with pytest.raises(ValueError, match=r"'# One' of page\.md has no table"):
        put_table(page, "# One", "| c |")


def test_the_row_of_the_same_name_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace("| 1 |", "| 1 | x |\n| 10 | y |"))
    put_row(page, "# One", "| 1 | z |")
    assert page.read_text() == PAGE.replace("| 1 |", "| 1 | z |\n| 10 | y |")
    with pytest.raises(ValueError, match=r"'# Two' of page\.md has no row '1'"):
        put_row(page, "# Two", "| 1 | z |")
