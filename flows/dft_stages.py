"""The DFT of a run folder: its queue, the tables of what came of it, the page with all figures.

Used by the stages of a screen and by `mat2spec dft`, which does later what a screen left to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_path
from screening.report.page import PAGE_FILE
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from dft_validation.cache import Outcome
    from dft_validation.persistent_queue import JobQueue
    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals
    from screening.runs.folder import RunFolder


def open_queue(run: RunFolder) -> JobQueue:
    """The queue of a run, made from its table of jobs if it is not there.

    Raises
    ------
    RunError
        If the run has not chosen materials for DFT yet.
    """
    from dft_validation.persistent_queue import QUEUE_FILE, JobQueue
    from dft_validation.plan import queue_rows
    from screening.runs.folder import RunError

    if not run.has_table(TableName.DFT_JOBS):
        raise RunError(
            f"The run {run.run_id} has no DFT jobs (yet): it stopped before, or screened nothing. Give the command "
            "of the screen again; it goes on where it was."
        )
    queue = JobQueue(run.path / QUEUE_FILE)
    queue.add(queue_rows(run.read_table(TableName.DFT_JOBS)))
    return queue


def work_off(
    run: RunFolder, settings: ScreenSettings, crystals: Crystals, progress: Callable[[int, int], None]
) -> list[Outcome]:
    """Run what is queued; return what became of every job that was run, now or before."""
    from dft_validation import run_jobs

    queue = open_queue(run)
    try:
        jobs = run.read_table(TableName.DFT_JOBS)
        return run_jobs(jobs, crystals, settings.dft, lambda _, done, total: progress(done, total), queue)
    finally:
        queue.close()


def write_results(run: RunFolder, settings: ScreenSettings, outcomes: list[Outcome]) -> None:
    """Write the table of results and what became of each job."""
    from dft_validation import results_table, update_jobs

    jobs = run.read_table(TableName.DFT_JOBS)
    run.write_table(TableName.DFT_RESULTS, results_table(outcomes, settings.gap))
    run.write_table(TableName.DFT_JOBS, update_jobs(jobs, outcomes))


def write_curve_and_page(run: RunFolder, settings: ScreenSettings) -> None:
    """Write the threshold curve and the page of figures of a run that has results."""
    results, jobs = run.read_table(TableName.DFT_RESULTS), run.read_table(TableName.DFT_JOBS)
    curve = curve_of(run, settings, results, jobs)
    run.write_table(TableName.THRESHOLD_CURVE, curve)
    write_page(run, settings, results, jobs, run.read_table(TableName.PRECISION_RECALL), curve)


def curve_of(run: RunFolder, settings: ScreenSettings, results: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall over moved rules, from the spectra that the run keeps."""
    from screening.evaluate.threshold_curves import threshold_curve

    n_sites = run.read_table(TableName.CANDIDATES).set_index(Column.MATERIAL_ID)[Column.NSITES]
    return threshold_curve(_predictions_of(run, jobs), results, jobs, n_sites, settings.gap, settings.evaluation)


def write_page(
    run: RunFolder,
    settings: ScreenSettings,
    results: pd.DataFrame,
    jobs: pd.DataFrame,
    precision_recall: pd.DataFrame,
    curve: pd.DataFrame,
) -> Path:
    """Write the page with a figure of every validated material into the run folder."""
    from screening.report.page import validation_page

    page = validation_page(
        f"Gapped metals checked by DFT, run {run.run_id}",
        _predictions_of(run, jobs),
        results,
        jobs,
        run.read_table(TableName.CANDIDATES),
        precision_recall,
        curve,
        settings.gap,
    )
    path = run.path / PAGE_FILE
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _predictions_of(run: RunFolder, jobs: pd.DataFrame) -> pd.DataFrame:
    """Predicted spectra of the chosen materials alone: a screen may hold a million others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [Column.MATERIAL_ID, Column.MODEL, Column.EDOS, Column.UNCERTAINTY]
    table = run.read_arrow(TableName.PREDICTIONS, columns)
    chosen = pa.array(jobs[Column.MATERIAL_ID].tolist(), type=pa.string())
    return table.filter(pc.is_in(table[Column.MATERIAL_ID], value_set=chosen)).to_pandas()
