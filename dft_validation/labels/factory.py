"""Compute and store labels: choose crystals, run their jobs, collect finished results.

Finished documents are in the cache of the queue, so an interruption loses at most the running jobs, and the same call
resumes with the same crystals.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from dft_validation.engines import choose_engine, get_engine
from dft_validation.labels.choice import Uncertainty, choose
from dft_validation.labels.plan import PART, Judges, make_plan, read_plan, write_plan
from dft_validation.labels.pool import Pool, element_matrix, make_pool
from dft_validation.labels.reserved import Reserved
from dft_validation.labels.store import LabelStore, additions_of, label_of_document, without_crystal
from dft_validation.queue.plan import plan_jobs, remaining_cpu_seconds
from dft_validation.queue.workers import run_jobs
from dft_validation.results.cache import DocumentCache, Outcome
from dft_validation.results.document import EdosDocument
from dft_validation.results.outcomes import LASTING_FAILURES, PASSING_STATES, FailedJob, JobStatus
from dft_validation.settings import DftSettings, LabelSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.crystals.material_ids import spelled_as_in
from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_file, make_folder
from mat2spec.tables.provenance import hash_json
from mat2spec.tables.text import counted
from screening.choose.filters import FilterSettings, filter_candidates
from screening.sources.base import CrystalSource

EXPLICIT = "ids"
COLLECTED = "collected"
# States of a job that say nothing about its crystal.
_NOT_ABOUT_THE_CRYSTAL = PASSING_STATES | {JobStatus.QUEUED, JobStatus.OVER_BUDGET, JobStatus.ENGINE_UNAVAILABLE}
# A crystal refused for these reasons will be refused again under the same settings. One that was too large may not be:
# the limits of a job are not among the settings that change a result.
_LASTING = LASTING_FAILURES | {JobStatus.UNSUPPORTED_ELEMENT}
SECONDS_PER_HOUR = 3600.0
# Passes over a plan: jobs ended by the machine are retried.
_ATTEMPTS = 3
_CRYSTALS_AT_A_TIME = 200

Progress = Callable[[int, int], None]
Say = Callable[[str], None]


class LabelError(ValueError):
    """Labels cannot be made as requested; the message says why."""


@dataclass
class LabelReport:
    """Result of a labelling.

    Parameters
    ----------
    n_new
        Labels added to the store.
    n_finished
        Crystals of this call that now have a label.
    n_failed
        Crystals of this call without a label, for a known reason.
    n_not_computed
        Crystals of this call not computed yet.
    cpu_seconds
        CPU time of the finished and the failed jobs of this call, whenever they ran.
    left_out
        Reason to number of crystals that were not considered.
    """

    n_new: int = 0
    n_finished: int = 0
    n_failed: int = 0
    n_not_computed: int = 0
    cpu_seconds: float = 0.0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def materials_per_core_hour(self) -> float:
        """Labels per core-hour, including the cost of failures; NaN if nothing was computed."""
        return SECONDS_PER_HOUR * self.n_finished / self.cpu_seconds if self.cpu_seconds > 0 else float("nan")


@dataclass(frozen=True)
class LabelFactory:
    """Parameters of one labelling.

    Parameters
    ----------
    source
        The crystals.
    settings
        Choice and store.
    dft
        Engine, level of theory, limits of a job, workers, cache; its budget of a run is ignored.
    reserved
        Materials that are never labelled.
    uncertainty
        Relative uncertainty of predictions, see `dft_validation.labels.choice.relative_uncertainty`.
    say
        Called with progress messages.
    labelled_formulas
        Formulas that are labelled elsewhere, e.g. in `edos_pbe.parquet`; they count as those of the store.
    filters
        Filters for the crystals of a plan, except the limits on the band gap.
    """

    source: CrystalSource
    settings: LabelSettings
    dft: DftSettings
    reserved: Reserved
    uncertainty: Uncertainty
    say: Say = lambda _: None
    labelled_formulas: frozenset[str] = frozenset()
    filters: FilterSettings = field(default_factory=FilterSettings)

    @property
    def store(self) -> LabelStore:
        """Where the labels go."""
        return LabelStore(self.settings.store_path)

    def label_chosen(self, progress: Progress) -> LabelReport:
        """Choose `settings.n` crystals and label them; an unfinished choice with the same settings is resumed.

        Raises
        ------
        LabelError
            If the engine cannot be used, or no crystal is left.
        """
        self._require_engine()
        plan_path = self._plan_path()
        left_out: Counter[str] = Counter()
        if plan_path.exists():
            ids = _read_plan(plan_path)
            self.say(f"Resuming with {counted(len(ids), 'crystal')} chosen before.")
        else:
            ids, left_out = self._choose_ids()
            make_folder(plan_path.parent)
            with atomic_file(plan_path) as file:
                file.write(json.dumps(ids).encode())
        report = LabelReport()
        self._label(self.source.crystals(ids), dict.fromkeys(ids, str(self.settings.choice)), progress, report)
        plan_path.unlink(missing_ok=True)
        report.left_out += left_out
        return report

    def label_plan(self, path: Path, judges: Judges, progress: Progress) -> LabelReport:
        """Label the crystals of a plan in its order, shared with other processes; the plan is created if missing.

        Jobs ended by the machine are retried.

        Parameters
        ----------
        path
            Parquet file of the plan.
        judges
            Models that take part in the choice, called only if the plan is created.
        progress
            Called with how many of how many crystals are done.

        Raises
        ------
        LabelError
            If the engine cannot be used, or a new plan would be empty.
        mat2spec.tables.files.TableError
            If the file is not a plan.
        """
        self._require_engine()
        if not path.exists():
            self._make_plan(path, judges)
        plan = read_plan(path)
        part_of = dict(zip(plan[Column.MATERIAL_ID].to_pylist(), plan[PART].to_pylist(), strict=True))
        report = LabelReport()
        for attempt in range(_ATTEMPTS):
            done = self._done_ids()
            left = [material_id for material_id in part_of if material_id not in done]
            self.say(f"{len(left):,} of the {len(part_of):,} crystals of {path} are left to label.")
            if not left or (attempt and not report.n_not_computed):
                break
            report.n_not_computed = 0
            # All costs are estimated before the first job starts, which would take minutes for a whole plan.
            for start in range(0, len(left), _CRYSTALS_AT_A_TIME):
                some = left[start : start + _CRYSTALS_AT_A_TIME]
                self._label(self.source.crystals(some), part_of, _part_of(progress, start, len(left)), report)
        return report

    def _make_plan(self, path: Path, judges: Judges) -> None:
        """Choose the crystals of a plan and write it."""
        plan = self.settings.plan
        properties = self.source.properties()
        filters = self.filters.model_copy(update={"band_gap_min_ev": 0.0, "band_gap_max_ev": None})
        passed, _ = filter_candidates(properties, filters)
        crystals = self.source.crystals(passed[Column.MATERIAL_ID].tolist())
        labels = self.store.labels()
        formulas = self.labelled_formulas.union(labels["formula"].to_pylist())
        limits = self.settings.model_copy(update={"max_sites": plan.max_sites, "one_per_formula": True})
        pool = make_pool(crystals, limits, self.dft, self.reserved, self._done_ids(), formulas, plan.excluded_elements)
        chosen = make_plan(pool, self.settings, judges)
        if not len(chosen):
            raise LabelError(f"No crystal of the source is left for a plan ({_spell(pool.left_out)}).")
        left_out = Counter({**pool.left_out, "the filters": len(properties) - len(passed)})
        provenance = {
            "settings": plan.model_dump(mode="json"),
            "source": self.source.fingerprint(),
            "reserved": self.reserved.sha256,
        }
        make_folder(path.parent)
        write_plan(path, chosen, provenance, left_out)
        self.say(f"{path}: a plan of {len(chosen):,} crystals of {len(pool):,}. Left out: {_spell(left_out)}.")

    def label_ids(self, ids: Sequence[str], progress: Progress) -> LabelReport:
        """Label given crystals, except reserved ones.

        Raises
        ------
        LabelError
            If the engine cannot be used.
        screening.sources.base.SourceError
            If a crystal is not in the source.
        """
        self._require_engine()
        crystals, n_reserved = _without_reserved(self.reserved, self._crystals_of(ids))
        report = LabelReport()
        self._label(crystals, dict.fromkeys(crystals.material_ids, EXPLICIT), progress, report)
        report.left_out["reserved"] += n_reserved
        return report

    def collect(self, ids: Sequence[str] | None, progress: Progress) -> LabelReport:
        """Add finished results from the cache to the store; nothing is computed.

        Parameters
        ----------
        ids
            The crystals to look up; all of the source by default.
        progress
            Called with how many of how many are done.
        """
        wanted = self._known_ids() if ids is None else ids
        crystals, n_reserved = _without_reserved(self.reserved, self._crystals_of(wanted))
        report = LabelReport(left_out=Counter({"reserved": n_reserved}))
        chosen = dict.fromkeys(crystals.material_ids, COLLECTED if ids is None else EXPLICIT)
        collector = _Collector(self, crystals, chosen, report)
        for done, outcome in enumerate(self._finished_outcomes(crystals), start=1):
            if outcome is None:
                report.n_not_computed += 1
            else:
                collector.take(outcome)
            progress(done, len(crystals))
        collector.save()
        return report

    def _known_ids(self) -> list[str]:
        return [str(name) for name in self.source.properties()[Column.MATERIAL_ID]]

    def _crystals_of(self, ids: Sequence[str]) -> Crystals:
        """Crystals of the source that are named in its own or in another spelling, each once."""
        return self.source.crystals(list(dict.fromkeys(spelled_as_in(self._known_ids(), ids))))

    def _require_engine(self) -> None:
        unavailable = get_engine(self.dft.engine).unavailable_reason()
        if unavailable:
            raise LabelError(unavailable)

    def _choose_ids(self) -> tuple[list[str], Counter[str]]:
        """Crystals whose jobs can be run, in order of preference, and why others were left out."""
        crystals = self.source.crystals(self.source.properties()[Column.MATERIAL_ID].tolist())
        labels = self.store.labels()
        formulas = self.labelled_formulas.union(labels["formula"].to_pylist())
        pool = make_pool(crystals, self.settings, self.dft, self.reserved, self._done_ids(), formulas)
        counts = element_matrix(Crystals.from_arrow(labels)).sum(axis=0).astype(np.float64)
        order = choose(pool, self.settings, counts, self.uncertainty)
        ids = self._take_runnable(pool, order)
        if not ids:
            raise LabelError(
                f"No crystal of the source is left to label ({_spell(pool.left_out)}); relax label.* or add crystals."
            )
        return ids, Counter(pool.left_out)

    def _done_ids(self) -> set[str]:
        """Crystals with a label or a permanent failure under these settings."""
        here = self.dft.settings_hash
        rows = self.store.labels().select(["material_id", "settings_hash"]).to_pylist()
        done = {row["material_id"] for row in rows if row["settings_hash"] == here}
        failures = [] if self.dft.retry_failed else self.store.failures().to_pylist()
        return done | {f["material_id"] for f in failures if f["settings_hash"] == here and f["status"] in _LASTING}

    def _take_runnable(self, pool: Pool, order: Iterator[int]) -> list[str]:
        """The first `settings.n` crystals whose jobs the plan accepts; refused ones become failures."""
        ids: list[str] = []
        while len(ids) < self.settings.n and (rows := list(islice(order, self.settings.n - len(ids)))):
            crystals = pool.crystals.take(rows)
            jobs = _plan_without_budget(crystals, self.dft)
            ids += jobs.loc[jobs[Column.STATUS] == str(JobStatus.QUEUED), Column.MATERIAL_ID].tolist()
            self.store.add(additions_of([], _refused(jobs, crystals, self.dft), self.dft), self.reserved)
        return ids

    def _label(self, crystals: Crystals, chosen_as: Mapping[str, str], progress: Progress, report: LabelReport) -> None:
        """Plan and run the jobs of the crystals; labels are saved periodically and when the run ends for any reason."""
        jobs = _plan_without_budget(crystals, self.dft)
        collector = _Collector(self, crystals, chosen_as, report)
        for failure in _refused(jobs, crystals, self.dft):
            collector.take(failure)
        n_queued = int((jobs[Column.STATUS] == str(JobStatus.QUEUED)).sum())
        hours = remaining_cpu_seconds(jobs) / SECONDS_PER_HOUR
        self.say(f"{counted(n_queued, 'crystal')}; estimated {hours:.3f} core-hours for those not computed yet.")

        def on_progress(outcome: Outcome, done: int, total: int) -> None:
            collector.take(outcome)
            progress(done, total)

        try:
            run_jobs(jobs, crystals, self.dft, on_progress)
        finally:
            collector.save()

    def _finished_outcomes(self, crystals: Crystals) -> Iterator[Outcome | None]:
        """The cached outcome of each crystal."""
        cache = DocumentCache(self.dft.cache_dir)
        for row, material_id in enumerate(crystals.material_ids):
            cell = crystals.cell(row)
            version = choose_engine(self.dft, cell.atomic_numbers.tolist()).version()
            known = cache.load_valid(cache.key(cell, self.dft, version), self.dft)
            # The same crystal may have been computed under another id.
            yield None if known is None else replace(known, material_id=str(material_id))

    def _plan_path(self) -> Path:
        """File with the choice made for these settings, kept until all of it is labelled."""
        identity = {
            "label": self.settings.model_dump(mode="json", exclude={"save_every_s"}),
            "source": self.source.fingerprint(),
            "dft": [self.dft.engine, self.dft.settings_hash],
            "reserved": self.reserved.sha256,
        }
        return self.dft.cache_dir / f"labels-{hash_json(identity)[:16]}.json"


def _plan_without_budget(crystals: Crystals, dft: DftSettings) -> pd.DataFrame:
    """Jobs of all crystals that the engine can compute: the number of crystals is the budget."""
    unlimited = dft.model_copy(update={"max_jobs": len(crystals), "max_cpu_seconds": float("inf")})
    return plan_jobs(pd.DataFrame({Column.MATERIAL_ID: list(crystals.material_ids)}), crystals, unlimited)


def _refused(jobs: pd.DataFrame, crystals: Crystals, dft: DftSettings) -> list[FailedJob]:
    """Jobs that the plan refuses, as failures."""
    tried = (dft.engine, dft.functional, dft.spin, dft.settings_hash)
    rows = zip(crystals.material_ids, reduced_formulas(crystals), jobs[Column.STATUS], jobs[Column.REASON], strict=True)
    return [
        FailedJob(str(material_id), formula, JobStatus(status), reason, *tried)
        for material_id, formula, status, reason in rows
        if JobStatus(status) not in _NOT_ABOUT_THE_CRYSTAL
    ]


def _without_reserved(reserved: Reserved, crystals: Crystals) -> tuple[Crystals, int]:
    """The crystals that may be labelled, and the number of reserved ones."""
    pairs = zip(crystals.material_ids, reduced_formulas(crystals), strict=True)
    kept = np.flatnonzero([not reserved.holds(str(i), str(formula)) for i, formula in pairs])
    return crystals.take(kept), len(crystals) - len(kept)


def _part_of(progress: Progress, start: int, total: int) -> Progress:
    """Progress of a part of the work that begins after `start` of `total`."""

    def on_progress(done: int, _: int) -> None:
        progress(start + done, total)

    return on_progress


def _spell(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {number:,}" for reason, number in left_out.items()) or "it is empty"


def _read_plan(path: Path) -> list[str]:
    try:
        return [str(material_id) for material_id in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise LabelError(
            f"The list of chosen crystals {path} is damaged ({error}); remove it to choose again."
        ) from error


class _Collector:
    """Collects outcomes and saves them to the store periodically."""

    def __init__(
        self, factory: LabelFactory, crystals: Crystals, chosen_as: Mapping[str, str], report: LabelReport
    ) -> None:
        self._factory, self._crystals, self._chosen_as, self._report = factory, crystals, chosen_as, report
        self._row_of = {material_id: row for row, material_id in enumerate(crystals.material_ids)}
        self._source = factory.source.db_version()
        self._labels: list[dict[str, object]] = []
        self._failures: list[FailedJob] = []
        self._saved_at = time.monotonic()

    def take(self, outcome: Outcome) -> None:
        """Record one outcome."""
        if isinstance(outcome, EdosDocument):
            row = self._row_of[outcome.material_id]
            chosen_as = self._chosen_as[outcome.material_id]
            label = label_of_document(outcome, self._crystals, row, self._source, chosen_as)
            self._labels.append(label if self._factory.settings.keep_crystals else without_crystal(label, outcome))
            self._report.n_finished += 1
        elif outcome.status in _NOT_ABOUT_THE_CRYSTAL:
            self._report.n_not_computed += 1
        else:
            self._failures.append(outcome)
            self._report.n_failed += 1
        self._report.cpu_seconds += outcome.cpu_seconds
        if time.monotonic() - self._saved_at >= self._factory.settings.save_every_s:
            self.save()

    def save(self) -> None:
        """Write the outcomes collected since the last time."""
        additions = additions_of(self._labels, self._failures, self._factory.dft)
        self._report.n_new += self._factory.store.add(additions, self._factory.reserved)
        self._labels, self._failures = [], []
        self._saved_at = time.monotonic()
