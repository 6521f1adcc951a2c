"""The pipeline of a screen: its stages in order, and what runs them.

    with open_run(settings) as run:
        run_stages(run, settings, stages_of(settings), lambda stage: run_stage(stage, run, settings))

Only `PIPELINE` defines the order of the stages. `mat2spec screen` and the Prefect flow both iterate over it;
`run_stage` does what all stages have in common: it skips finished work, reads, writes, measures the time and records
the counts. The run folder records what is done, so a run that was stopped or killed resumes where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mat2spec
from flows import stages
from flows.settings import FunnelMode
from flows.stages import Counts, Inputs, Outcome, classification, funnel, picks, transport
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.memory import release_memory, return_large_blocks
from screening.classify.gapped_metals import gapped_metal_cut
from screening.progress import Progress, adding_up, no_progress
from screening.runs.contents import RunTables
from screening.runs.dataset import add_to_dataset
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName
from screening.sources.opening import open_source

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals
    from mat2spec.crystals.primitive import CellSizes
    from mat2spec.preparation import Prepared


@dataclass(frozen=True)
class Stage:
    """One stage of a screen.

    Parameters
    ----------
    name, title
        For the record, and for display.
    reads
        Tables that it needs; it has access to no others.
    writes
        Tables that it makes, in the order in which they are written.
    run
        What it does.
    prepare
        What it does with the crystals of a shard before its networks see them, while they are at work on the shard before.
    shard
        What it does with such a shard of the candidates, if its table is too large to be made at once: the shards are written
        one by one and merged, and `run` summarises the result.
    n_models
        How many models predict each crystal of a shard.
    takes
        Rows of the candidates that are split into shards.
    more
        Rows of its table besides those of the shards, piece by piece.
    needs_dft
        Whether it is skipped when DFT jobs are only queued.
    applies
        Whether it is part of a run whose candidates are known.
    """

    name: str
    title: str
    reads: tuple[TableName, ...]
    writes: tuple[TableName, ...]
    run: Callable[[Inputs, ScreenSettings], Outcome]
    prepare: Callable[[Crystals, ScreenSettings, CellSizes | None], Prepared] | None = None
    shard: Callable[[Prepared, ScreenSettings, Callable[[int], None]], pa.Table] | None = None
    n_models: Callable[[ScreenSettings], int] = lambda _: 1
    takes: Callable[[RunTables], NDArray[np.int64]] = funnel.all_candidates
    more: Callable[[RunTables, ScreenSettings], Iterable[pa.Table]] = lambda *_: ()
    needs_dft: bool = False
    applies: Callable[[RunTables, ScreenSettings], bool] = lambda *_: True


PIPELINE = (
    Stage(
        "find_candidates",
        "Find candidates",
        reads=(),
        writes=(
            TableName.FILTER_COUNTS,
            TableName.REMOVED,
            TableName.CHANGES,
            TableName.KNOWN_EDOS,
            TableName.CRYSTALS,
            TableName.CANDIDATES,
        ),
        run=stages.find_candidates,
    ),
    Stage(
        "find_published",
        "Find published spectra",
        reads=(TableName.KNOWN_EDOS, TableName.CANDIDATES, TableName.REMOVED),
        writes=(TableName.PUBLISHED_RESULTS, TableName.PREVIOUS_CLASSIFICATIONS),
        run=stages.find_published,
    ),
    Stage(
        "scan_candidates",
        "Scan candidates",
        reads=(TableName.CANDIDATES, TableName.CRYSTALS, TableName.SCAN),
        writes=(TableName.SCAN, TableName.FUNNEL),
        run=funnel.choose_by_scan,
        prepare=funnel.prepare_scan,
        shard=funnel.scan_shard,
        applies=funnel.is_in_use,
    ),
    Stage(
        "predict_spectra",
        "Predict spectra",
        reads=(TableName.CANDIDATES, TableName.CRYSTALS, TableName.SCAN, TableName.FUNNEL, TableName.PREDICTIONS),
        writes=(TableName.PREDICTIONS,),
        run=stages.count_predictions,
        prepare=stages.prepare_shard,
        shard=stages.predict_shard,
        n_models=lambda settings: len(settings.prediction.models),
        takes=funnel.to_predict,
        more=funnel.left_to_fast,
    ),
    Stage(
        "classify_predictions",
        "Classify predictions",
        reads=(TableName.CANDIDATES, TableName.CRYSTALS, TableName.PREDICTIONS),
        writes=(TableName.CLASSIFICATIONS,),
        run=classification.classify_predictions,
    ),
    Stage(
        "measure_funnel",
        "Measure the funnel",
        reads=(TableName.FUNNEL, TableName.CLASSIFICATIONS),
        writes=(TableName.FUNNEL_LOSS,),
        run=funnel.measure_funnel,
        applies=funnel.is_in_use,
    ),
    Stage(
        "queue_dft",
        "Queue DFT",
        reads=(TableName.CANDIDATES, TableName.CRYSTALS, TableName.CLASSIFICATIONS),
        writes=(TableName.DFT_JOBS,),
        run=stages.queue_dft,
    ),
    Stage(
        "run_dft",
        "Run DFT",
        reads=(TableName.CANDIDATES, TableName.CRYSTALS, TableName.DFT_JOBS),
        writes=(TableName.DFT_RESULTS, TableName.DFT_JOBS),
        run=stages.run_dft,
        needs_dft=True,
    ),
    Stage(
        "evaluate",
        "Evaluate",
        reads=(
            TableName.CANDIDATES,
            TableName.PUBLISHED_RESULTS,
            TableName.PREVIOUS_CLASSIFICATIONS,
            TableName.CLASSIFICATIONS,
            TableName.DFT_JOBS,
            TableName.DFT_RESULTS,
        ),
        writes=(TableName.PRECISION_RECALL,),
        run=stages.evaluate,
    ),
    Stage(
        "predict_phonons",
        "Predict phonons",
        reads=(TableName.CRYSTALS, TableName.CLASSIFICATIONS, TableName.DFT_JOBS),
        writes=(TableName.PHONONS,),
        run=stages.predict_phonons,
    ),
    Stage(
        "compute_transport",
        "Compute transport",
        reads=(TableName.CRYSTALS, TableName.CLASSIFICATIONS),
        writes=(TableName.TRANSPORT,),
        run=transport.compute_transport,
    ),
    Stage(
        "collect_picks",
        "Collect picks",
        reads=(
            TableName.CANDIDATES,
            TableName.CRYSTALS,
            TableName.PREDICTIONS,
            TableName.CLASSIFICATIONS,
            TableName.DFT_JOBS,
            TableName.DFT_RESULTS,
            TableName.PHONONS,
            TableName.TRANSPORT,
        ),
        writes=(TableName.PICKS,),
        run=picks.collect_picks,
    ),
    Stage(
        "project_picks",
        "Project picks",
        reads=(TableName.CRYSTALS, TableName.PICKS),
        writes=(TableName.PROJECTIONS,),
        run=stages.project_picks,
    ),
    Stage(
        "move_thresholds",
        "Move thresholds",
        reads=(
            TableName.CANDIDATES,
            TableName.PREDICTIONS,
            TableName.CLASSIFICATIONS,
            TableName.DFT_JOBS,
            TableName.DFT_RESULTS,
        ),
        writes=(TableName.THRESHOLD_CURVE,),
        run=stages.move_thresholds,
        needs_dft=True,
    ),
    Stage(
        "report",
        "Report",
        reads=(
            TableName.CRYSTALS,
            TableName.FILTER_COUNTS,
            TableName.PREDICTIONS,
            TableName.CLASSIFICATIONS,
            TableName.DFT_RESULTS,
            TableName.PRECISION_RECALL,
            TableName.THRESHOLD_CURVE,
            TableName.FUNNEL_LOSS,
            TableName.PICKS,
            TableName.PROJECTIONS,
        ),
        writes=(),
        run=stages.report,
    ),
)
BY_NAME = {stage.name: stage for stage in PIPELINE}


@dataclass(frozen=True)
class Shard:
    """Candidates `start` to `stop`, which all models predict in one call; the result is one file."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True)
