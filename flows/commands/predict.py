"""`mat2spec predict`: densities of states of the crystals in files, as a table and a plot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from flows.commands.band_files import write_bands
from flows.commands.exits import ExitCode
from flows.commands.spectrum_plots import PLOT_ENDINGS, write_plot
from flows.commands.table_files import TABLE_ENDINGS, check_ending, write_rows
from flows.commands.terminal import console, say_hanging, stage_progress
from flows.settings_layers import SettingsRefusedError, load_settings
from flows.stages import load_predictors, projections_of
from flows.stages.transport import tight_binding_models, transport_by
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.readers import ReadStructure, expand_paths
from mat2spec.prediction import predict_with_models, reason_of_isotopes, with_notes
from mat2spec.settings import TIGHT_BINDING_MODELS, model_name
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY, GRIDS, SpectralGrid
from mat2spec.spectra.prediction import predictions_table
from mat2spec.tables.columns import TRANSPORT_COLUMNS, Column
from mat2spec.tables.files import atomic_path
from mat2spec.tables.parquet import is_true, to_frame
from mat2spec.tables.status import Status
from mat2spec.tables.text import counted
from screening.classify.classes import classify
from screening.classify.materials import Materials
from screening.classify.metals import MetalEvidence
from screening.classify.phonons import atoms_per_formula_unit, derive_phonon_properties
from screening.progress import adding_up
from screening.report.crystal_page import crystals_content
from screening.report.projections import projections_of_table
from screening.report.result_page import MOST_PICKS, PageContent, result_page
from screening.report.story import describe_class, describe_risk, describe_trust
from screening.sources.by_id import read_crystals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from flows.settings import ScreenSettings
    from mat2spec.spectra.prediction import Prediction

# Maximum number of crystals described one by one in the terminal.
MAX_BLOCKS = 10
# Maximum number of crystals that a summary of many names for each kind.
MAX_NAMED = 5
PAGE_ENDINGS = (".html", ".htm")
# Length of the longest model name and a space.
MODEL_WIDTH = 17


@dataclass(frozen=True)
class FromBands:
    """What else is asked of the bands of a model that has some.

    Parameters
    ----------
    transport
        Whether masses and Seebeck coefficients are added to the table.
    folder
        Where band structures go.
    """

    transport: bool = False
    folder: Path | None = None


def predict_files(
    files: Sequence[Path],
    table: Path,
    plot: Path,
    config: Path | None,
    assignments: Sequence[str],
    spectrum: str = EDOS_GRID.name,
    *,
    page: Path | None = None,
    bands: FromBands | None = None,
) -> int:
    """Predict, print a summary, write table, plot and page; return the exit code."""
    _check_request(table, plot, page, spectrum)
    _check_outputs([table, plot, *([page] if page is not None else [])], files)
    settings = load_settings(config, assignments)
    if bands and (spectrum != EDOS_GRID.name or not tight_binding_models(settings.prediction)):
        raise SettingsRefusedError(
            f"No model here has electronic bands; add --model {TIGHT_BINDING_MODELS[0]} or leave out --transport and --bands."
        )
    read = read_crystals(files, settings.source, settings.results_dir)
    if spectrum != EDOS_GRID.name:
        read = [_without_phonons(entry) for entry in read]
    crystals = crystals_of(read)
    predictions = predict_crystals(crystals, settings, spectrum) if len(crystals) else []
    rows = prediction_rows(read, crystals, predictions, settings, GRIDS[spectrum])
    if bands and bands.transport and len(crystals):
        rows = with_transport(rows, crystals, settings)
    write_rows(rows, table)
    if bands and bands.folder is not None and len(crystals):
        write_bands(crystals, settings, bands.folder)
    _say_summary(rows, table)
    console.print(f"Table: {table}", soft_wrap=True)
    if predictions and any(status == Status.OK for prediction in predictions for status in prediction.status):
        write_plot(predictions, plot)
        console.print(f"Plot: {plot}", soft_wrap=True)
        if page is not None:
            write_page(crystals, predictions, settings, page)
    n_failed = sum(status != Status.OK for status in rows[Column.STATUS].to_pylist())
    if n_failed:
        n_rows = counted(rows.num_rows, "prediction")
        console.print(f"{n_failed:,} of {n_rows} failed; the table has the reason of each.", highlight=False)
    return ExitCode.FAILED if n_failed else ExitCode.DONE


def _check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Refuse to write two outputs into one file, or over a file of crystals."""
    given = [file for file in expand_paths(inputs) if file.is_file()]
    for number, output in enumerate(outputs):
        if output.resolve() in [other.resolve() for other in outputs[:number]]:
            raise SettingsRefusedError(f"{output} is named twice; give each of table, plot and page a file of its own.")
        if output.exists() and any(output.samefile(file) for file in given):
            raise SettingsRefusedError(
                f"{output} is one of the files to predict and would be overwritten; choose another name."
            )


