"""`mat2spec screen`: the stages one after the other, with their progress, and what they found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flows import stages
from flows.cli.exits import resumable
from flows.commands.terminal import STAGE_TITLES, console, say_counts, stage_progress
from flows.settings_layers import list_settings, load_settings
from mat2spec.tables.columns import Column
from screening.report import tables as report
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from flows.settings import ScreenSettings
    from screening.runs.folder import RunFolder


def screen_crystals(config: Path | None, assignments: Sequence[str], *, dry_run: bool) -> None:
    """Screen as the settings say, or with `dry_run` only say what would be done."""
    settings = load_settings(config, assignments)
    if dry_run:
        say_plan(settings, config, assignments)
        return
    run = run_stages(settings)
    if run is not None:
        show_results(run)


def run_stages(settings: ScreenSettings) -> RunFolder | None:
    """Run all stages; an interrupted run says how it goes on. None if only what is new was wanted and nothing is.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C or SIGTERM, with a sentence for the person who pressed it.
    """
    with _open_run(settings) as run:
        resumed = "Goes on with the run" if run.info["resumed"] else "Run"
        console.print(f"{resumed} {run.run_id} in {run.path.parent}", highlight=False, soft_wrap=True)
        with resumable(str(run.path)):
            for name in stages.stages_of(settings):
                if stages.is_needed(name, run):
                    _run_stage(name, run, settings)
                nothing = stages.nothing_new(run, settings)
                if nothing is not None:
                    run.discard()
                    console.print(nothing, highlight=False, soft_wrap=True)
                    return None
        run.finish()
    return run


def _open_run(settings: ScreenSettings) -> RunFolder:
    """Open the run; the Materials Project is read before it, and what was read is kept whatever happens."""
    with resumable(str(settings.source.mp_cache_dir)), stage_progress("Read the source") as progress:
        return stages.open_run(settings, progress)


def _run_stage(name: str, run: RunFolder, settings: ScreenSettings) -> None:
    start = time.perf_counter()
    with stage_progress(STAGE_TITLES[name]) as progress:
        counts = stages.run_stage(name, run, settings, progress)
    say_counts(STAGE_TITLES[name], time.perf_counter() - start, counts)


def show_results(run: RunFolder) -> None:
    """Print the tables that a person wants to see first, and where the others are."""
    console.print(report.filter_counts_table(run.read_table(TableName.FILTER_COUNTS)))
    candidates = run.read_table(TableName.CANDIDATES)
    if run.has_table(TableName.CLASSIFICATIONS):
        console.print(report.gapped_metals_table(run.read_table(TableName.CLASSIFICATIONS), candidates))
    if run.has_table(TableName.DFT_RESULTS):
        jobs = run.read_table(TableName.DFT_JOBS)
        console.print(report.dft_table(_outcomes(run.read_table(TableName.DFT_RESULTS), jobs), jobs, candidates))
    elif run.has_table(TableName.DFT_JOBS):
        console.print(_say_queue(run), highlight=False, soft_wrap=True)
    if run.has_table(TableName.PRECISION_RECALL):
        console.print(report.precision_recall_table(run.read_table(TableName.PRECISION_RECALL)))
    console.print(f"Tables: {run.path}\nShow any of them with `mat2spec tables {run.run_id} NAME`.", soft_wrap=True)


def _say_queue(run: RunFolder) -> str:
    """What became of DFT jobs that were only queued."""
    jobs = run.read_table(TableName.DFT_JOBS, [Column.STATUS])
    n_queued = int((jobs[Column.STATUS] == "queued").sum())
    if n_queued:
        return f"{n_queued} DFT jobs are queued and were not run; `mat2spec dft run {run.run_id}` computes them."
    return f"None of the {len(jobs)} DFT jobs is queued; `mat2spec dft status {run.run_id}` says why."


def _outcomes(results: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Results, and for jobs that were never run the reason why."""
    import pandas as pd

    not_run = jobs[~jobs[Column.MATERIAL_ID].isin(results[Column.MATERIAL_ID])]
    return pd.concat([results, not_run[[Column.MATERIAL_ID, Column.STATUS, Column.REASON]]], ignore_index=True)


def say_plan(settings: ScreenSettings, config: Path | None, assignments: Sequence[str]) -> None:
    """Say which settings differ from the defaults, what the filters would leave, and what would be run."""
    for setting in list_settings(config, assignments):
        if setting.source != "default":
            console.print(f"{setting.key} = {setting.value}   ({setting.source})", highlight=False)
    # First the source: without a key to it, nothing else is worth the wait.
    source = stages.make_source(settings)
    chosen = stages.choose_candidates(source, settings, stages.identity_of(settings))
    candidates = chosen.candidates
    console.print(report.filter_counts_table(chosen.counts))
    models = settings.prediction.models
    n_shards = -(-len(candidates) // settings.prediction.shard_size)
    console.print(f"{len(candidates):,} candidates would be predicted by {' and '.join(models)} in {n_shards} shards.")
    selection = settings.selection
    n_jobs = selection.max_positives + selection.n_random_positives + selection.n_random_negatives
    doing = "computed by" if settings.run_dft else "queued for"
    console.print(f"Up to {n_jobs} of them would be {doing} {settings.dft.engine}. Nothing was written.")