class Done:
    """A finished stage, as recorded in `run.json`.

    Parameters
    ----------
    seconds
        Time taken.
    counts
        Counts to report.
    ends_run
        Why the run ends here and is not kept; empty if it continues.
    """

    seconds: float
    counts: Counts
    ends_run: str = ""


def stages_of(settings: ScreenSettings) -> list[Stage]:
    """The stages that these settings ask for, in order."""
    return [stage for stage in PIPELINE if settings.run_dft or not stage.needs_dft]


def stages_from(name: str) -> list[Stage]:
    """A stage and all that follow."""
    return list(PIPELINE[PIPELINE.index(BY_NAME[name]) :])


def open_run(settings: ScreenSettings, progress: Progress = no_progress) -> RunFolder:
    """Open the run folder of these settings: their unfinished run if there is one, else a new one.

    The Materials Project is read here unless its data are cached; `progress` reports how far that is.
    """
    if settings.funnel.mode is FunnelMode.ALWAYS:
        funnel.cut_of(settings)  # refuses a funnel that cannot be used before a source is read
    source = open_source(settings.source, settings.filters, progress, results_dir=settings.results_dir)
    settings = _with_cut(settings)
    return RunFolder.open(
        settings.results_dir,
        **identity_of(settings),
        source_fingerprint=source.fingerprint(),
        db_version=source.db_version(),
        grid=EDOS_GRID,
        deciding=settings.that_decide(),
    )