def _check_request(table: Path, plot: Path, page: Path | None, spectrum: str) -> None:
    """Refuse names of files and of spectra that cannot be served, before any work is done."""
    if page is not None and spectrum != EDOS_GRID.name:
        raise SettingsRefusedError("The page shows electronic spectra; leave out --report or --spectrum.")
    if spectrum not in GRIDS:
        raise SettingsRefusedError(f"Unknown spectrum '{spectrum}'; choose from {', '.join(sorted(GRIDS))}.")
    check_ending(table, TABLE_ENDINGS)
    check_ending(plot, PLOT_ENDINGS)
    if page is not None:
        check_ending(page, PAGE_ENDINGS)


def with_transport(rows: pa.Table, crystals: Crystals, settings: ScreenSettings) -> pa.Table:
    """Add masses and Seebeck coefficients to the rows of the model that is tight binding."""
    found = transport_by(settings.prediction, crystals)
    keys = [str(Column.MATERIAL_ID), str(Column.MODEL)]
    numbers = to_frame(rows.select(keys)).merge(found, "left", keys)
    for name in TRANSPORT_COLUMNS:
        rows = rows.append_column(str(name), pa.array(numbers[name], type=pa.float64(), from_pandas=True))
    return rows


def write_page(crystals: Crystals, predictions: Sequence[Prediction], settings: ScreenSettings, path: Path) -> None:
    """Write the page of some crystals, at most as many as it has room for, and say where it is."""
    shown = np.arange(min(len(crystals), MOST_PICKS))
    chosen = [prediction.take(shown) for prediction in predictions]
    content = page_content(crystals.take(shown), chosen, settings)
    with atomic_path(path) as temporary:
        temporary.write_text(result_page(content), encoding="utf-8")
    console.print(f"Page: {path}", soft_wrap=True)


def page_content(crystals: Crystals, predictions: Sequence[Prediction], settings: ScreenSettings) -> PageContent:
    """What the page of some crystals shows, with projections if the leading model gives them."""
    content = crystals_content(crystals, predictions, settings.gap, settings.classify, say_models(predictions))
    assert content.crystals is not None
    return replace(content, projections=projections_of_table(projections_of(content.crystals, settings)))


def say_models(predictions: Sequence[Prediction]) -> str:
    """Which models predicted, for the head of a page."""
    leader, *others = [prediction.model for prediction in predictions]
    return f"Predicted by {leader}" + (f", which leads, {' and '.join(others)}." if others else ".")


def _without_phonons(entry: ReadStructure) -> ReadStructure:
    """Whether masses matter, so that crystals with isotopes are refused."""
    if not entry.isotopes:
        return entry
    return replace(entry, structure=None, reason=reason_of_isotopes(entry.isotopes))


def crystals_of(read: Sequence[ReadStructure]) -> Crystals:
    """The crystals that could be read, in order."""
    usable = [(entry.structure, entry.name) for entry in read if entry.structure is not None]
    return Crystals.from_structures([structure for structure, _ in usable], [name for _, name in usable])


def predict_crystals(crystals: Crystals, settings: ScreenSettings, spectrum: str) -> list[Prediction]:
    """One prediction per model of all crystals that could be read."""
    total = len(crystals) * len(settings.prediction.models)
    with stage_progress("Predict spectra") as progress:
        predictors = load_predictors(settings.prediction, spectrum)
        return predict_with_models(predictors, crystals, adding_up(progress, total))


