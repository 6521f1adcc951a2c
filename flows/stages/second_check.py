"""The second check of metals that DFT confirms: with spin and U, in a doubled cell of lower symmetry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

import dft_validation
from dft_validation.results.outcomes import JobStatus
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true
from screening.classify.false_metals import after_second_check
from screening.report.picks import NOT_COMPUTED, dft_verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals
    from screening.progress import Progress

NOT_SUBMITTED = "Second checks are not submitted to another machine; `mat2spec dft run` computes them here."


def check_again(
    results: pd.DataFrame, crystals_of: Callable[[pd.Series], Crystals], settings: ScreenSettings, progress: Progress
) -> pd.DataFrame:
    """Compute the confirmed metals once more, and say what they are then.

    What is in the cache is not computed again, so a check that was stopped resumes. Checks are not submitted to another
    machine: where the jobs of a run are, `second_check_reason` says so.

    Parameters
    ----------
    results
        The table `dft_results`, with `is_target`.
    crystals_of
        Gives the crystals of some materials by identifier.
    settings
        Of the run.
    progress
        Called with how many of how many are done.

    Returns
    -------
    pandas.DataFrame
        The table with `second_check`, `second_check_band_gap` and `second_check_reason`, and with the risk of a false metal as
        it is after the check.
    """
    confirmed = results[is_true(results[Column.IS_TARGET]) & is_true(results[Column.IS_METAL])][[Column.MATERIAL_ID]]
    if settings.remote.submit:
        return with_second_check(results, confirmed.assign(**{Column.REASON: NOT_SUBMITTED}), results[:0])
    dft = settings.dft.of_second_check()
    crystals = crystals_of(confirmed[Column.MATERIAL_ID])
    jobs = dft_validation.plan_jobs(confirmed, crystals, dft)
    outcomes = dft_validation.run_jobs(jobs, crystals, dft, lambda _, n, of: progress(n, of))
    jobs = dft_validation.update_jobs(jobs, outcomes)
    checked = dft_validation.results_table(outcomes, settings.gap, settings.classify)
    return with_second_check(results, jobs, checked)


def with_second_check(results: pd.DataFrame, jobs: pd.DataFrame, checked: pd.DataFrame) -> pd.DataFrame:
    """The results with the columns of the second check.

    Parameters
    ----------
    results
        The table `dft_results`.
    jobs
        The jobs of the check: `material_id` and, where there is no spectrum, the `reason`.
    checked
        Its spectra with their classes.
    """
    found = {row[Column.MATERIAL_ID]: row for row in checked.to_dict("records")}
    rows: list[dict[str, object]] = [{} for _ in range(len(results))]
    places = {name: place for place, name in enumerate(results[Column.MATERIAL_ID])}
    for job in jobs.to_dict("records"):
        place, name = places[job[Column.MATERIAL_ID]], job[Column.MATERIAL_ID]
        rows[place] = _judged(results.iloc[place], job, found.get(name))
    names = (Column.SECOND_CHECK, Column.SECOND_CHECK_BAND_GAP, Column.SECOND_CHECK_REASON)
    columns = {str(name): pd.Series([row.get(name) for row in rows], results.index, dtype=object) for name in names}
    columns[str(Column.SECOND_CHECK_BAND_GAP)] = columns[str(Column.SECOND_CHECK_BAND_GAP)].astype("float64")
    for name in (Column.FALSE_METAL_RISK, Column.FALSE_METAL_REASON):
        values = [row.get(name, given) for row, given in zip(rows, results[name], strict=True)]
        columns[str(name)] = pd.Series(values, results.index, dtype=object)
    return results.assign(**columns)


def _words_of_u(u_values: str) -> str:
    found = [f"{element} {u_ev:g} eV" for element, u_ev in json.loads(u_values).items()]
    return f"U of {', '.join(found)}." if found else "Without U, as in the Materials Project."


def _judged(before: pd.Series, job: dict[Any, Any], after: dict[Any, Any] | None) -> dict[str, object]:
    """The columns of one material."""
    if after is None or after[Column.STATUS] != JobStatus.OK:
        return {Column.SECOND_CHECK: NOT_COMPUTED, Column.SECOND_CHECK_REASON: job[Column.REASON]}
    gap = float(after[Column.BAND_GAP])
    risk, reason = after_second_check(str(before[Column.FALSE_METAL_REASON] or ""), band_gap_ev=gap)
    return {
        Column.SECOND_CHECK: dft_verdict(after),
        Column.SECOND_CHECK_BAND_GAP: gap,
        Column.SECOND_CHECK_REASON: f"{after['notes']} {_words_of_u(after[Column.U_VALUES])}",
        Column.FALSE_METAL_RISK: risk,
        Column.FALSE_METAL_REASON: reason,
    }
