"""`mat2spec label`: compute electronic densities of states of chosen crystals, to train on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from dft_validation.labels.choice import gapped_confidence, relative_uncertainty
from dft_validation.labels.factory import LabelError, LabelFactory
from dft_validation.labels.plan import Judges
from dft_validation.labels.reserved import find_reserved_list, read_reserved
from dft_validation.labels.screens import add_run
from flows.commands.exits import resumable
from flows.commands.tables import find_run
from flows.commands.terminal import console, stage_progress
from flows.settings_layers import load_settings
from mat2spec.crystals.composition import canonical_formula
from mat2spec.labels.readers.data_folder import EDOS_FILE, EDOS_NATURAL_FILE
from mat2spec.settings import SHIPPED_SHARDS, default_store
from mat2spec.tables.columns import Column
from mat2spec.tables.files import TableError, read_words
from mat2spec.tables.parquet import read_table
from screening.runs.schemas import TableName
from screening.sources.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from dft_validation.labels.factory import LabelFactory, LabelReport
    from dft_validation.labels.plan import Judges
    from dft_validation.labels.reserved import Reserved
    from flows.settings import ScreenSettings
    from screening.sources.base import CrystalSource


def label(
    config: Path | None,
    assignments: Sequence[str],
    *,
    data: Path | None = None,
    ids: Path | None = None,
    plan: Path | None = None,
    from_run: str | None = None,
    collect_only: bool = False,
) -> None:
    """Label crystals, or only collect finished results, and print a summary."""
    settings = load_settings(config, assignments)
    if from_run is not None:
        _add_run(settings, from_run, data)
        return
    if plan is not None:
        settings = _for_plan(settings)
    factory = _make_factory(settings, open_source(settings.source), data)
    wanted = None if ids is None else read_ids(ids)
    start = time.perf_counter()
    with stage_progress("Label crystals") as progress, resumable(str(settings.label.store_path)):
        if collect_only:
            report = factory.collect(wanted, progress)
        elif plan is not None:
            report = factory.label_plan(plan, _judges(settings), progress)
        elif wanted is not None:
            report = factory.label_ids(wanted, progress)
        else:
            report = factory.label_chosen(progress)
    _say_report(report, factory, time.perf_counter() - start)


def _for_plan(settings: ScreenSettings) -> ScreenSettings:
    """Labels of a database: a folder of shards with the ids of the crystals, at the level of the Materials Project."""
    label, dft = settings.label, settings.dft
    store = label.store or default_store(SHIPPED_SHARDS)
    at_level = type(dft).model_validate({**dft.model_dump(), "level": "mp", **label.plan.dft})
    kept_by_id = label.model_copy(update={"store": store, "keep_crystals": False})
    return settings.model_copy(update={"label": kept_by_id, "dft": at_level})


def _judges(settings: ScreenSettings) -> Judges:
    return Judges(relative_uncertainty(settings.prediction), gapped_confidence(settings.prediction, settings.gap))


def read_ids(path: Path) -> list[str]:
    """Identifiers in a text file, one per line.

    Raises
    ------
    LabelError
        If the file cannot be read or names no crystal.
    """
    try:
        ids = read_words(path)
    except TableError as error:
        raise LabelError(f"The list of crystals {path} cannot be read ({error}); check the path.") from error
    if not ids:
        raise LabelError(f"The list of crystals {path} is empty; write one material_id per line.")
    return ids


def _make_factory(settings: ScreenSettings, source: CrystalSource, data: Path | None) -> LabelFactory:
    return LabelFactory(
        source=source,
        settings=settings.label,
        dft=settings.dft,
        reserved=_reserved(settings, data, source.properties()),
        uncertainty=relative_uncertainty(settings.prediction),
        say=lambda sentence: console.print(sentence, highlight=False, soft_wrap=True),
        labelled_formulas=_labelled_formulas(data),
        filters=settings.filters,
    )


def _labelled_formulas(data: Path | None) -> frozenset[str]:
    """Reduced formulas of the labels in the data folder; none if it has no tables."""
    paths = [] if data is None else [data / name for name in (EDOS_FILE, EDOS_NATURAL_FILE)]
    formulas = [
        formula
        for path in paths
        if path.is_file()
        for formula in read_table(path, columns=["formula"])["formula"].to_pylist()
    ]
    return frozenset(filter(None, map(canonical_formula, formulas)))


def _reserved(settings: ScreenSettings, data: Path | None, materials: pd.DataFrame) -> Reserved:
    """The list of reserved materials, with formulas from `materials`; warns if there is none."""
    path = find_reserved_list(settings.label.reserved, data)
    if path is None:
        console.print(
            "There is no list of reserved materials, so nothing is excluded from training: give one with "
            "--reserved, or the data folder with --data.",
            style="yellow",
            soft_wrap=True,
        )
    formula_of = dict(zip(materials[Column.MATERIAL_ID], materials[Column.FORMULA], strict=True))
    return read_reserved(path, formula_of)


def _add_run(settings: ScreenSettings, run: str, data: Path | None) -> None:
    folder = find_run(None if run == "latest" else run, settings.results_dir)
    reserved = _reserved(settings, data, folder.read_table(TableName.CANDIDATES))
    n_new, n_known, n_reserved = add_run(folder, settings.label.store_path, reserved)
    console.print(
        f"{n_new} labels of the screen {folder.run_id} are new, {n_known} were known or have no spectrum, {n_reserved} "
        f"are reserved.\nStore: {settings.label.store_path}",
        highlight=False,
        soft_wrap=True,
    )


def _say_report(report: LabelReport, factory: LabelFactory, seconds: float) -> None:
    for reason, number in report.left_out.items():
        if number:
            console.print(f"Left out: {number:,} ({reason}).", highlight=False, soft_wrap=True)
    console.print(
        f"{report.n_finished} labels in {seconds:.0f} s, {report.n_new} of them new to the store; {report.n_failed} "
        f"crystals failed, {report.n_not_computed} have not been computed yet.",
        highlight=False,
        soft_wrap=True,
    )
    if report.cpu_seconds > 0:
        hours = report.cpu_seconds / 3600
        console.print(
            f"{report.materials_per_core_hour:.0f} materials per core-hour ({hours:.3f} core-hours, failures included).",
            highlight=False,
            soft_wrap=True,
        )
    store = factory.store
    console.print(f"Store: {store.path} ({len(store.labels())} labels)", highlight=False, soft_wrap=True)
    if report.n_failed:
        console.print(f"Failures: {store.failures_path}", highlight=False, soft_wrap=True)