def prediction_rows(
    read: Sequence[ReadStructure],
    crystals: Crystals,
    predictions: Sequence[Prediction],
    settings: ScreenSettings,
    grid: SpectralGrid,
) -> pa.Table:
    """One row per crystal and model: spectrum and derived properties, or the reason for their absence.

    `crystals` are those that `crystals_of` gives, and the rows of each prediction.
    """
    materials = Materials.of_crystals(crystals)
    atoms_per_formula = atoms_per_formula_unit(ElementCounts.from_crystals(crystals))
    formulas = {
        entry.name: entry.structure.composition.reduced_formula for entry in read if entry.structure is not None
    }
    notes = [entry.note for entry in read if entry.structure is not None]
    models = [model_name(model) for model in settings.prediction.models]
    parts = []
    for prediction in predictions:
        table = predictions_table(with_notes(prediction, notes))
        for name, values in _properties(prediction, materials, atoms_per_formula, settings).items():
            table = table.append_column(str(name), pa.array(values, from_pandas=True))
        parts.append(table)
    parts.append(_unread_rows([entry for entry in read if entry.structure is None], models))
    rows = pa.concat_tables(parts, promote_options="permissive")
    row_names = rows[Column.MATERIAL_ID].to_pylist()
    rows = rows.append_column(Column.FORMULA, pa.array([formulas.get(name) for name in row_names], type=pa.string()))
    origins = {entry.name: entry.origin or entry.file for entry in read}
    rows = rows.append_column(Column.ORIGIN, pa.array([origins[name] for name in row_names], type=pa.string()))
    order = _order(row_names, read)
    return rows.take(order).replace_schema_metadata({GRID_METADATA_KEY: grid.to_json()})


def _properties(
    prediction: Prediction, materials: Materials, atoms_per_formula: NDArray[np.int64], settings: ScreenSettings
) -> pd.DataFrame:
    """What follows from the spectra: classes for electronic ones, thermal properties for phonons."""
    spectra, grid = prediction.spectra, prediction.grid
    if grid == EDOS_GRID:
        evidence = MetalEvidence.of_prediction(prediction)
        return classify(spectra, materials, settings.gap, settings.classify, prediction.uncertainty, evidence=evidence)
    return derive_phonon_properties(spectra, materials.sizes, atoms_per_formula, prediction.uncertainty, grid)


def _unread_rows(unread: Sequence[ReadStructure], models: Sequence[str]) -> pa.Table:
    pairs = [(entry, model) for entry in unread for model in models]
    columns: dict[str, list[str]] = {
        Column.MATERIAL_ID: [entry.name for entry, _ in pairs],
        Column.MODEL: [model for _, model in pairs],
        Column.STATUS: [Status.FAILED for _ in pairs],
        Column.REASON: [entry.reason for entry, _ in pairs],
    }
    return pa.table({name: pa.array(values, type=pa.string()) for name, values in columns.items()})


def _order(names: Sequence[str], read: Sequence[ReadStructure]) -> list[int]:
    """Rows in the order of the files, and within a file of the models."""
    position = {entry.name: index for index, entry in enumerate(read)}
    return sorted(range(len(names)), key=lambda row: position[names[row]])


def _say_summary(rows: pa.Table, table: Path) -> None:
    """A block for each crystal; for many crystals only counts, and where the rest is."""
    columns = [name for name in rows.column_names if not pa.types.is_list(rows.schema.field(name).type)]
    frame = to_frame(rows.select(columns))
    crystals = list(dict.fromkeys(frame[Column.MATERIAL_ID]))
    if len(crystals) > MAX_BLOCKS:
        _say_counts(frame, len(crystals), table)
        return
    for name, block in frame.groupby(Column.MATERIAL_ID, sort=False):
        formula = block[Column.FORMULA].iloc[0]
        say_hanging("", str(name) if pd.isna(formula) else f"{name}: {formula}")
        rows_of_crystal = block.to_dict("records")
        if len(set(block[Column.REASON])) == 1 and (block[Column.STATUS] != Status.OK).all():
            say_hanging("  ", _say_row(rows_of_crystal[0]))
            continue
        for row in rows_of_crystal:
            say_hanging(f"  {row[Column.MODEL]:<{MODEL_WIDTH}}", _say_row(row))


