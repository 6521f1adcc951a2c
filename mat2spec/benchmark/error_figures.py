"""Figures of the table of errors: what the error of a prediction goes with, and whether models fail together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pymatgen.core import Element

from mat2spec.benchmark.data import BenchmarkError
from mat2spec.benchmark.resampling import CONFIDENCE_LEVEL, draw_formulas
from mat2spec.tables.files import atomic_path

LABEL, GROUP, FIGURE, PANEL = "label", "group", "figure", "panel"
N_QUINTILES = 5
N_FOURIER_GROUPS = 3
PANEL_SIZE_IN = (4.2, 3.2)
PANELS_PER_ROW = 3
ERROR_AXIS = "share of states in wrong bins"
# Title, smallest number and upper ends (inclusive) of the groups of each number; the last group has no end.
NUMBERS = {
    "composition": {
        "n_elements": ("elements", 1, (1, 2, 3, 4)),
        "n_sites": ("sites per cell", 1, (2, 4, 8, 16, 32)),
    },
    "similarity": {
        "n_train_chemical_system": ("training materials of the same elements", 0, (0, 1, 3)),
        "n_train_rarest_element": ("training materials with its rarest element", 0, (3, 9, 29, 99)),
        "n_train_space_group": ("training materials of its space group", 0, (0, 3, 9, 29, 99)),
        "n_train_prototype": ("training materials of its prototype", 0, (0, 3, 9, 29)),
    },
}


def averaged_over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each model, setting and test material: mean error over the seeds; ensembles are models of their own.

    Parameters
    ----------
    table
        From `mat2spec.benchmark.error_table.error_table`.
    """
    ensemble = table["seed"].isna() & (table["n_members"] > 1)
    names = table["contender"] + "/" + table["setting"]
    table = table.assign(**{LABEL: names.where(~ensemble, names + ", ensemble")})
    keys = [LABEL, "test_set", "material_id"]
    means = table.groupby(keys)["error"].mean()
    return table.drop_duplicates(keys).drop(columns="error").join(means, on=keys).reset_index(drop=True)


