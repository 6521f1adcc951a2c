"""`mat2spec screen`: run the stages, show their progress and what they found."""

from __future__ import annotations

import math
import os
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import pandas as pd

from dft_validation.results.outcomes import JobStatus
from flows import pipeline
from flows.commands.exits import resumable
from flows.commands.terminal import console, say_counts, say_hanging, stage_progress
from flows.settings_layers import list_settings, load_settings
from flows.stages import funnel
from mat2spec.settings import TIGHT_BINDING_MODELS, model_name
from mat2spec.tables.columns import Column
from mat2spec.tables.text import counted
from screening.choose.candidates import choose_candidates
from screening.choose.selection import NEEDED_TO_SELECT
from screening.evaluate.funnel_loss import describe_loss
from screening.report import tables as report
from screening.report.result_page import PAGE_FILE
from screening.report.wording import target_of_run
from screening.runs.history import PreviousRuns
from screening.runs.schemas import TableName
from screening.sources.opening import asked_about, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from flows.settings import ScreenSettings
    from screening.runs.folder import RunFolder

SCAN = "scan_candidates"
# From this many candidates on, the cost of the slowest model is shown beforehand.
MANY_CANDIDATES = 2000
# Of tight binding on one core, for crystals of the Materials Project (docs/funnel.md); small cells take less.
CRYSTALS_PER_SECOND = 20
SECONDS_PER_MINUTE = 60


def screen_crystals(config: Path | None, assignments: Sequence[str], *, dry_run: bool) -> None:
    """Screen as the settings say, or with `dry_run` only say what would be done."""
    settings = load_settings(config, assignments)
    if dry_run:
        say_plan(settings, config, assignments)
        return
    run = screen(settings)
    if run is not None:
        show_results(run)


def screen(settings: ScreenSettings) -> RunFolder | None:
    """Run all stages; an interruption says how to resume. None if only new materials were wanted and there are none.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C or SIGTERM, with a sentence that says how to resume.
    """
    with _open_run(settings) as run:
        resumed = "Resuming the run" if run.info["resumed"] else "Run"
        console.print(f"{resumed} {run.run_id} in {run.path.parent}", highlight=False, soft_wrap=True)
        with resumable(str(run.path)):
            nothing = pipeline.run_stages(run, settings, pipeline.stages_of(settings), partial(do_stage, run, settings))
    if nothing:
        console.print(nothing, highlight=False, soft_wrap=True)
        return None
    return run


def _open_run(settings: ScreenSettings) -> RunFolder:
    """Open the run; the Materials Project is read first, and what was read is kept in any case."""
    with resumable(str(settings.source.mp_cache_dir)), stage_progress("Read the source") as progress:
        return pipeline.open_run(settings, progress)


def do_stage(run: RunFolder, settings: ScreenSettings, stage: pipeline.Stage) -> pipeline.Done:
    """Run one stage, with a progress bar while it runs and a line when it is done."""
    if stage.shard is not None and pipeline.find_done(stage, run) is None:
        n_candidates = run.count_rows(TableName.CANDIDATES)
        if stage.name == SCAN:
            say_hanging("", funnel.describe(settings, n_candidates))
        else:
            n_read = len(stage.takes(run))
            say_hanging("", " ".join(describe_models(list(map(model_name, settings.prediction.models)), n_read)))
    with stage_progress(stage.title) as progress:
        if settings.prediction.scheduler is not None and (shards := pipeline.shards_to_do(stage, run, settings)):
            # Prefect takes seconds to import, and is needed only for a cluster.
            tasks = import_module("flows.shards")
            tasks.run_shards(tasks.Run.of(run, settings), stage.name, shards, lambda n: progress(n, len(shards)))
        done = pipeline.run_stage(stage, run, settings, progress)
    say_counts(stage.title, done.seconds, done.counts)
    return done


def describe_models(models: Sequence[str], n_candidates: int) -> Iterator[str]:
    """Which model leads, and how long tight binding takes of a large source, in sentences."""
    leader, *others = models
    yield f"{leader} leads, beside {' and '.join(others)}." if others else f"{leader} is the only model."
    slow = [model for model in models if model in TIGHT_BINDING_MODELS]
    if slow and n_candidates > MANY_CANDIDATES:
        minutes = n_candidates / CRYSTALS_PER_SECOND / (os.cpu_count() or 1) / SECONDS_PER_MINUTE
        rest = [model for model in models if model not in slow] or ["sitedos"]
        yield (
            f"{' and '.join(slow)} takes up to {math.ceil(minutes)} minutes for {n_candidates:,} crystals; "
            f"{' '.join(f'--model {model}' for model in rest)} does without."
        )


