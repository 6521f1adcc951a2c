"""Which of the selected crystals are computed, given the engine and the budget."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dft_validation.bands.doubled import cell_to_compute
from dft_validation.engines import choose_engine, get_engine
from dft_validation.engines.base import Engine
from dft_validation.queue.cost import CostModel, fitted_cost_model, measure_job
from dft_validation.queue.store import QueuedJob
from dft_validation.results.cache import DocumentCache
from dft_validation.results.outcomes import PLANNED_STATES, JobStatus
from dft_validation.settings import DftSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.cell import Cell
from mat2spec.crystals.checks import find_problems
from mat2spec.tables.columns import Column

# Primitive cells are searched only in cells up to this multiple of the limit.
_LARGEST_RATIO_TO_PRIMITIVE = 8
_UNKNOWN = float("nan")
ALREADY_KNOWN = "Known from an earlier run."


@dataclass(frozen=True)
class _Prospect:
    """What is known about a job before it starts."""

    status: JobStatus
    reason: str
    estimated_cpu_seconds: float

    @property
    def is_known(self) -> bool:
        return self.status is JobStatus.QUEUED and self.reason == ALREADY_KNOWN


def plan_jobs(
    selection: pd.DataFrame, crystals: Crystals, settings: DftSettings, cost_model: CostModel | None = None
) -> pd.DataFrame:
    """Decide for every selected crystal whether it is computed, and if not, why.

    The budget is spent on the groups of `selected_as` in turn, each in its given order, so that even a small budget
    includes predicted negatives. Spending stops at the first job that does not fit: preferring cheaper ones behind it
    would bias the sample.

    Parameters
    ----------
    selection
        `material_id` and any of `selected_as`, `rank`, `inclusion_probability`; in order of preference.
    crystals
        At least the selected ones.
    settings
        Engine, limits and budget.
    cost_model
        Estimates CPU time; by default fitted to the finished jobs in the cache.

    Returns
    -------
    DataFrame
        The columns of `selection`, and `engine`, `status` ("queued" or the reason's kind), `reason`,
        `estimated_cpu_seconds`, `settings_hash`; same rows in the same order.

    Raises
    ------
    KeyError
        If a selected crystal is not among `crystals`.
    ValueError
        If the engine does not exist.
    """
    get_engine(settings.engine)  # refuses an unknown name even if nothing is selected
    model = cost_model or fitted_cost_model(settings)
    row_of = {material_id: row for row, material_id in enumerate(crystals.material_ids)}
    missing = [material_id for material_id in selection[Column.MATERIAL_ID] if material_id not in row_of]
    if missing:
        raise KeyError(
            f"{len(missing)} selected crystals are not among the crystals given, the first being {missing[0]}."
        )
    chosen = crystals.take([row_of[material_id] for material_id in selection[Column.MATERIAL_ID]])
    problems = find_problems(chosen)
    prospects = [_look_at(chosen.cell(row), problem, settings, model) for row, problem in enumerate(problems)]
    planned = _spend_budget(prospects, _turns(selection), settings)
    jobs = selection.reset_index(drop=True)
    jobs[str(Column.ENGINE)] = settings.engine
    jobs[str(Column.STATUS)] = [str(prospect.status) for prospect in planned]
    jobs[str(Column.REASON)] = [prospect.reason for prospect in planned]
    jobs[str(Column.ESTIMATED_CPU_SECONDS)] = [prospect.estimated_cpu_seconds for prospect in planned]
    jobs[str(Column.SETTINGS_HASH)] = settings.settings_hash
    return jobs


def _look_at(cell: Cell, problem: str | None, settings: DftSettings, model: CostModel) -> _Prospect:
    engine = choose_engine(settings, cell.atomic_numbers.tolist())
    hopeless = _hopeless(cell, problem, engine, settings)
    if hopeless is not None:
        return hopeless
    cache = DocumentCache(settings.cache_dir)
    known = cache.load_valid(cache.key(cell, settings, engine.version()), settings)
    if known is not None:
        return _Prospect(JobStatus.QUEUED, ALREADY_KNOWN, 0.0)
    prepared = cell_to_compute(cell, settings.symmetry_tolerance_a, doubled=settings.cell == "doubled")
    if prepared.n_atoms > settings.max_atoms:
        return _too_many_atoms(prepared, settings)
    estimate = model.estimate(measure_job(prepared, engine, settings))
    return _judge_estimate(estimate, engine, settings)


def _hopeless(cell: Cell, problem: str | None, engine: Engine, settings: DftSettings) -> _Prospect | None:
    """Refuse jobs that the elements or the number of atoms rule out."""
    if problem:
        return _Prospect(JobStatus.INVALID_STRUCTURE, problem, _UNKNOWN)
    unsupported = engine.find_unsupported(cell.atomic_numbers.tolist())
    if unsupported:
        reason = f"{settings.engine} has no data set for {', '.join(unsupported)}.{_hint_at_fallback(settings)}"
        return _Prospect(JobStatus.UNSUPPORTED_ELEMENT, reason, _UNKNOWN)
    if cell.n_atoms > settings.max_atoms * _LARGEST_RATIO_TO_PRIMITIVE:
        return _too_many_atoms(cell, settings)
    return None


def _hint_at_fallback(settings: DftSettings) -> str:
    return "" if settings.fallback_engine else " dft.fallback_engine=elk computes such crystals where Elk is installed."


def _judge_estimate(estimate: float, engine: Engine, settings: DftSettings) -> _Prospect:
    unavailable = engine.unavailable_reason()
    if unavailable:
        return _Prospect(JobStatus.ENGINE_UNAVAILABLE, unavailable, estimate)
    if estimate > settings.max_estimated_cpu_seconds:
        reason = (
            f"Estimated to take {estimate:.0f} CPU seconds, more than max_estimated_cpu_seconds = "
            f"{settings.max_estimated_cpu_seconds:g}."
        )
        return _Prospect(JobStatus.TOO_LARGE, reason, estimate)
    return _Prospect(JobStatus.QUEUED, "", estimate)


def _too_many_atoms(cell: Cell, settings: DftSettings) -> _Prospect:
    reason = f"The cell has {cell.n_atoms} atoms, more than max_atoms = {settings.max_atoms} of the local engine."
    return _Prospect(JobStatus.TOO_LARGE, reason, _UNKNOWN)


def _turns(selection: pd.DataFrame) -> list[int]:
    """Rows in the order of spending: one of each group of `selected_as` in turn."""
    if Column.SELECTED_AS not in selection:
        return list(range(len(selection)))
    taken: dict[Hashable, int] = {}
    order = []
    for row, group in enumerate(selection[Column.SELECTED_AS]):
        kind = str(group).split(":", maxsplit=1)[0]
        order.append((taken.get(kind, 0), row))
        taken[kind] = taken.get(kind, 0) + 1
    return [row for _, row in sorted(order)]


def _spend_budget(prospects: list[_Prospect], order: list[int], settings: DftSettings) -> list[_Prospect]:
    planned = list(prospects)
    spent, jobs, exhausted = 0.0, 0, ""
    for row in order:
        prospect = prospects[row]
        if prospect.status is not JobStatus.QUEUED or prospect.is_known:
            continue
        if not exhausted and jobs + 1 > settings.max_jobs:
            exhausted = f"The run has reached its limit of max_jobs = {settings.max_jobs} jobs."
        if not exhausted and spent + prospect.estimated_cpu_seconds > settings.max_cpu_seconds:
            exhausted = f"The run's budget of max_cpu_seconds = {settings.max_cpu_seconds:g} is spent."
        if exhausted:
            planned[row] = _Prospect(JobStatus.OVER_BUDGET, exhausted, prospect.estimated_cpu_seconds)
            continue
        spent += prospect.estimated_cpu_seconds
        jobs += 1
    return planned


def queue_rows(jobs: pd.DataFrame) -> Iterator[QueuedJob]:
    """Jobs as rows of a queue, in the order in which they spend the budget.

    A run stopped half-way has thus computed positives as well as random negatives. Jobs that have ended are queued
    again: this is for a new or lost queue, and their results will be found in the cache.
    """
    for row in _turns(jobs):
        job = jobs.iloc[row]
        planned = JobStatus(job[Column.STATUS]) in PLANNED_STATES
        estimate = job.get(Column.ESTIMATED_CPU_SECONDS)
        yield QueuedJob(
            material_id=str(job[Column.MATERIAL_ID]),
            state=JobStatus(job[Column.STATUS]) if planned else JobStatus.QUEUED,
            reason=str(job[Column.REASON]) if planned else "",
            estimated_cpu_seconds=float(estimate) if estimate is not None and np.isfinite(estimate) else None,
        )


def remaining_cpu_seconds(jobs: pd.DataFrame) -> float:
    """Estimated CPU time of the queued jobs without a known result, in seconds."""
    queued = (jobs[Column.STATUS] == JobStatus.QUEUED) & (jobs[Column.REASON] != ALREADY_KNOWN)
    return float(np.nansum(jobs.loc[queued, Column.ESTIMATED_CPU_SECONDS]))