def summarise_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Mean error of each model in groups of materials.

    Parameters
    ----------
    table
        From `averaged_over_seeds`, of one test set.

    Returns
    -------
    DataFrame
        ``figure``, ``panel``, ``group``, ``label``, ``n`` materials, ``error`` and the ends ``low`` and ``high`` of its
        95 % bootstrap interval over formulas, in the order in which they are drawn. A material may be in several
        subclasses. Groups without a material are left out.
    """
    parts = [
        summarise_groups(figure, title, table, number_groups(table[column], ends, first))
        for figure, panels in NUMBERS.items()
        for column, (title, first, ends) in panels.items()
    ]
    for band in ("low", "high"):
        groups = ranked_groups(table[f"fourier_{band}"], table["material_id"], N_FOURIER_GROUPS)
        parts.append(summarise_groups("fourier", f"share of {band} Fourier components", table, groups))
    parts += [
        summarise_groups(
            "subclass", "subclass", table, pd.Series(name, index=table.index).where(SUBCLASSES[name](table))
        )
        for name in SUBCLASSES
    ]
    for label in dict.fromkeys(table[LABEL]):
        own = table[table[LABEL] == label].set_index("material_id")["error"]
        quintile = ranked_groups(own, own.index.to_series(), N_QUINTILES, "quintile {}")
        groups = table["material_id"].map(quintile)
        parts.append(summarise_groups("quintiles", f"quintiles of {label}", table, groups))
    return pd.concat(parts, ignore_index=True)


def number_groups(numbers: pd.Series, ends: Sequence[int], first: int = 0) -> pd.Series:
    """Name of the group of each number, such as ``"2-3"``, in an ordered category; missing numbers have none.

    Parameters
    ----------
    numbers
        Whole numbers.
    ends
        Largest number of each group but the last.
    first
        Smallest number that there can be.
    """
    begins = [first, *(end + 1 for end in ends)]
    names = [f"{end}" if begin == end else f"{begin}-{end}" for begin, end in zip(begins[:-1], ends, strict=True)]
    bounds = [-1, *ends, np.inf]
    return pd.cut(numbers.astype("Float64").astype(float), bounds, labels=[*names, f"{begins[-1]} or more"])


def ranked_groups(values: pd.Series, material_ids: pd.Series, n_groups: int, name: str = "") -> pd.Series:
    """Groups of equally many materials by their rank, the smallest values first.

    Parameters
    ----------
    values
        What is ranked; materials with several rows are ranked once. Missing values have no group.
    material_ids
        Of the same rows.
    n_groups
        Number of groups.
    name
        Name with a place for the number; by default the range of the values.
    """
    per_material = values.groupby(material_ids.to_numpy()).first().dropna().sort_values(kind="stable")
    number = np.arange(len(per_material)) * n_groups // max(len(per_material), 1)
    ends = per_material.groupby(number).agg(["min", "max"])
    names = {i: name.format(i + 1) if name else f"{ends['min'][i]:.2f}-{ends['max'][i]:.2f}" for i in ends.index}
    # Groups whose ranges read alike are one.
    groups = pd.Categorical([names[i] for i in number], categories=list(dict.fromkeys(names.values())), ordered=True)
    of_material = pd.Series(groups, index=per_material.index)
    return material_ids.map(of_material).astype(of_material.dtype)


def draw_error_figures(folder: Path, summary: pd.DataFrame) -> list[Path]:
    """One picture for each figure of a summary, ``errors-NAME.png``.

    Parameters
    ----------
    folder
        Where they go.
    summary
        From `summarise_errors`.
    """
    paths = []
    for name, rows in summary.groupby(FIGURE, sort=False):
        path = folder / f"errors-{name}.png"
        _draw(path, rows)
        paths.append(path)
    return paths


def error_tables(summary: pd.DataFrame) -> str:
    """The same as Markdown: for each panel a line for each group and a column for each model."""
    lines: list[str] = []
    for title, rows in summary.groupby(PANEL, sort=False):
        labels = list(dict.fromkeys(rows[LABEL]))
        lines += ["", f"| {title} | materials | " + " | ".join(labels) + " |", "|---" * (len(labels) + 2) + "|"]
        for group, of_group in rows.groupby(GROUP, sort=False):
            cells = of_group.set_index(LABEL)["error"].reindex(labels)
            texts = ["" if np.isnan(value) else f"{value:.3f}" for value in cells]
            lines.append(f"| {group} | {of_group['n'].max()} | " + " | ".join(texts) + " |")
    return "\n".join(lines[1:]) + "\n"


def summarise_groups(figure: str, panel: str, table: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """Mean and interval of each group and model.

    Parameters
    ----------
    figure, panel
        Where it is drawn.
    table
        A row for each model and material, with ``label``, ``formula`` and ``error``.
    groups
        Group of each row; rows without one are left out.
    """
    names = (
        list(groups.cat.categories) if isinstance(groups.dtype, pd.CategoricalDtype) else list(groups.dropna().unique())
    )
    rows = []
    for label, of_model in table.groupby(LABEL, sort=False):
        weights = draw_formulas(of_model["formula"].to_numpy(dtype=object))
        for name in names:
            inside = (groups.loc[of_model.index] == name).fillna(value=False).to_numpy(dtype=np.bool_)
            if inside.any():
                low, high = _interval(of_model["error"].to_numpy()[inside], weights[:, inside])
                mean = float(of_model["error"].to_numpy()[inside].mean())
                rows.append((figure, panel, name, label, int(inside.sum()), mean, low, high))
    return pd.DataFrame(rows, columns=[FIGURE, PANEL, GROUP, LABEL, "n", "error", "low", "high"])


def _interval(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    totals = weights.sum(axis=1)
    drawn = (weights @ values)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    return float(low), float(high)


def _draw(path: Path, rows: pd.DataFrame) -> None:
    panels = list(dict.fromkeys(rows[PANEL]))
    labels = list(dict.fromkeys(rows[LABEL]))
    n_columns = min(PANELS_PER_ROW, len(panels))
    n_rows = -(-len(panels) // n_columns)
    wide = 2 if rows[FIGURE].iloc[0] == "subclass" else 1
    size = (PANEL_SIZE_IN[0] * n_columns * wide, PANEL_SIZE_IN[1] * n_rows)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
    for axis, title in zip(axes, panels, strict=False):
        of_panel = rows[rows[PANEL] == title]
        groups = list(dict.fromkeys(of_panel[GROUP]))
        for number, label in enumerate(labels):
            one = of_panel[of_panel[LABEL] == label]
            at = np.array([groups.index(group) for group in one[GROUP]]) + 0.08 * (number - (len(labels) - 1) / 2)
            ends = np.abs(one[["low", "high"]].to_numpy().T - one["error"].to_numpy())
            axis.errorbar(at, one["error"], ends, marker="o", markersize=3, linewidth=0.8, label=label)
        counts = of_panel.groupby(GROUP, sort=False)["n"].max()
        axis.set_xticks(
            range(len(groups)), [f"{fill(str(group), 22)}\n{counts[group]}" for group in groups], fontsize=7
        )
        axis.set_title(title, fontsize=8)
        axis.set_ylim(bottom=0)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    axes[0].legend(fontsize=6, frameon=False)
    figure.supylabel(ERROR_AXIS, fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def _with_any(test: Callable[[Element], bool]) -> Callable[[pd.DataFrame], pd.Series]:
    known = {element.symbol for element in Element if test(element)}
    return lambda table: table["chemical_system"].map(lambda name: not known.isdisjoint(name.split("-")))


def _with(*symbols: str) -> Callable[[pd.DataFrame], pd.Series]:
    return _with_any(lambda element: element.symbol in symbols)


def _ternary_oxides(table: pd.DataFrame) -> pd.Series:
    """The first subclass of the paper."""
    rare_earth = _with_any(lambda element: element.is_rare_earth)
    return _with("O")(table) & (table["n_elements"] == 3) & ~rare_earth(table)


# Name to the rows in it; the first two are those to which the paper fine-tunes.
SUBCLASSES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "ternary oxides, no rare earth": _ternary_oxides,
    "space group 225": lambda table: (table["space_group"] == 225).fillna(value=False).astype(bool),
    "oxides": _with("O"),
    "sulphides, selenides, tellurides": _with("S", "Se", "Te"),
    "halides": _with("F", "Cl", "Br", "I"),
    "hydrides": _with("H"),
    "with 3d metal": _with("Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu"),
    "with rare earth": _with_any(lambda element: element.is_rare_earth),
    "with actinide": _with_any(lambda element: element.is_actinoid),
}


def chosen_rows(table: pd.DataFrame, test_set: str | None, models: Sequence[str]) -> pd.DataFrame:
    """Rows of one test set and some models, averaged over seeds.

    Parameters
    ----------
    table
        From `mat2spec.benchmark.error_table.error_table`.
    test_set
        Its name; by default the first of the table.
    models
        ``"MODEL/SETTING"``, in order; all if empty.

    Raises
    ------
    BenchmarkError
        If there is no such test set or model in the table.
    """
    rows = averaged_over_seeds(table)
    known = list(dict.fromkeys(rows["test_set"]))
    wanted = test_set or known[0]
    rows = rows[rows["test_set"] == wanted]
    labels = list(dict.fromkeys(rows[LABEL]))
    unknown = [name for name in models if name not in labels]
    if rows.empty:
        raise BenchmarkError(f"No material of the test set '{wanted}' is in the table; choose from {', '.join(known)}.")
    if unknown:
        raise BenchmarkError(f"The model '{unknown[0]}' is not in the table; choose from {'; '.join(labels)}.")
    order = {label: rank for rank, label in enumerate(models or labels)}
    rows = rows[rows[LABEL].isin(list(order))]
    return rows.sort_values(LABEL, key=lambda names: names.map(order), kind="stable").reset_index(drop=True)
