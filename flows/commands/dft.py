"""`mat2spec dft`: inspect, run, retry and report the DFT jobs of a run, at any time and on any machine."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

import dft_validation
from dft_validation.queue.plan import queue_rows
from dft_validation.queue.remote import collect, submit
from dft_validation.queue.status import QueueStatus, queue_status
from dft_validation.queue.store import QUEUE_FILE, JobQueue
from dft_validation.queue.workers import ended_outcomes, free_abandoned
from dft_validation.results.cache import DocumentCache
from dft_validation.results.outcomes import OPEN_STATES, JobStatus
from dft_validation.settings import DftSettings
from flows import pipeline, stages
from flows.commands.exits import resumable
from flows.commands.screen import do_stage, show_results
from flows.commands.tables import find_run
from flows.commands.terminal import console, stage_progress
from flows.settings import ScreenSettings
from flows.settings_layers import load_settings, read_layers, validate
from flows.stages.picks import find_picks
from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_path
from screening.report.result_page import PAGE_FILE
from screening.report.tables import precision_recall_table
from screening.runs.folder import RunFolder
from screening.runs.record import RunError, RunLockedError, RunStatus, is_locked
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

_SECONDS_PER_MINUTE = 60
# Settings that say what is compared: a retry must not mix them.
LEVEL_OF_THEORY = ("functional", "spin", "hubbard_u", "fermi_energy")
RUN_DFT = pipeline.BY_NAME["run_dft"]
# What the stages after DFT read; the page of an unfinished queue needs them too.
READ_AFTER_DFT = tuple({name for stage in pipeline.stages_from("evaluate") for name in stage.reads})


class DftCommandError(ValueError):
    """A request about the DFT jobs of a run cannot be met; the message says why and what to do."""


def print_status(run_name: str | None, results_dir: Path | None) -> None:
    """Show the states of the jobs, why some failed, and when the rest will be done."""
    run = _find(run_name, results_dir)
    settings = settings_of(run)
    with closing(look_at_queue(run)) as queue:
        if queue.path is not None:
            free_abandoned(queue, DocumentCache(settings.dft.cache_dir))
        status = queue_status(queue, settings.dft.workers)
        there = Counter(job.reason.partition(":")[0] for job in queue.jobs(JobStatus.SUBMITTED))
    _say_status(run, status, settings.dft.workers)
    _say_where(run, there)


def run_queue(run_name: str | None, results_dir: Path | None, assignments: Sequence[str], *, remote: bool) -> None:
    """Run the queued jobs of a run, then classify, evaluate and report; nothing is predicted again."""
    found = _find(run_name, results_dir)
    settings = settings_of(found, assignments)
    refuse_foreign_classifiers(settings)
    open_queue(found).close()
    found.crystals(())  # refuses a run of version 0.1 before changing anything
    try:
        run = RunFolder.reopen(found.path)
    except RunLockedError:
        _help_out(found, settings)
        return
    with run, resumable(str(run.path)):
        if remote and not _exchange_with_remote(run, settings):
            run.finish()
            return
        todo = pipeline.stages_from(RUN_DFT.name)
        run.redo(stage.name for stage in todo)
        pipeline.run_stages(run, settings, todo, partial(do_stage, run, settings))
    show_results(run)


def retry_jobs(
    run_name: str | None, results_dir: Path | None, types: Sequence[str], assignments: Sequence[str]
) -> None:
    """Requeue the jobs in some states, with other settings if given."""
    run = _find(run_name, results_dir)
    settings = settings_of(run)
    with closing(open_queue(run)) as queue:
        states = _states_to_retry(queue, types)
        overrides = dict(_given(assignments).get("dft", {}))
        _check_overrides(settings, overrides)
        n = queue.retry(states, overrides)
    words = ", ".join(types)
    console.print(
        f"{n} {words} jobs were requeued; `mat2spec dft run {run.run_id}` runs them."
        if n
        else f"No job of the run {run.run_id} is {words}; `mat2spec dft status {run.run_id}` shows their states.",
        highlight=False,
        soft_wrap=True,
    )


def write_report(run_name: str | None, results_dir: Path | None) -> Path:
    """Write the page of a run from what has finished so far and print precision and recall; return the page's path."""
    run = _find(run_name, results_dir)
    settings, inputs = settings_of(run), stages.Inputs(run, READ_AFTER_DFT)
    results, jobs = _finished_so_far(run, settings)
    n_computed = int((results[Column.STATUS] == JobStatus.OK).sum())
    merit = stages.against_dft(inputs, settings, results, jobs)
    merit = merit if n_computed else merit[:0]
    picks = find_picks(inputs, settings, jobs, results)
    curve = stages.find_curve(inputs, settings, results, jobs)
    path = _place_of_page(run)
    with atomic_path(path) as temporary:
        temporary.write_text(stages.draw_page(inputs, settings, picks, results, merit, curve), encoding="utf-8")
    if n_computed:
        console.print(precision_recall_table(merit))
    console.print(f"{n_computed} of {len(jobs)} chosen materials have a DFT spectrum.")
    console.print(f"Page: {path}", soft_wrap=True)
    return path


