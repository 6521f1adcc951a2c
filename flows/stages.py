"""The stages of a screen, one function each, over a run folder.

A stage reads the tables of the stages before it, writes its own and returns counts. It knows
nothing of Prefect or of the terminal: `mat2spec screen` runs the stages one after the other, the
Prefect flow wraps the same functions. What is on disk already is not done again, so a run that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.columns import Column
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals
    from mat2spec.prediction import Prediction, Predictor
    from screening.runs.folder import RunFolder
    from screening.settings import FilterSettings, SourceSettings
    from screening.sources.base import CrystalSource

    Counts = dict[str, int]
    Progress = Callable[[int, int], None]
    StageFunction = Callable[[RunFolder, ScreenSettings, Progress], Counts]


def no_progress(done: int, total: int) -> None:
    """Tell nobody how far a stage is."""


class NoCandidatesError(ValueError):
    """Nothing is left to predict."""


@dataclass(frozen=True)
class Shard:
    """Candidates `start` to `stop`, which all models predict in one go; the result is one file."""

    index: int
    start: int
    stop: int


def make_source(settings: ScreenSettings, progress: Progress = no_progress) -> CrystalSource:
    """Open the source of a screen; the Materials Project is read first, unless its cache has the answer."""
    from screening.sources.opening import open_source

    return open_source(settings.source, settings.filters, progress)


def open_run(settings: ScreenSettings, progress: Progress = no_progress) -> RunFolder:
    """Open the run folder of these settings: the unfinished run that they began, or else a new one."""
    from screening.runs.folder import RunFolder

    source = make_source(settings, progress)
    return RunFolder.open(
        settings.results_dir,
        **identity_of(settings),
        source_fingerprint=source.fingerprint(),
        db_version=source.db_version(),
        grid=EDOS_GRID,
    )


def run_stage(name: str, run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Run one of `STAGES` and record its time and counts in the run folder."""
    start = time.perf_counter()
    counts = STAGES[name](run, settings, progress)
    run.record(name, time.perf_counter() - start, counts)
    return counts