def show_results(run: RunFolder) -> None:
    """Print the most important tables, and where the others are."""
    candidates = run.read_table(TableName.CANDIDATES, [Column.MATERIAL_ID, Column.FORMULA])
    jobs, there = run.read_table(TableName.DFT_JOBS), run.column_names(TableName.CLASSIFICATIONS)
    condition = target_of_run(run.info).condition
    needed = {*NEEDED_TO_SELECT, Column.GAP_TOP_EV, Column.GAP_OPEN_AT_BOTTOM, *report.columns_named(condition, there)}
    shown = [name for name in there if name in needed]
    console.print(report.filter_counts_table(run.read_table(TableName.FILTER_COUNTS)))
    classes = run.read_table(TableName.CLASSIFICATIONS, shown)
    console.print(report.gapped_metals_table(classes, candidates, condition=condition))
    if run.has_table(TableName.DFT_RESULTS):
        console.print(report.dft_table(_outcomes(run.read_table(TableName.DFT_RESULTS), jobs), jobs, candidates))
    else:
        console.print(_say_queue(run, jobs), highlight=False, soft_wrap=True)
    merit = run.read_table(TableName.PRECISION_RECALL)
    if len(merit):
        console.print(report.precision_recall_table(merit))
    if run.has_table(TableName.FUNNEL_LOSS):
        console.print(describe_loss(run.read_table(TableName.FUNNEL_LOSS)), highlight=False, soft_wrap=True)
    console.print(f"Tables: {run.path}, shown by `mat2spec tables {run.run_id} NAME`", soft_wrap=True)
    if (run.path / PAGE_FILE).exists():
        console.print(f"Page: {run.path / PAGE_FILE}, opened by `mat2spec report --open`", soft_wrap=True)


def _say_queue(run: RunFolder, jobs: pd.DataFrame) -> str:
    """What became of DFT jobs that were only queued."""
    n_queued = int((jobs[Column.STATUS] == JobStatus.QUEUED).sum())
    if n_queued:
        is_queued = (
            f"{counted(n_queued, 'DFT job')} {'is queued and was' if n_queued == 1 else 'are queued and were'} not run"
        )
        return f"{is_queued}; `mat2spec dft run {run.run_id}` computes {'it' if n_queued == 1 else 'them'}."
    return f"None of {counted(len(jobs), 'DFT job')} is queued; `mat2spec dft status {run.run_id}` shows why."


def _outcomes(results: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Results, with the reason for jobs that were never run."""
    not_run = jobs[~jobs[Column.MATERIAL_ID].isin(results[Column.MATERIAL_ID])]
    return pd.concat([results, not_run[[Column.MATERIAL_ID, Column.STATUS, Column.REASON]]], ignore_index=True)


def say_plan(settings: ScreenSettings, config: Path | None, assignments: Sequence[str]) -> None:
    """Print which settings differ from the defaults, what the filters would leave, and what would be run."""
    for setting in list_settings(config, assignments):
        if setting.source != "default":
            console.print(f"{setting.key} = {setting.value}   ({setting.source})", highlight=False)
    # The source first: if its key is missing, the rest need not be waited for.
    source = open_source(settings.source, settings.filters, results_dir=settings.results_dir)
    previous = PreviousRuns.find(
        settings.results_dir, pipeline.identity_of(settings), asked_about(source, settings.source)
    )
    chosen = choose_candidates(source, settings.source, settings.filters, previous, only_new=settings.only_new)
    console.print(report.filter_counts_table(chosen.counts))
    models, n_candidates = list(map(model_name, settings.prediction.models)), len(chosen.table)
    n_shards = -(-n_candidates // settings.prediction.shard_size)
    console.print(f"{counted(n_candidates, 'candidate')} would be predicted in {counted(n_shards, 'shard')}.")
    say_hanging("", " ".join(describe_models(models, n_candidates)))
    selection = settings.selection
    n_jobs = selection.max_positives + selection.n_random_positives + selection.n_random_negatives
    doing = "computed by" if settings.run_dft else "queued for"
    console.print(f"Up to {n_jobs} of them would be {doing} {settings.dft.engine}. Nothing was written.")
