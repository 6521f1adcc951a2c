from __future__ import annotations

from screening.report.figures import spectrum_figure
from screening.report.page import figures_page


def test_the_script_is_included_once_and_loads_nothing(make_spectrum):
    figure = spectrum_figure({"m": make_spectrum()})
    one, three = figures_page([figure], "t"), figures_page([figure] * 3, "t")
    assert "<script src=" not in three
    assert len(three) - len(one) < 0.1 * len(one)
    assert figures_page([], "nothing").startswith("<!doctype html>")


def test_a_title_is_not_markup():
    assert "<h1>Run &lt;1&gt;</h1>" in figures_page([], "Run <1>")