def identity_of(settings: ScreenSettings) -> dict[str, Any]:
    """The part of `run.json` that decides which previous runs a run with these settings is compared with."""
    predictors = stages.load_predictors(settings.prediction)
    if settings.funnel.mode is FunnelMode.ALWAYS:
        predictors = [*predictors, funnel.fast_predictor(settings)]
    hashes = {predictor.name: predictor.weights_hash for predictor in predictors} | mat2spec.hashes_of_metal_heads()
    return {"settings": _with_cut(settings).of_the_run(), "weights_hashes": hashes}


def _with_cut(settings: ScreenSettings) -> ScreenSettings:
    """With the calibrated cut in place of none: a run keeps the one that it began with, whatever is calibrated later."""
    gap = settings.gap.model_copy(update={"min_probability": gapped_metal_cut(settings.gap)})
    return settings.model_copy(update={"gap": gap})


def run_stages(run: RunFolder, settings: ScreenSettings, chosen: Sequence[Stage], do: Callable[[Stage], Done]) -> str:
    """Run the stages in order and finish the run.

    Parameters
    ----------
    run
        The run, whose lock this process holds.
    settings
        Its settings.
    chosen
        The stages, in order.
    do
        Runs one of them with `run_stage` and whatever surrounds it.

    Returns
    -------
    str
        Why the run ended early and was discarded; empty if it is finished.
    """
    for stage in chosen:
        if not stage.applies(run, settings):
            continue
        done = do(stage)
        if done.ends_run:
            run.discard()
            return done.ends_run
    if settings.dataset is not None:
        add_to_dataset(run, settings.dataset)
    run.finish()
    return ""


