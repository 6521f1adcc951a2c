"""The screen as a Prefect flow: the stages of `flows.pipeline` as tasks, with retries, caching and artifacts.

A task takes paths, hashes and settings, never a table or a model, and runs a shard of the candidates or a whole stage.
Its cache key consists of these inputs and its source code, so a restarted flow run skips what it has finished.
"""

from __future__ import annotations

from prefect import State, flow, get_run_logger, runtime
from prefect.states import Completed

from flows import pipeline
from flows.parameters import Assignment, ConfigFile, Limit, Source, settings_of_run
from flows.pipeline import Done, Stage
from flows.prefect_runs import artifacts
from flows.prefect_runs.announcements import announce_picks
from flows.prefect_runs.flow_runs import ended_in_words, link_to_run, turn, words_of_waiting
from flows.settings import ScreenSettings
from flows.shards import Run, pipeline_task, run_shards
from flows.source_words import short_word, source_word
from flows.stages.remote_jobs import waiting_jobs
from screening.runs.folder import RunFolder
from screening.settings import SourceKind

FLOW_NAME = "screen-gapped-metals"
# Concurrency limits of a server, and the tag of runs that keep them: those of a work pool.
MP_API_LIMIT, DFT_LIMIT = "mp-api", "dft"
LIMITED_TAG = "limited"


def run_name() -> str:
    """Name of a run before its release is known, e.g. "screen mp new-only"."""
    given = runtime.flow_run.parameters
    only_new = bool(given.get("only_new") or given.get("release"))
    return _name(short_word(given.get("source") or "") or "as-served", only_new=only_new)


def _name(source: str, release: str = "", *, only_new: bool) -> str:
    return " ".join(filter(None, ("screen", source, release, "new-only" if only_new else "")))


@flow(
    name=FLOW_NAME,
    description="From crystals to a ranked list of gapped metals, DFT of the best, precision and recall.",
    flow_run_name=run_name,
)
def screen_gapped_metals(
    source: Source | None = None,
    limit: Limit | None = None,
    only_new: bool | None = None,
    run_dft: bool | None = None,
    config: ConfigFile = None,
    set: list[Assignment] = [],  # noqa: A002, B006  the word of the command line; Prefect shows the default in its form
    release: str | None = None,
) -> str | State[str]:
    """Screen a source of crystals for gapped metals; return the folder of the result tables, or why nothing was kept.

    A run that has submitted its DFT jobs to another machine ends in the state "Waiting for N jobs"; the flow collect-dft
    fetches them.

    All parameters are laid over the settings with which the screen was served; what is left empty stays as served.

    Parameters
    ----------
    source
        catalogue, materials-project, materials-project-open, a Parquet table, a folder, pattern or file of crystals, or
        identifiers such as mp-149.
    limit
        Only the first this many materials of the source; empty: all.
    only_new
        Screen only what no previous run has screened.
    run_dft
        Run the DFT jobs, or only queue them.
    config
        YAML file with settings, on the machine of the run.
    set
        Further settings as KEY=VALUE, e.g. gap.min_width_ev=1.2.
    release
        Release of the database that the watcher found: only what is new or changed since previous runs is screened.
    """
    settings = settings_of_run(source, limit, only_new if release is None else True, run_dft, config, set)
    with turn(MP_API_LIMIT, wanted=_is_limited() and settings.source.kind is SourceKind.MATERIALS_PROJECT):
        opened = pipeline.open_run(settings)
    with opened as folder, ended_in_words():
        run = describe(folder, settings)
        nothing = pipeline.run_stages(
            folder, settings, pipeline.stages_of(settings), lambda stage: do_stage(run, stage)
        )
    if nothing:
        get_run_logger().info(nothing)
        return nothing
    artifacts.publish(folder)
    announce_picks(folder)
    waiting = waiting_jobs(folder.path)
    if waiting:
        name, message = words_of_waiting(waiting)
        get_run_logger().info(message)
        return Completed(name=name, message=message, data=run.path)
    return run.path


def describe(folder: RunFolder, settings: ScreenSettings) -> Run:
    """What tasks need to know of a run."""
    get_run_logger().info("The tables of this run are in %s", folder.path)
    source = short_word(source_word(settings.source.kind, settings.source.path))
    link_to_run(folder, _name(source, folder.info["db_version"], only_new=settings.only_new))
    return Run.of(folder, settings)


def do_stage(run: Run, stage: Stage) -> Done:
    """Run a stage: a task for each of its shards, and one for the rest."""
    shards = pipeline.shards_to_do(stage, run.folder, run.settings)
    if shards:
        with artifacts.progress(stage.title) as report:
            run_shards(run, stage.name, shards, lambda n_done: report(n_done, len(shards)))
    is_gone = pipeline.find_done(stage, run.folder) is None
    with turn(DFT_LIMIT, wanted=_is_limited() and stage.needs_dft):
        done = run_stage.with_options(task_run_name=stage.name, refresh_cache=is_gone)(run, stage.name)
    get_run_logger().info("%s: %.1f s, %s", stage.title, done.seconds, _in_words(done.counts))
    return done


def _is_limited() -> bool:
    """Whether this run shares a work pool, whose limits it keeps."""
    return LIMITED_TAG in (runtime.flow_run.tags or [])


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in counts.items()) or "done"


@pipeline_task
def run_stage(run: Run, stage: str) -> Done:
    """Run a stage, or what remains of it after its shards."""
    chosen = pipeline.BY_NAME[stage]
    with artifacts.progress(chosen.title) as report:
        return pipeline.run_stage(chosen, run.folder, run.settings, report)


if __name__ == "__main__":
    screen_gapped_metals()