def open_queue(run: RunFolder) -> JobQueue:
    """The queue of a run, created from its table of jobs if missing.

    Raises
    ------
    RunError
        If the run has not chosen materials for DFT yet.
    """
    if not run.has_table(TableName.DFT_JOBS):
        raise RunError(
            f"The run {run.run_id} has no DFT jobs yet: it stopped before it chose any. Give the command of the screen "
            "again, which resumes the run."
        )
    queue = JobQueue(run.path / QUEUE_FILE)
    queue.add(queue_rows(run.read_table(TableName.DFT_JOBS)))
    return queue


def look_at_queue(run: RunFolder) -> JobQueue:
    """The queue of a run, or a copy in memory where only others may write it; raises as `open_queue`."""
    if _is_writable(run.path):
        return open_queue(run)
    queue = JobQueue.copy_of(run.path / QUEUE_FILE)
    queue.add(queue_rows(run.read_table(TableName.DFT_JOBS)) if run.has_table(TableName.DFT_JOBS) else [])
    return queue


def _place_of_page(run: RunFolder) -> Path:
    """Where a page goes: into the run, or into the current folder where only others may write that."""
    if _is_writable(run.path):
        return run.path / PAGE_FILE
    path = Path(f"{run.run_id}-{PAGE_FILE}")
    console.print(f"{run.path} cannot be written by you; the page goes into the current folder.", soft_wrap=True)
    return path


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


def settings_of(run: RunFolder, assignments: Sequence[str] = ()) -> ScreenSettings:
    """Settings that a run was made with, and those of the command line that change no result.

    Raises
    ------
    DftCommandError
        If an assignment is not a setting of the DFT jobs, or changes their results.
    """
    values: dict[str, Any] = {**run.info["settings"], "results_dir": run.path.parent}
    # A program that a run folder names is not run: the folder may be a stranger's.
    values = {**values, "dft": {**values.get("dft", {}), "elk_command": load_settings().dft.elk_command}}
    stored = validate(ScreenSettings, values)
    given = _given(assignments)
    if "cache_dir" not in given.get("dft", {}):
        values = {**values, "dft": {**values["dft"], "cache_dir": _usable_cache(stored.dft.cache_dir)}}
        stored = validate(ScreenSettings, values)
    layer = given.get("dft", {})
    changed = validate(ScreenSettings, {**values, **given, "dft": {**stored.dft.model_dump(), **layer}})
    if changed.dft.settings_hash != stored.dft.settings_hash or changed.dft.engine != stored.dft.engine:
        raise DftCommandError(
            f"{', '.join(f'dft.{name}' for name in layer)}: this changes what the jobs compute. Use it with "
            "`mat2spec dft retry` for jobs that failed, or start a new screen."
        )
    return changed


def refuse_foreign_classifiers(settings: ScreenSettings) -> None:
    """Refuse to run Python code that only a run folder names: the folder may be a stranger's.

    Raises
    ------
    DftCommandError
        If the run has classifiers that are not among those of this user's own settings.
    """
    foreign = sorted(set(settings.classify.functions) - set(load_settings().classify.functions))
    if foreign:
        raise DftCommandError(
            f"The run was made with classifiers of its own, {', '.join(foreign)}: code that a run folder names is not run. "
            "If you trust it, name it yourself in the environment: "
            f"MAT2SPEC_CLASSIFY__FUNCTIONS='{json.dumps(list(settings.classify.functions))}'."
        )


def _usable_cache(folder: Path) -> Path:
    """The cache of DFT results that a run was made with; this user's own if there is none here, as on another machine."""
    own = load_settings().dft.cache_dir
    with suppress(OSError):
        # No folders above it are made: whoever wrote the record may name any.
        folder.mkdir(exist_ok=True)
    if folder == own or folder.is_dir():
        return folder
    console.print(
        f"The run's cache of DFT results, {folder}, cannot be used here; results go to {own}.", soft_wrap=True
    )
    return own


def _find(run_name: str | None, results_dir: Path | None) -> RunFolder:
    return find_run(run_name, results_dir or load_settings().results_dir)