def run_stage(stage: Stage, run: RunFolder, settings: ScreenSettings, progress: Progress = no_progress) -> Done:
    """Run a stage unless it is done, and record in `run.json` that it is."""
    known = find_done(stage, run)
    if known is not None:
        progress(1, 1)
        return known
    return_large_blocks()
    start = time.perf_counter()
    if stage.shard is not None:
        _run_shards(stage, run, settings, progress)
    outcome = stage.run(Inputs(run, stage.reads, progress), settings)
    for name, text in outcome.files.items():
        run.write_text(name, text)
    for table in stage.writes[0 if stage.shard is None else 1 :]:
        run.write_table(table, outcome.tables[table])
    release_memory()
    # Only now does the stage count as done: if killed earlier, it is repeated from the same tables.
    seconds = time.perf_counter() - start
    run.record(stage.name, seconds, outcome.counts, outcome.ends_run)
    progress(1, 1)
    return Done(seconds, outcome.counts, outcome.ends_run)


def find_done(stage: Stage, run: RunFolder) -> Done | None:
    """The record of a finished stage; None if it is not done yet."""
    entry = run.info["stages"].get(stage.name)
    if entry is None or not all(run.has_table(table) for table in stage.writes):
        return None
    return Done(entry["seconds"], entry["counts"], entry.get("ends_run", ""))


def shards_to_do(stage: Stage, run: RunFolder, settings: ScreenSettings) -> list[Shard]:
    """Shards of a stage that are still to be computed or merged; none if the stage has no shards or is past them."""
    return [] if stage.shard is None or run.has_table(stage.writes[0]) else plan_shards(stage, run, settings)


def plan_shards(stage: Stage, run: RunFolder, settings: ScreenSettings) -> list[Shard]:
    """Split the candidates that a stage takes into shards."""
    n_candidates = len(stage.takes(run))
    size = settings.prediction.shard_size
    starts = range(0, n_candidates, size)
    return [Shard(index, start, min(start + size, n_candidates)) for index, start in enumerate(starts)]


def run_shard(
    stage: Stage,
    run: RunFolder,
    settings: ScreenSettings,
    shard: Shard,
    on_batch: Callable[[int], None] = lambda _: None,
    prepared: Prepared | None = None,
) -> int:
    """Run one shard of a stage, which may be prepared, unless it is on disk; return the number of predictions."""
    return_large_blocks()  # this may be a worker that runs nothing else
    n_predictions = (shard.stop - shard.start) * stage.n_models(settings)
    ready = prepared or _prepare_shard(stage, run, settings, shard)
    if ready is None:
        on_batch(n_predictions)
        return n_predictions
    assert stage.shard is not None
    run.write_shard(stage.writes[0], shard.index, stage.shard(ready, settings, on_batch))
    release_memory()  # that of the threads of this shard, which no others use
    return n_predictions


def _prepare_shard(stage: Stage, run: RunFolder, settings: ScreenSettings, shard: Shard) -> Prepared | None:
    """The crystals of a shard, ready for its networks; None if it is on disk."""
    table = stage.writes[0]
    if run.has_table(table) or run.has_shard(table, shard.index):
        return None
    assert stage.prepare is not None
    rows = stage.takes(run)[shard.start : shard.stop]
    prepared = stage.prepare(run.crystals_at(rows), settings, run.sizes_at(rows))
    release_memory()  # several times what is left was needed on the way
    return prepared


def _run_shards(stage: Stage, run: RunFolder, settings: ScreenSettings, progress: Progress) -> None:
    """Run the missing shards of a stage and merge all."""
    table = stage.writes[0]
    if run.has_table(table):
        return
    shards = plan_shards(stage, run, settings)
    on_batch = adding_up(progress, stage.n_models(settings) * sum(shard.stop - shard.start for shard in shards))
    with ThreadPoolExecutor(max_workers=1) as ahead:
        # Graphs are built by one core while the networks keep the others busy with the shard before.
        coming = [ahead.submit(_prepare_shard, stage, run, settings, shard) for shard in shards[:1]]
        for number, shard in enumerate(shards, 1):
            prepared = coming.pop().result()
            coming = [
                ahead.submit(_prepare_shard, stage, run, settings, shard) for shard in shards[number : number + 1]
            ]
            run_shard(stage, run, settings, shard, on_batch, prepared)
    run.merge_shards(table, len(shards), more=stage.more(run, settings))
