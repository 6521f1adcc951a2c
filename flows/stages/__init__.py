"""What each stage of a screen does: tables and settings in, tables and counts out.

A stage knows nothing of Prefect, the terminal, other stages or what is already done: that is the business of
`flows.pipeline`. The science is in the packages below; a stage passes them the tables and settings they need.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

import dft_validation
import mat2spec
from dft_validation.queue.store import QUEUE_FILE, JobQueue
from dft_validation.results.outcomes import JobStatus
from flows.stages.choice import choose_and_plan, could_be_chosen
from flows.stages.predictors import load_one, load_predictors
from flows.stages.remote_jobs import exchange_jobs
from flows.stages.second_check import check_again
from mat2spec.crystals.material_ids import in_digits
from mat2spec.settings import MOST_PROJECTED, TIGHT_BINDING_MODELS
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID
from mat2spec.spectra.prediction import predictions_table
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true, to_frame
from mat2spec.tables.status import Status
from screening.choose.candidates import choose_candidates
from screening.choose.selection import (
    NEEDED_OF_CANDIDATES,
    NEEDED_TO_SELECT,
    SelectionPool,
    rank_by_consensus,
    target_among,
)
from screening.classify.classes import mark_targets
from screening.classify.false_metals import known_polymorphs
from screening.classify.phonons import phonon_rows
from screening.classify.predictions import EVIDENCE
from screening.evaluate.evaluation import precision_recall
from screening.evaluate.funnel_loss import describe_loss
from screening.evaluate.population import population_flags
from screening.evaluate.published import (
    known_band_gaps,
    previous_classifications,
    published_precision_recall,
    published_results,
    published_since,
)
from screening.evaluate.threshold_curves import threshold_curve
from screening.progress import Progress, no_progress
from screening.report.comparison import Comparison
from screening.report.projections import projections_of_table, projections_table
from screening.report.result_page import OF_ALL_PICKS, PAGE_FILE, PageContent, is_shown, result_page, shown_picks
from screening.report.wording import nothing_new, why_nothing_is_predicted
from screening.runs.contents import Rows, RunTables
from screening.runs.history import PreviousRuns
from screening.runs.schemas import TableName, empty_table
from screening.sources.known_edos import known_edos_ids
from screening.sources.opening import asked_about, open_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dft_validation.results.cache import Outcome as DftOutcome
    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals
    from mat2spec.crystals.primitive import CellSizes
    from mat2spec.preparation import Prepared

Counts = dict[str, int]


class NoPredictionError(ValueError):
    """No candidate could be predicted; the message says why."""


@dataclass(frozen=True)
class Inputs:
    """What a stage sees of its run.

    Parameters
    ----------
    run
        The run folder.
    names
        The tables that the stage reads; it has access to no others.
    progress
        Called with how many of how many are done.
    """

    run: RunTables
    names: Sequence[TableName]
    progress: Progress = no_progress

    def read(self, name: TableName, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A table, or some of its columns."""
        return self.run.read_table(self._declared(name), columns)

    def find(self, name: TableName) -> pd.DataFrame | None:
        """A table, or None if no stage of the run writes it."""
        return self.run.read_table(name) if self.run.has_table(self._declared(name)) else None

    def read_arrow(self, name: TableName, columns: Sequence[str]) -> pa.Table:
        """Some columns of a table of spectra."""
        return self.run.read_arrow(self._declared(name), columns)

    def batches(self, name: TableName, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Some columns of a large table, piece by piece, in order."""
        return self.run.batches(self._declared(name), columns)

    def frames(self, name: TableName, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The same as DataFrames."""
        return map(to_frame, self.batches(name, columns))

    def columns_among(self, name: TableName, wanted: Collection[str]) -> list[str]:
        """Those of some columns that a table has; older runs lack some."""
        return [column for column in self.run.column_names(self._declared(name)) if column in set(wanted)]

    def rows(self, name: TableName, rows: NDArray[np.integer], columns: Sequence[str] | None = None) -> pa.Table:
        """Some rows of a large table."""
        return self.run.rows(self._declared(name), rows, columns)

    def crystals(self, material_ids: Sequence[str] | pd.Series) -> Crystals:
        """Some of the candidates, with coordinates."""
        self._declared(TableName.CRYSTALS)
        return self.run.crystals(material_ids)

    def _declared(self, name: TableName) -> TableName:
        if name not in self.names:
            raise KeyError(f"The stage does not declare that it reads the table '{name}'.")
        return name


@dataclass(frozen=True)
class Outcome:
    """The result of a stage.

    Parameters
    ----------
    counts
        Counts to report.
    tables
        Its tables, or iterators over pieces of them, which complete the counts.
    files
        Pages to write beside them.
    ends_run
        Why the run ends here and is not kept; empty if it continues.
    """

    counts: Counts
    tables: Mapping[TableName, Rows] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    ends_run: str = ""


def find_candidates(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Filter the materials of the source and store their coordinates in the run: later stages do not open the source."""
    info = inputs.run.info
    results_dir = inputs.run.path.parent
    source = open_source(settings.source, settings.filters, db_version=info["db_version"], results_dir=results_dir)
    previous = PreviousRuns.find(results_dir, info, asked_about(source, settings.source))
    chosen = choose_candidates(source, settings.source, settings.filters, previous, only_new=settings.only_new)
    counts = chosen.counts
    return Outcome(
        {"materials": int(counts[Column.REMAINING].iloc[0]), "candidates": len(chosen.table)},
        {
            TableName.FILTER_COUNTS: counts,
            TableName.REMOVED: chosen.removed,
            TableName.CHANGES: chosen.changes,
            TableName.KNOWN_EDOS: chosen.known_edos,
            TableName.CRYSTALS: chosen.crystals(),
            TableName.CANDIDATES: chosen.table,
        },
        ends_run=nothing_new(counts, info["db_version"]) if chosen.table.empty and chosen.changes.empty else "",
    )


def find_published(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Find spectra that were published after a previous run had predicted them, with that prediction."""
    results_dir = inputs.run.path.parent
    known = inputs.read(TableName.KNOWN_EDOS)[Column.MATERIAL_ID]
    in_store = known_edos_ids(settings.source.store_of_known_edos)
    previous = PreviousRuns.find(results_dir, inputs.run.info, {*known, *in_store, *map(in_digits, in_store)})
    fetched = published_since(settings.source, previous, known)
    stores = [store for store in (settings.source.store_of_known_edos, fetched.store) if store is not None]
    names = [Column.MATERIAL_ID, Column.BAND_GAP]
    band_gaps = known_band_gaps(
        inputs.read(TableName.CANDIDATES, names), inputs.read(TableName.REMOVED, names), previous
    )
    results = published_results(stores, previous, settings.gap, fetched.failures, band_gaps)
    return Outcome(
        {"published": len(results)},
        {
            TableName.PUBLISHED_RESULTS: results,
            TableName.PREVIOUS_CLASSIFICATIONS: previous_classifications(results, results_dir),
        },
    )


def prepare_shard(crystals: Crystals, settings: ScreenSettings, sizes: CellSizes | None = None) -> Prepared:
    """Examine some candidates and make their graphs for every model."""
    return mat2spec.prepare_for(load_predictors(settings.prediction), crystals, sizes)


def predict_shard(prepared: Prepared, settings: ScreenSettings, on_batch: Callable[[int], None]) -> pa.Table:
    """Predict the spectra of some candidates with every model."""
    predictions = mat2spec.predict_with_models(load_predictors(settings.prediction), prepared, on_batch)
    return pa.concat_tables([predictions_table(prediction) for prediction in predictions])


def count_predictions(inputs: Inputs, settings: ScreenSettings) -> Outcome:  # noqa: ARG001  the signature of a stage
    """Count the predictions and those that failed; a run without any prediction is a failure.

    Raises
    ------
    NoPredictionError
        If every prediction failed; the message gives the reasons.
    """
    status = inputs.read_arrow(TableName.PREDICTIONS, [Column.STATUS])[Column.STATUS]
    failed = pc.sum(pc.not_equal(status, Status.OK)).as_py() or 0
    if len(status) and failed == len(status):
        rows = inputs.read(TableName.PREDICTIONS, [Column.STATUS, Column.REASON])
        raise NoPredictionError(why_nothing_is_predicted(rows))
    return Outcome({"predictions": len(status), "failed": failed})


def queue_dft(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Choose candidates for DFT, the best-ranked positives and random samples, and plan their jobs."""
    classes, candidates = TableName.CLASSIFICATIONS, TableName.CANDIDATES
    needed = inputs.columns_among(classes, (*NEEDED_TO_SELECT, settings.classify.rank_by))
    pool = SelectionPool.of_pieces(
        inputs.frames(classes, needed),
        inputs.frames(candidates, inputs.columns_among(candidates, NEEDED_OF_CANDIDATES)),
        find_target(inputs),
        settings.selection,
        dft_validation.computable_elements(settings.dft),
    )
    selection, jobs = choose_and_plan(
        pool, lambda rows: to_frame(inputs.rows(classes, rows, needed)), inputs.crystals, settings
    )
    counts = {**selection.counts(), "queued": int((jobs[Column.STATUS] == JobStatus.QUEUED).sum())}
    return Outcome(counts, {TableName.DFT_JOBS: jobs})


def run_dft(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Run the queued DFT jobs, or exchange them with another machine, and classify their spectra as the predictions are."""
    jobs = inputs.read(TableName.DFT_JOBS)
    if settings.remote.submit:
        crystals = inputs.crystals(jobs[Column.MATERIAL_ID])
        outcomes, jobs, waiting = exchange_jobs(inputs.run.path, jobs, crystals, settings)
    else:
        outcomes, waiting = run_queue(inputs, settings), {}
    results = classified_results(outcomes, inputs.read(TableName.CANDIDATES), settings)
    if settings.dft.second_check:
        results = check_again(results, inputs.crystals, settings, inputs.progress)
    ok, gapped = results[Column.STATUS] == JobStatus.OK, is_true(results[Column.IS_GAPPED_METAL])
    counts = {"computed": int(ok.sum()), "failed": int((~ok).sum()), "gapped_metals": int((ok & gapped).sum())}
    jobs = dft_validation.update_jobs(jobs, outcomes)
    return Outcome(counts | waiting, {TableName.DFT_RESULTS: results, TableName.DFT_JOBS: jobs})


def classified_results(
    outcomes: Sequence[DftOutcome], candidates: pd.DataFrame, settings: ScreenSettings
) -> pd.DataFrame:
    """Computed spectra with their classes, by the same rules as the predictions."""
    results = dft_validation.results_table(outcomes, settings.gap, settings.classify, known_polymorphs(candidates))
    return mark_targets(results, candidates, settings.classify.target)


def run_queue(inputs: Inputs, settings: ScreenSettings) -> list[DftOutcome]:
    """Run the queued jobs, possibly along with other processes; the outcome of every job, run now or before."""
    jobs = inputs.read(TableName.DFT_JOBS)
    crystals = inputs.crystals(jobs[Column.MATERIAL_ID])
    with closing(JobQueue(inputs.run.path / QUEUE_FILE)) as queue:
        return dft_validation.run_jobs(jobs, crystals, settings.dft, lambda _, n, of: inputs.progress(n, of), queue)


def evaluate(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Precision and recall of every model: against our DFT, and against spectra published since a previous run."""
    published = inputs.read(TableName.PUBLISHED_RESULTS)
    classes = inputs.read(TableName.PREVIOUS_CLASSIFICATIONS)
    tables = published_precision_recall(published, classes, settings.gap, settings.evaluation)
    results = inputs.find(TableName.DFT_RESULTS)
    if results is not None:
        tables.append(against_dft(inputs, settings, results, inputs.read(TableName.DFT_JOBS)))
    table = pd.concat(tables, ignore_index=True) if tables else to_frame(empty_table(TableName.PRECISION_RECALL))
    return Outcome({"rows": len(table), "published": len(published)}, {TableName.PRECISION_RECALL: table})


def against_dft(inputs: Inputs, settings: ScreenSettings, results: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall against the DFT of the run."""
    classes = inputs.read(TableName.CLASSIFICATIONS)
    pool = could_be_chosen(inputs.read(TableName.CANDIDATES), classes, settings)
    return precision_recall(classes, results, jobs, settings.evaluation, gap_rule=settings.gap.describe(), pool=pool)


def predict_phonons(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Predict the phonons of the picks of the highest ranks and of what goes to DFT, and what follows from them."""
    model = settings.prediction.phonon_model
    ranked = ranked_hits(inputs)[: settings.prediction.max_phonons]
    chosen = list(dict.fromkeys([*ranked, *inputs.read(TableName.DFT_JOBS)[Column.MATERIAL_ID]]))
    if model is None or not chosen or not inputs.run.has_table(TableName.CRYSTALS):
        return Outcome({"predicted": 0}, {TableName.PHONONS: to_frame(empty_table(TableName.PHONONS))})
    crystals = inputs.crystals(chosen)
    predictor = load_one(model, settings.prediction.model_copy(update={"weights_dir": None}), PHDOS_GRID.name)
    rows = phonon_rows(predictor.predict(crystals), crystals)
    return Outcome({"predicted": int((rows[Column.STATUS] == Status.OK).sum())}, {TableName.PHONONS: rows})


def find_target(inputs: Inputs) -> str:
    """The column of the classifications that says what is searched for."""
    flags = inputs.columns_among(TableName.CLASSIFICATIONS, (Column.IS_TARGET, Column.IS_GAPPED_METAL))
    return target_among(inputs.frames(TableName.CLASSIFICATIONS, flags))


def find_hits(inputs: Inputs) -> pd.Series:
    """Identifiers of the materials that a model calls what is searched for, once for each such model."""
    flag = find_target(inputs)
    rows = inputs.batches(TableName.CLASSIFICATIONS, [Column.MATERIAL_ID, flag])
    return to_frame(pa.concat_tables(piece.filter(piece[flag]) for piece in rows))[Column.MATERIAL_ID]


def ranked_hits(inputs: Inputs) -> list[str]:
    """Identifiers of the materials that a model calls what is searched for, in the order of their ranks."""
    needed = inputs.columns_among(TableName.CLASSIFICATIONS, NEEDED_TO_SELECT)
    hits = to_frame(rows_of(inputs, TableName.CLASSIFICATIONS, find_hits(inputs).drop_duplicates(), needed))
    return [str(name) for name in rank_by_consensus(hits)[Column.MATERIAL_ID]]


def project_picks(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Split the spectra of the first picks over elements and shells."""
    first = inputs.read(TableName.PICKS, [Column.MATERIAL_ID])[Column.MATERIAL_ID][:MOST_PROJECTED]
    known = inputs.run.has_table(TableName.CRYSTALS)
    table = projections_of(inputs.crystals(first), settings) if known else empty_table(TableName.PROJECTIONS)
    return Outcome({"projected": len(pc.unique(table[Column.MATERIAL_ID]))}, {TableName.PROJECTIONS: table})


def move_thresholds(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Compute precision and recall for other gap rules from the stored spectra."""
    curve = find_curve(inputs, settings, inputs.read(TableName.DFT_RESULTS), inputs.read(TableName.DFT_JOBS))
    return Outcome({"rules": len(curve)}, {TableName.THRESHOLD_CURVE: curve})


def find_curve(inputs: Inputs, settings: ScreenSettings, results: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """The threshold curve for some DFT results."""
    candidates = inputs.read(TableName.CANDIDATES)
    there = inputs.run.column_names(TableName.PREDICTIONS)
    more = [name for name in EVIDENCE if name in there]
    predictions = spectra_of(inputs, jobs[Column.MATERIAL_ID], *more)
    classes = inputs.read(TableName.CLASSIFICATIONS)
    flags = population_flags(classes, Column.IS_GAPPED_METAL, could_be_chosen(candidates, classes, settings))
    return threshold_curve(predictions, results, jobs, candidates, settings.gap, settings.evaluation, flags=flags)


def report(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Write the page of the run."""
    curve, results = inputs.find(TableName.THRESHOLD_CURVE), inputs.find(TableName.DFT_RESULTS)
    page = draw_page(inputs, settings, None, results, inputs.read(TableName.PRECISION_RECALL), curve)
    return Outcome({}, files={PAGE_FILE: page})


def draw_page(
    inputs: Inputs,
    settings: ScreenSettings,
    picks: pd.DataFrame | None,
    results: pd.DataFrame | None,
    merit: pd.DataFrame,
    curve: pd.DataFrame | None,
    comparison: Comparison | None = None,
    other_predictions: pd.DataFrame | None = None,
) -> str:
    """The page of a run with these picks (None: its own) and, if available, DFT results, scores and threshold curve."""
    info = inputs.run.info
    all_picks = inputs.read(TableName.PICKS, OF_ALL_PICKS) if picks is None else picks
    picks = picks_to_show(inputs, all_picks) if picks is None else picks
    shown = shown_picks(picks)[Column.MATERIAL_ID]
    results = to_frame(empty_table(TableName.DFT_RESULTS)) if results is None else results
    computed = results[Column.MATERIAL_ID]
    crystals = inputs.crystals(shown) if inputs.run.has_table(TableName.CRYSTALS) else None
    content = PageContent(
        run_id=inputs.run.run_id,
        created=str(info.get("created", "")),
        source=str(info.get("db_version", "")),
        picks=picks,
        classifications=to_frame(rows_of(inputs, TableName.CLASSIFICATIONS, pd.concat([shown, computed]))),
        predictions=spectra_of(inputs, shown, Column.UNCERTAINTY),
        results=results,
        precision_recall=merit,
        curve=to_frame(empty_table(TableName.THRESHOLD_CURVE)) if curve is None else curve,
        filter_counts=inputs.read(TableName.FILTER_COUNTS),
        crystals=crystals,
        gap=settings.gap,
        grid=EDOS_GRID,
        comparison=comparison,
        other_predictions=other_predictions,
        projections=None if crystals is None else projections_of_table(_projections(inputs, crystals, settings)),
        target=settings.classify.target,
        funnel=describe_loss(inputs.find(TableName.FUNNEL_LOSS)),
        all_picks=all_picks,
    )
    return result_page(content)


def picks_to_show(inputs: Inputs, all_picks: pd.DataFrame) -> pd.DataFrame:
    """The picks that the page shows, of all."""
    return to_frame(inputs.rows(TableName.PICKS, np.flatnonzero(is_shown(all_picks))))


def _projections(inputs: Inputs, crystals: Crystals, settings: ScreenSettings) -> pd.DataFrame | pa.Table:
    """The table of the run; made now where an older one has none."""
    found = inputs.find(TableName.PROJECTIONS)
    return projections_of(crystals, settings) if found is None else found


def projections_of(crystals: Crystals, settings: ScreenSettings) -> pa.Table:
    """Projections of the first crystals on elements and shells, if the model that leads gives them."""
    leader = settings.prediction.models[:1]
    if leader[0] not in TIGHT_BINDING_MODELS:
        return empty_table(TableName.PROJECTIONS)
    (predictor,) = load_predictors(settings.prediction.model_copy(update={"models": leader}))
    return projections_table(mat2spec.project_spectra(crystals, predictor), predictor.name, predictor.weights_hash)


def spectra_of(tables: Inputs | RunTables, material_ids: Sequence[str] | pd.Series, *more: Column) -> pd.DataFrame:
    """Predicted spectra of some materials only, with more columns if wanted."""
    columns = [Column.MATERIAL_ID, Column.MODEL, Column.EDOS, *more]
    return rows_of(tables, TableName.PREDICTIONS, material_ids, columns).to_pandas()


def rows_of(
    tables: Inputs | RunTables,
    name: TableName,
    material_ids: Sequence[str] | pd.Series,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Rows of some materials, read piece by piece: a screen may hold a million others."""
    chosen = pa.array(list(material_ids), type=pa.string())
    pieces = [
        rows.filter(pc.is_in(rows[Column.MATERIAL_ID], value_set=chosen)) for rows in tables.batches(name, columns)
    ]
    return pa.concat_tables(pieces)
