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
from typing import TYPE_CHECKING

import numpy as np

from mat2spec.grids import EDOS_GRID
from screening.columns import Column, TableName

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from flows.settings import ScreenSettings
    from mat2spec.crystals import Crystals
    from mat2spec.prediction import Prediction, SpectrumPredictor
    from screening.runs import RunFolder
    from screening.sources import CrystalSource, SourceSettings

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


def open_run(settings: ScreenSettings) -> RunFolder:
    """Open the run folder of these settings: the unfinished run that they began, or else a new one."""
    from screening.runs import RunFolder
    from screening.sources import open_source

    source = open_source(settings.source)
    return RunFolder.open(
        settings.results_dir,
        settings=settings.of_the_run(),
        weights_hashes={predictor.name: predictor.weights_hash for predictor in load_predictors(settings)},
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
        candidates, counts = choose_candidates(_open_source(run, settings), settings)
        run.write_table(TableName.FILTER_COUNTS, counts)
        run.write_table(TableName.CANDIDATES, candidates)
    counts = run.read_table(TableName.FILTER_COUNTS)
    n_candidates = len(run.read_table(TableName.CANDIDATES, [Column.MATERIAL_ID]))
    progress(1, 1)
    if n_candidates == 0:
        greediest = counts[Column.FILTER].iloc[int(counts[Column.REMOVED].argmax())]
        raise NoCandidatesError(
            f"No material of the source passes the filters; the filter '{greediest}' removed most. Relax it: "
            "`mat2spec settings` shows the filters, `mat2spec screen --dry-run` what each removes."
        )
    return {"materials": int(counts[Column.REMAINING].iloc[0]), "candidates": n_candidates}


def choose_candidates(source: CrystalSource, settings: ScreenSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates of a source and the count that each filter removed."""
    from screening.edos_store import known_edos_ids
    from screening.filters import filter_candidates

    return filter_candidates(source.properties(), settings.filters, known_edos_ids(settings.source.edos_store))


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

    from screening.tables import list_column

    ok = np.array([status == "ok" for status in prediction.status], dtype=np.bool_)
    n_materials = len(prediction.status)
    return pa.table(
        {
            Column.MATERIAL_ID: pa.array(prediction.material_ids, type=pa.string()),
            Column.MODEL: pa.array([prediction.model] * n_materials, type=pa.string()),
            Column.STATUS: pa.array(prediction.status, type=pa.string()),
            Column.REASON: pa.array(prediction.reason, type=pa.string()),
            Column.EDOS: list_column(prediction.spectra, ok),
            Column.SCALE_STATES: pa.array(prediction.scale, mask=~ok, type=pa.float32()),
            Column.UNCERTAINTY: list_column(prediction.uncertainty, ok),
            Column.WEIGHTS_HASH: pa.array([prediction.weights_hash] * n_materials, type=pa.string()),
        }
    )


def classify_predictions(run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Find the gapped metals among the predicted spectra."""
    import pandas as pd

    from screening.gaps import classify_spectra
    from screening.tables import matrix_column

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
    from screening.selection import select_for_dft

    if not run.has_table(TableName.DFT_JOBS):
        classes, candidates = run.read_table(TableName.CLASSIFICATIONS), run.read_table(TableName.CANDIDATES)
        picks = select_for_dft(classes, candidates, settings.selection).picks
        run.write_table(TableName.DFT_JOBS, plan_jobs(picks, _crystals_of(run, settings, picks), settings.dft))
    jobs = run.read_table(TableName.DFT_JOBS)
    progress(1, 1)
    return {"selected": len(jobs), "queued": int((jobs[Column.STATUS] == "queued").sum())}


def run_dft(run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Run the queued DFT jobs and classify their spectra by the rule that the predictions are classified by."""
    from dft_validation import results_table, run_jobs, update_jobs

    if not run.has_table(TableName.DFT_RESULTS):
        jobs = run.read_table(TableName.DFT_JOBS)
        outcomes = run_jobs(
            jobs, _crystals_of(run, settings, jobs), settings.dft, lambda _, done, total: progress(done, total)
        )
        run.write_table(TableName.DFT_RESULTS, results_table(outcomes, settings.gap))
        run.write_table(TableName.DFT_JOBS, update_jobs(jobs, outcomes))
    results = run.read_table(TableName.DFT_RESULTS)
    ok = results[Column.STATUS] == "ok"
    gapped = results[Column.IS_GAPPED_METAL].fillna(value=False).astype(bool)
    return {"computed": int(ok.sum()), "failed": int((~ok).sum()), "gapped_metals": int((ok & gapped).sum())}


def _crystals_of(run: RunFolder, settings: ScreenSettings, rows: pd.DataFrame) -> Crystals:
    return _open_source(run, settings).crystals(rows[Column.MATERIAL_ID].tolist())


def evaluate(run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Counts:
    """Compare the predicted classes with those of DFT: precision and recall of every model."""
    from screening.evaluation import precision_recall

    if not run.has_table(TableName.PRECISION_RECALL):
        table = precision_recall(
            run.read_table(TableName.CLASSIFICATIONS),
            run.read_table(TableName.DFT_RESULTS),
            run.read_table(TableName.DFT_JOBS),
            settings.evaluation,
            reference=f"{settings.dft.engine}-{settings.dft.functional}".lower(),
            setting=settings.gap.describe(),
        )
        run.write_table(TableName.PRECISION_RECALL, table)
    progress(1, 1)
    return {"rows": len(run.read_table(TableName.PRECISION_RECALL))}


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
    return [name for name in STAGES if settings.run_dft or name not in {"run_dft", "evaluate"}]


# A source keeps an index of its materials and a predictor its weights: opened once in a process, not once a shard.
def _open_source(run: RunFolder, settings: ScreenSettings) -> CrystalSource:
    return _source(settings.source, run.info["source_fingerprint"])


@lru_cache(maxsize=1)
def _source(settings: SourceSettings, fingerprint: str) -> CrystalSource:
    from screening.sources import SourceError, open_source

    source = open_source(settings)
    if source.fingerprint() != fingerprint:
        raise SourceError(
            f"The source '{source.name}' has changed since this run began; run the screen again, it begins a new run."
        )
    return source


def load_predictors(settings: ScreenSettings) -> list[SpectrumPredictor]:
    """Predictors of all models of the settings; weights are read once in a process."""
    prediction = settings.prediction
    return [
        _load(model, prediction.weights_dir, prediction.device, prediction.max_edges_per_batch)
        for model in prediction.models
    ]


@lru_cache(maxsize=4)
def _load(model: str, weights_dir: Path | None, device: str, max_edges_per_batch: int) -> SpectrumPredictor:
    from mat2spec.prediction import load_predictor

    return load_predictor(model, weights_dir=weights_dir, device=device, max_edges_per_batch=max_edges_per_batch)