def _say_row(row: dict[Any, Any]) -> str:
    """What one model predicts for one crystal."""
    if row[Column.STATUS] != Status.OK:
        return f"failed: {row[Column.REASON]}"
    words = []
    if Column.IS_GAPPED_METAL in row:
        words += [describe_class(row), *describe_risk(row), f"DOS at E_F {row[Column.DOS_AT_EFERMI]:.2f} states/eV"]
    if Column.BANDS_GAP_EV in row:
        words += _say_transport(row)
    if Column.HEAT_CAPACITY_300K in row:
        words += [f"heat capacity at 300 K {row[Column.HEAT_CAPACITY_300K]:.1f} J/(mol K) per mole of atoms"]
        words += [f"Debye temperature {row[Column.DEBYE_TEMPERATURE]:.0f} K"]
        words += [f"mean frequency {row[Column.MEAN_FREQUENCY]:.0f} cm-1"]
    return "; ".join([*words, *describe_trust(row)]) + "."


def _say_transport(row: dict[Any, Any]) -> list[str]:
    """Seebeck coefficients and masses, where the bands of this row have them."""
    said = (
        (Column.BANDS_SEEBECK, "Seebeck coefficient at 300 K {:.0f} microvolt/K"),
        (Column.CONDUCTIVITY_MASS, "conductivity mass {:.2f}"),
        (Column.SEEBECK_N_1E19, "Seebeck coefficient with 1e19 electrons per cm3 {:.0f} microvolt/K"),
        (Column.SEEBECK_P_1E19, "with 1e19 holes {:.0f} microvolt/K"),
        (Column.ELECTRON_MASS, "mass of electrons {:.2f}"),
        (Column.HOLE_MASS, "of holes {:.2f}"),
    )
    return [words.format(row[name]) for name, words in said if pd.notna(row[name])]


def _say_counts(frame: pd.DataFrame, n_crystals: int, table: Path) -> None:
    console.print(counted(n_crystals, "crystal"), highlight=False)
    for model, rows in frame.groupby(Column.MODEL, sort=False):
        failed = int((rows[Column.STATUS] != Status.OK).sum())
        words = [f"{len(rows) - failed:,} predicted", f"{failed:,} failed"]
        if Column.IS_GAPPED_METAL in rows:
            named = rows[is_true(rows[Column.IS_GAPPED_METAL])]
            words.append(counted(len(named), "gapped metal") + _say_best(named))
        say_hanging(f"  {model:<{MODEL_WIDTH}}", ", ".join(words))
    _say_failures(frame)
    console.print(f"The rows of all crystals are in {table}.", soft_wrap=True, highlight=False)


def _say_best(named: pd.DataFrame) -> str:
    """The most confident of the crystals that a model calls gapped metals."""
    best = named.sort_values(Column.GAPPED_METAL_CONFIDENCE, ascending=False, kind="stable").head(MAX_NAMED)
    names = [f"{row[Column.FORMULA]} ({row[Column.MATERIAL_ID]})" for row in best.to_dict("records")]
    head = ": " if len(named) <= MAX_NAMED else ", the most confident: "
    return head + ", ".join(names) if names else ""


def _say_failures(frame: pd.DataFrame) -> None:
    """The first crystals that could not be predicted, with the reason."""
    failed = frame[frame[Column.STATUS] != Status.OK].drop_duplicates(Column.MATERIAL_ID)
    for row in failed.head(MAX_NAMED).to_dict("records"):
        say_hanging("  ", f"{row[Column.MATERIAL_ID]} failed: {row[Column.REASON]}")
    if len(failed) > MAX_NAMED:
        say_hanging("  ", f"and {len(failed) - MAX_NAMED:,} more failed")