def find_candidates(run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Filter the materials of the source; keep what each filter removed.

    Raises
    ------
    NoCandidatesError
        If no material passes.
    """
    if not run.has_table(TableName.CANDIDATES):
        chosen = choose_candidates(_open_source(run, settings), settings, run.info)
        run.write_table(TableName.FILTER_COUNTS, chosen.counts)
        run.write_table(TableName.CHANGES, chosen.changes)
        run.write_table(TableName.KNOWN_EDOS, chosen.known_edos)
        run.write_table(TableName.CANDIDATES, chosen.candidates)
    counts = run.read_table(TableName.FILTER_COUNTS)
    n_candidates = len(run.read_table(TableName.CANDIDATES, [Column.MATERIAL_ID]))
    progress(1, 1)
    if n_candidates == 0 and not settings.only_new:
        greediest = counts[Column.FILTER].iloc[int(counts[Column.REMOVED].argmax())]
        raise NoCandidatesError(
            f"No material of the source passes the filters; the filter '{greediest}' removed most. Relax it: "
            "`mat2spec settings` shows the filters, `mat2spec screen --dry-run` what each removes."
        )
    return {"materials": int(counts[Column.REMAINING].iloc[0]), "candidates": n_candidates}


@dataclass(frozen=True)
class Chosen:
    """Candidates of a run, the count that each filter removed, what changed since former runs, who has an eDOS."""

    candidates: pd.DataFrame
    counts: pd.DataFrame
    changes: pd.DataFrame
    known_edos: pd.DataFrame


def choose_candidates(source: CrystalSource, settings: ScreenSettings, identity: Mapping[str, Any]) -> Chosen:
    """Candidates of a source, all of them or only those that no former run screened.

    Parameters
    ----------
    source, settings
        What is screened and how.
    identity
        `settings` and `weights_hashes` as `run.json` holds them: former runs that agree are compared with.
    """
    import pandas as pd

    from screening.choose.filters import filter_candidates
    from screening.runs import history as reruns
    from screening.sources.known_edos import known_edos_ids
    from screening.sources.open_data.published import with_edos_now

    properties = source.properties()
    former = reruns.FormerRuns.find(settings.results_dir, identity)
    in_store = known_edos_ids(settings.source.store_of_known_edos)
    # With its eDOS a material may have got values that the filters, which the server applies, leave out.
    published = source.known_edos_ids() | with_edos_now(settings.source, former.gone_from(properties))
    known = in_store | published
    candidates, counts = filter_candidates(properties, settings.filters, known)
    earlier = source.earlier_filters()
    if earlier is not None:
        # The first row counts the source itself, which the last of the earlier filters did already.
        counts = pd.concat([earlier, counts.iloc[1:]], ignore_index=True)
    candidates = reruns.with_structure_hashes(candidates, source)
    changes = reruns.find_changes(candidates, known, former)
    if settings.only_new:
        candidates, counts = reruns.keep_unscreened(candidates, counts, former)
    known_here = published | (in_store & set(properties[Column.MATERIAL_ID]))
    known_edos = pd.DataFrame({Column.MATERIAL_ID: pd.Series(sorted(known_here), dtype=object)})
    return Chosen(candidates, counts, changes, known_edos)


def identity_of(settings: ScreenSettings) -> dict[str, Any]:
    """What `run.json` holds of a run with these settings and decides which former runs it is compared with."""
    hashes = {predictor.name: predictor.weights_hash for predictor in load_predictors(settings)}
    return {"settings": settings.of_the_run(), "weights_hashes": hashes}


def nothing_new(run: RunFolder, settings: ScreenSettings) -> str | None:
    """A sentence if a run for what is new has nothing to do since no material changed, else None."""
    if not settings.only_new or len(run.read_table(TableName.CHANGES)) or _has_candidates(run):
        return None
    counts = run.read_table(TableName.FILTER_COUNTS)
    n_before = int(counts[Column.REMOVED].iloc[-1])
    return (
        f"Nothing is new in {run.info['db_version']}: all {n_before:,} candidates were screened before with the "
        "structures that they have now, and no eDOS came or went. No new run was kept."
    )


def _has_candidates(run: RunFolder) -> bool:
    return len(run.read_arrow(TableName.CANDIDATES, [Column.MATERIAL_ID])) > 0


def is_needed(name: str, run: RunFolder) -> bool:
    """Whether a stage has something to do: without a candidate, published densities of states can still be compared."""
    return name in {"find_candidates", "evaluate"} or _has_candidates(run)


def predict_spectra(run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Predict the eDOS of every candidate by every model, shard by shard."""
    shards = plan_shards(run, settings)
    n_models = len(settings.prediction.models)
    done, total = 0, n_models * sum(shard.stop - shard.start for shard in shards)

    def on_batch(n_predicted: int) -> None:
        nonlocal done
        done += n_predicted
        progress(done, total)

    for shard in shards:
        predict_shard(run, settings, shard, on_batch)
    return merge_predictions(run, len(shards))


def plan_shards(run: RunFolder, settings: ScreenSettings) -> list[Shard]:
    """Cut the candidates into shards."""
    n_candidates, size = len(run.read_table(TableName.CANDIDATES)), settings.prediction.shard_size
    starts = range(0, n_candidates, size)
    return [Shard(index, start, min(start + size, n_candidates)) for index, start in enumerate(starts)]


def predict_shard(
    run: RunFolder, settings: ScreenSettings, shard: Shard, on_batch: Callable[[int], None] | None = None
) -> int:
    """Predict one shard by every model, unless it is on disk; return the number of predictions."""
    import pyarrow as pa

    from mat2spec.prediction import predict_with_models

    n_predictions = (shard.stop - shard.start) * len(settings.prediction.models)
    if run.has_table(TableName.PREDICTIONS) or run.has_shard(TableName.PREDICTIONS, shard.index):
        if on_batch:
            on_batch(n_predictions)
        return n_predictions
    material_ids = run.read_table(TableName.CANDIDATES)[Column.MATERIAL_ID].iloc[shard.start : shard.stop]
    crystals = _open_source(run, settings).crystals(material_ids.tolist())
    predictions = predict_with_models(load_predictors(settings), crystals, on_batch)
    table = pa.concat_tables([predictions_table(prediction) for prediction in predictions])
    run.write_shard(TableName.PREDICTIONS, shard.index, table)
    return n_predictions


def merge_predictions(run: RunFolder, n_shards: int) -> Counts:
    """Join the shards to the table of predictions."""
    if not run.has_table(TableName.PREDICTIONS):
        run.merge_shards(TableName.PREDICTIONS, n_shards)
    status = run.read_arrow(TableName.PREDICTIONS, [Column.STATUS])[Column.STATUS].to_pandas()
    return {"predictions": len(status), "failed": int((status != "ok").sum())}


def predictions_table(prediction: Prediction) -> pa.Table:
    """Rows of the table of predictions, one per material."""
    import pyarrow as pa

    from mat2spec.tables.parquet import list_column

    ok = np.array([status == "ok" for status in prediction.status], dtype=np.bool_)
    n_materials = len(prediction.status)
    return pa.table(
        {
            Column.MATERIAL_ID: pa.array(prediction.material_ids, type=pa.string()),
            Column.MODEL: pa.array([prediction.model] * n_materials, type=pa.string()),
            Column.STATUS: pa.array(prediction.status, type=pa.string()),
            Column.REASON: pa.array(prediction.reason, type=pa.string()),
            Column(prediction.grid.name): list_column(prediction.spectra, ok),
            Column.SCALE_STATES: pa.array(prediction.scale, mask=~ok, type=pa.float32()),
            Column.UNCERTAINTY: list_column(prediction.uncertainty, ok),
            Column.RELATIVE_ERROR: pa.array(prediction.relative_error, mask=~ok, type=pa.float32()),
            Column.DOMAIN_DISTANCE: pa.array(prediction.domain_distance, mask=~ok, type=pa.float32()),
            Column.WEIGHTS_HASH: pa.array([prediction.weights_hash] * n_materials, type=pa.string()),
        }
    )


def classify_predictions(run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Find the gapped metals among the predicted spectra."""
    import pandas as pd

    from mat2spec.tables.parquet import matrix_column
    from screening.classify.gaps import classify_spectra

    if not run.has_table(TableName.CLASSIFICATIONS):
        predictions = run.read_arrow(TableName.PREDICTIONS, [Column.MATERIAL_ID, Column.MODEL, Column.EDOS])
        keys = predictions.select([Column.MATERIAL_ID, Column.MODEL]).to_pandas()
        n_sites = run.read_table(TableName.CANDIDATES).set_index(Column.MATERIAL_ID)[Column.NSITES]
        spectra = matrix_column(predictions, Column.EDOS, EDOS_GRID.size)
        sites = n_sites.loc[keys[Column.MATERIAL_ID]].to_numpy(dtype=np.int64)
        classes = classify_spectra(spectra, EDOS_GRID, settings.gap, n_sites=sites)
        run.write_table(TableName.CLASSIFICATIONS, pd.concat([keys, classes], axis=1))
    classes = run.read_table(TableName.CLASSIFICATIONS)
    progress(1, 1)
    positives = classes[classes[Column.IS_GAPPED_METAL].fillna(value=False).astype(bool)]
    per_model = positives[Column.MODEL].value_counts()
    return {f"gapped_metals_{model}": int(per_model.get(model, 0)) for model in settings.prediction.models}


def queue_dft(run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Choose candidates for DFT, the most confident positives and random negatives, and plan their jobs."""
    from dft_validation import plan_jobs
    from screening.choose.selection import select_for_dft

    if not run.has_table(TableName.DFT_JOBS):
        classes, candidates = run.read_table(TableName.CLASSIFICATIONS), run.read_table(TableName.CANDIDATES)
        picks = select_for_dft(classes, candidates, settings.selection).picks
        run.write_table(TableName.DFT_JOBS, plan_jobs(picks, _crystals_of(run, settings, picks), settings.dft))
    jobs = run.read_table(TableName.DFT_JOBS)
    progress(1, 1)
    return {"selected": len(jobs), "queued": int((jobs[Column.STATUS] == "queued").sum())}


def run_dft(run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Run the queued DFT jobs and classify their spectra by the rule that the predictions are classified by."""
    from flows import dft_stages

    if not run.has_table(TableName.DFT_RESULTS):
        outcomes = dft_stages.work_off(run, settings, crystals_of_jobs(run, settings), progress)
        dft_stages.write_results(run, settings, outcomes)
    results = run.read_table(TableName.DFT_RESULTS)
    ok = results[Column.STATUS] == "ok"
    gapped = results[Column.IS_GAPPED_METAL].fillna(value=False).astype(bool)
    return {"computed": int(ok.sum()), "failed": int((~ok).sum()), "gapped_metals": int((ok & gapped).sum())}


def crystals_of_jobs(run: RunFolder, settings: ScreenSettings) -> Crystals:
    """The crystals that were chosen for DFT."""
    return _crystals_of(run, settings, run.read_table(TableName.DFT_JOBS, [Column.MATERIAL_ID]))


def _crystals_of(run: RunFolder, settings: ScreenSettings, rows: pd.DataFrame) -> Crystals:
    return _open_source(run, settings).crystals(rows[Column.MATERIAL_ID].tolist())


def evaluate(run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Precision and recall of every model: against our DFT, and against eDOS published since a former run."""
    from flows import dft_stages

    if not run.has_table(TableName.PRECISION_RECALL):
        tables = [*_against_published(run, settings), *_against_dft(run, settings)]
        if tables:
            run.write_table(TableName.PRECISION_RECALL, _concatenate(tables))
    if run.has_table(TableName.DFT_RESULTS) and not run.has_table(TableName.THRESHOLD_CURVE):
        dft_stages.write_curve_and_page(run, settings)
    progress(1, 1)
    published = len(run.read_arrow(TableName.PUBLISHED_RESULTS, [Column.MATERIAL_ID]))
    has_rows = run.has_table(TableName.PRECISION_RECALL)
    return {"rows": len(run.read_table(TableName.PRECISION_RECALL)) if has_rows else 0, "published": published}


def _against_dft(run: RunFolder, settings: ScreenSettings) -> list[pd.DataFrame]:
    """Rows against the DFT of this run, if there was any."""
    from screening.evaluate.evaluation import precision_recall

    if not run.has_table(TableName.DFT_RESULTS):
        return []
    table = precision_recall(
        run.read_table(TableName.CLASSIFICATIONS),
        run.read_table(TableName.DFT_RESULTS),
        run.read_table(TableName.DFT_JOBS),
        settings.evaluation,
        setting=settings.gap.describe(),
    )
    return [table]


def _against_published(run: RunFolder, settings: ScreenSettings) -> list[pd.DataFrame]:
    """Rows against eDOS that were published after a former run had predicted them."""
    from screening.evaluate.published import published_precision_recall, published_results, published_since
    from screening.runs.history import FormerRuns

    results_dir = run.path.parent
    if not run.has_table(TableName.PUBLISHED_RESULTS):
        former = FormerRuns.find(results_dir, run.info)
        known = run.read_table(TableName.KNOWN_EDOS)[Column.MATERIAL_ID]
        fetched = published_since(settings.source, former, known)
        stores = [store for store in (settings.source.store_of_known_edos, fetched.store) if store is not None]
        run.write_table(TableName.PUBLISHED_RESULTS, published_results(stores, former, settings.gap, fetched.failures))
    results = run.read_table(TableName.PUBLISHED_RESULTS)
    return published_precision_recall(results, results_dir, settings.gap, settings.evaluation)


def _concatenate(tables: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(tables, ignore_index=True)


STAGES: dict[str, StageFunction] = {
    "find_candidates": find_candidates,
    "predict_spectra": predict_spectra,
    "classify_predictions": classify_predictions,
    "queue_dft": queue_dft,
    "run_dft": run_dft,
    "evaluate": evaluate,
}


def stages_of(settings: ScreenSettings) -> list[str]:
    """The stages that these settings ask for, in order."""
    return [name for name in STAGES if settings.run_dft or name != "run_dft"]


# A source keeps an index of its materials and a predictor its weights: opened once in a process, not once a shard.
def _open_source(run: RunFolder, settings: ScreenSettings) -> CrystalSource:
    return _source(settings.source, settings.filters, run.info["source_fingerprint"], run.info["db_version"])


@lru_cache(maxsize=1)
def _source(settings: SourceSettings, filters: FilterSettings, fingerprint: str, db_version: str) -> CrystalSource:
    """The source as a run began with it, even if the Materials Project has a new version meanwhile."""
    from screening.sources.base import SourceError
    from screening.sources.opening import open_source

    source = open_source(settings, filters, db_version=db_version)
    if source.fingerprint() != fingerprint:
        raise SourceError(
            f"The source '{source.name}' has changed since this run began; run the screen again, it begins a new run."
        )
    return source


def load_predictors(settings: ScreenSettings, spectrum: str = EDOS_GRID.name) -> list[Predictor]:
    """Predictors of all models of the settings; weights are read once in a process."""
    prediction = settings.prediction
    return [
        _load(model, spectrum, prediction.weights_dir, prediction.device, prediction.max_edges_per_batch)
        for model in prediction.models
    ]


@lru_cache(maxsize=4)
def _load(model: str, spectrum: str, weights_dir: Path | None, device: str, max_edges_per_batch: int) -> Predictor:
    from mat2spec.prediction import load_predictor

    return load_predictor(model, spectrum, weights_dir, device, max_edges_per_batch)