def _given(assignments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings under `dft` and `remote` given on the command line."""
    layer = read_layers(None, assignments)["command line"]
    others = [name for name in layer if name not in {"dft", "remote"}]
    if others:
        raise DftCommandError(
            f"{', '.join(others)}: only settings of the DFT jobs can be changed here, e.g. --set dft.workers=4; "
            "all others are fixed by the run."
        )
    return layer


def _check_overrides(settings: ScreenSettings, overrides: dict[str, Any]) -> None:
    for name in LEVEL_OF_THEORY:
        if overrides.get(name, getattr(settings.dft, name, None)) != getattr(settings.dft, name, None):
            raise DftCommandError(
                f"dft.{name}: a retry at another level of theory would not be comparable; start a new screen."
            )
    validate(DftSettings, {**settings.dft.model_dump(), **overrides})


def _states_to_retry(queue: JobQueue, types: Sequence[str]) -> list[JobStatus]:
    allowed = [state for state in JobStatus if state not in OPEN_STATES and state is not JobStatus.OK]
    unknown = [name for name in types if name not in allowed]
    if unknown:
        present = ", ".join(state for state in queue.counts() if state in allowed) or "none"
        raise DftCommandError(
            f"Unknown type of failure '{unknown[0]}'; this queue has: {present}; all types are {', '.join(allowed)}."
        )
    return [JobStatus(name) for name in types]


def _help_out(run: RunFolder, settings: ScreenSettings) -> None:
    """Work on the queue of a run that another process holds; the other process writes the tables."""
    console.print("Another process is working on this run; this one shares its jobs and leaves the tables to it.")
    with stage_progress(RUN_DFT.title) as progress:
        outcomes = stages.run_queue(stages.Inputs(run, RUN_DFT.reads, progress), settings)
    console.print(f"The queue is empty: {len(outcomes)} jobs have ended.")


def _exchange_with_remote(run: RunFolder, settings: ScreenSettings) -> bool:
    """Collect what another machine has finished and submit the rest; False while it still has jobs."""
    with closing(open_queue(run)) as queue:
        crystals = run.crystals(run.read_table(TableName.DFT_JOBS)[Column.MATERIAL_ID])
        collected = collect(queue, settings.dft, settings.remote)
        submitted = submit(queue, crystals, settings.dft, settings.remote)
        waiting = len(submitted) + collected.still_there
    console.print(
        f"{settings.remote.worker or 'The first worker'} of the project {settings.remote.project}: "
        f"{collected.ended} jobs collected, {len(submitted)} submitted, {waiting} not finished.",
        highlight=False,
        soft_wrap=True,
    )
    if waiting:
        console.print(f"Run `mat2spec dft run {run.run_id} --remote` again later to collect them.", soft_wrap=True)
    return waiting == 0


def _finished_so_far(run: RunFolder, settings: ScreenSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results and jobs of a run: from its tables or, while it is running, from its queue."""
    jobs = run.read_table(TableName.DFT_JOBS)
    with closing(look_at_queue(run)) as queue:
        n_ended = sum(job.attempts > 0 for job in queue.jobs())
        if run.has_table(TableName.DFT_RESULTS):
            results = run.read_table(TableName.DFT_RESULTS)
            if len(results) >= n_ended:
                return results, jobs
        outcomes = ended_outcomes(queue, run.crystals(jobs[Column.MATERIAL_ID]), settings.dft)
    refuse_foreign_classifiers(settings)
    results = stages.classified_results(outcomes, run.read_table(TableName.CANDIDATES), settings)
    return results, dft_validation.update_jobs(jobs, outcomes)


def _say_status(run: RunFolder, status: QueueStatus, workers: int) -> None:
    table = Table(title=f"DFT jobs of the run {run.run_id} ({_state_of(run)})", title_justify="left")
    for heading, side in (("State", "left"), ("Jobs", "right"), ("Reason for the first", "left")):
        table.add_column(heading, justify="right" if side == "right" else "left")
    for state, number in status.counts.items():
        table.add_row(str(state), f"{number:,}", status.reasons.get(state, ""))
    console.print(table)
    console.print(f"{status.spent_cpu_seconds:.0f} CPU seconds spent.", highlight=False)
    _say_retry(run, status)
    if status.n_open == 0:
        console.print("All jobs have ended.")
    elif status.eta_s is None:
        console.print("The cost of the remaining jobs is not known yet.")
    else:
        console.print(
            f"About {status.remaining_cpu_seconds:.0f} CPU seconds remain: {_duration(status.eta_s)} with {workers} "
            f"workers (estimates scaled by {status.correction:.2f}, from the finished jobs).",
            highlight=False,
            soft_wrap=True,
        )


def _say_where(run: RunFolder, there: Counter[str]) -> None:
    """What the other machine does with the jobs that it has, as of the last collection."""
    if there:
        states = ", ".join(f"{number} {state or 'not checked yet'}" for state, number in there.most_common())
        console.print(
            f"On the other machine: {states}. `mat2spec dft run {run.run_id} --remote` checks again and collects.",
            highlight=False,
            soft_wrap=True,
        )


def _say_retry(run: RunFolder, status: QueueStatus) -> None:
    """How to retry jobs that ended without a result; empty if there are none."""
    failed = [state for state in status.counts if state is not JobStatus.OK and state not in OPEN_STATES]
    if failed:
        console.print(
            f"`mat2spec dft retry {run.run_id} --type {failed[0]}` requeues these jobs; likewise for other states.",
            highlight=False,
            soft_wrap=True,
        )


def _state_of(run: RunFolder) -> str:
    """The state that a run has recorded, unless its process died before it could."""
    noted = str(run.info["status"])
    return "stopped" if noted == RunStatus.RUNNING and not is_locked(run.path) else noted


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), _SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, _SECONDS_PER_MINUTE)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
