"""DFT of the picks: engines, a persistent queue, spectra with their provenance.

    from dft_validation import DftSettings, plan_jobs, results_table, run_jobs

    settings = DftSettings()
    jobs = plan_jobs(selection, crystals, settings)
    table = results_table(run_jobs(jobs, crystals, settings))

Names are imported on first use: neither jobflow nor any engine is loaded before a job runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dft_validation.engines import available_engines, computable_elements, register_engine
    from dft_validation.jobs.calculation import calculate_edos
    from dft_validation.jobs.maker import EdosMaker
    from dft_validation.queue.cost import CostModel
    from dft_validation.queue.plan import plan_jobs, remaining_cpu_seconds
    from dft_validation.queue.workers import run_jobs
    from dft_validation.results.document import EdosDocument
    from dft_validation.results.outcomes import FailedJob, JobStatus
    from dft_validation.results.tables import results_table, update_jobs
    from dft_validation.settings import DftSettings

_MODULES = {
    "CostModel": "queue.cost",
    "DftSettings": "settings",
    "EdosDocument": "results.document",
    "EdosMaker": "jobs.maker",
    "FailedJob": "results.outcomes",
    "JobStatus": "results.outcomes",
    "available_engines": "engines",
    "computable_elements": "engines",
    "calculate_edos": "jobs.calculation",
    "plan_jobs": "queue.plan",
    "register_engine": "engines",
    "remaining_cpu_seconds": "queue.plan",
    "results_table": "results.tables",
    "run_jobs": "queue.workers",
    "update_jobs": "results.tables",
}

__all__ = [  # noqa: RUF022 - in the order of use
    "DftSettings",
    "available_engines",
    "register_engine",
    "computable_elements",
    "plan_jobs",
    "remaining_cpu_seconds",
    "run_jobs",
    "results_table",
    "update_jobs",
    "calculate_edos",
    "EdosMaker",
    "EdosDocument",
    "FailedJob",
    "JobStatus",
    "CostModel",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'dft_validation' has no attribute '{name}'")
    return getattr(import_module(f"dft_validation.{_MODULES[name]}"), name)
