"""DFT jobs on other machines through jobflow-remote: submitted once, collected by material and settings.

jobflow-remote needs a MongoDB server and a version of pymongo that conflicts with this package's environment, so it is
imported only here, when used. The job that is submitted is the one that runs locally: `EdosMaker.make`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from dft_validation.engines import choose_engine
from dft_validation.queue.store import JobQueue, QueuedJob
from dft_validation.queue.unwritten import Unwritten
from dft_validation.queue.workers import renamed, settings_of
from dft_validation.results.cache import DocumentCache, Outcome, outcome_of_dict
from dft_validation.results.outcomes import FailedJob, JobStatus
from dft_validation.settings import DftSettings, RemoteSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.cell import cell_of
from mat2spec.crystals.identity import structure_hash

FINISHED_STATE = "COMPLETED"
FAILED_STATES = frozenset({"FAILED", "REMOTE_ERROR", "STOPPED", "USER_STOPPED"})
# States of the jobs of a flow, the most telling first, and what they are called here.
_OPEN_THERE = {
    "PAUSED": "paused",
    "RUNNING": "running",
    "BATCH_RUNNING": "running",
    "RUN_FINISHED": "running: its results are being fetched",
    "DOWNLOADED": "running: its results are being fetched",
    "SUBMITTED": "queued: in the batch system",
    "BATCH_SUBMITTED": "queued: in the batch system",
    "UPLOADED": "queued: inputs uploaded",
    "CHECKED_OUT": "queued: being prepared by the runner",
    "READY": "queued: for the runner (`jf runner start`)",
    "WAITING": "waiting: for an earlier job of its flow",
}
# The settings hash does not include the engine.
_METADATA = ("material_id", "settings_hash", "structure_hash", "engine")
_IS_OUTPUT = "is_output"
NOT_KNOWN_THERE = "The other machine no longer has this job; it was queued again."


class RemoteError(RuntimeError):
    """Jobs cannot be submitted or fetched; the message says why and what to do."""


class JobInfo(Protocol):
    """The part of jobflow-remote's job information that is used here."""

    uuid: str
    index: int
    state: Any
    error: str | None
    metadata: dict[str, Any] | None
    hosts: list[str] | None


class Controller(Protocol):
    """The part of jobflow-remote's JobController that is used here."""

    def get_jobs_info(self, custom_query: dict[str, Any]) -> list[JobInfo]:
        """Jobs that match a query of MongoDB."""
        ...

    def get_job_output(self, *, job_id: str, job_index: int) -> Any:
        """Output of a finished job."""
        ...


@dataclass(frozen=True)
class Collected:
    """Result of a collection.

    Parameters
    ----------
    ended
        Jobs that ended since the last collection, successfully or not.
    still_there
        Jobs that the other machine still has.
    """

    ended: int
    still_there: int


def submit(queue: JobQueue, crystals: Crystals, settings: DftSettings, remote: RemoteSettings) -> list[str]:
    """Submit the queued jobs not yet computed or submitted; return the materials submitted now.

    A job counts as submitted if the project holds one of the same material, structure, settings and engine, even if this
    process was killed between submitting and recording it. Jobs that were never tried because this machine lacks the
    engine are submitted too.

    Raises
    ------
    RemoteError
        If jobflow-remote is missing or refuses.
    """
    cache = DocumentCache(settings.cache_dir)
    row_of = {material_id: row for row, material_id in enumerate(crystals.material_ids)}
    with _sentences():
        controller = _controller(remote)
        queue.queue_untried(JobStatus.ENGINE_UNAVAILABLE)
        queued = [job for job in queue.jobs(JobStatus.QUEUED) if job.material_id in row_of]
        known = _known_there(controller, queued)
        sent = []
        for job in queued:
            own = settings_of(job, settings)
            structure = crystals.structure(row_of[job.material_id])
            cell = cell_of(structure)
            engine = choose_engine(own, cell.atomic_numbers.tolist())
            key = cache.key(cell, own, engine.version())
            if cache.load_valid(key, own) is not None:
                continue  # The next local run reads it.
            marks = {
                "material_id": job.material_id,
                "settings_hash": own.settings_hash,
                "structure_hash": structure_hash(cell),
                "engine": engine.name,
            }
            there = known.get(_mark(marks))
            if there is None or (job.again and _state(there) == FINISHED_STATE):
                queue.mark_submitted(job.material_id, _send(structure, marks, own, remote), key)
                sent.append(job.material_id)
            else:
                queue.mark_submitted(job.material_id, there.uuid, key)
    return sent


def collect(queue: JobQueue, settings: DftSettings, remote: RemoteSettings) -> Collected:
    """Fetch jobs that have ended; documents go into the cache, states into the queue.

    Raises
    ------
    RemoteError
        If jobflow-remote is missing or refuses.
    """
    waiting = queue.jobs(JobStatus.SUBMITTED)
    if not waiting:
        return Collected(0, 0)
    unwritten = Unwritten(queue, DocumentCache(settings.cache_dir))
    ended = 0
    with _sentences():
        controller = _controller(remote)
        infos = _newest(controller.get_jobs_info({"uuid": {"$in": [job.remote_id for job in waiting]}}))
        flows = _flows_of(controller, infos.values())
        stopped = _stopped(flows)
        for job in waiting:
            info = infos.get(job.remote_id)
            # A flow of several jobs stops at the one that failed; the output job then waits forever.
            info = next((stopped[host] for host in (info.hosts or [] if info else []) if host in stopped), info)
            if info is None:
                queue.put_back(job.material_id, JobStatus.SUBMITTED, NOT_KNOWN_THERE)
            elif _state(info) == FINISHED_STATE:
                unwritten.write(job, job.cache_key, _fetch(controller, job, info))
                ended += 1
            elif _state(info) in FAILED_STATES:
                queue.end(job.material_id, JobStatus.CRASHED, _failure(info))
                ended += 1
            else:
                queue.note(
                    job.material_id,
                    _say_state([info, *chain.from_iterable(flows.get(host, []) for host in info.hosts or [])]),
                )
    unwritten.write_at_last()
    return Collected(ended, len(queue.jobs(JobStatus.SUBMITTED)))


def _controller(remote: RemoteSettings) -> Controller:
    """The project's database of jobs."""
    return _jobflow_remote().JobController.from_project_name(remote.project or None)


def _jobflow_remote() -> Any:
    try:
        import jobflow_remote
    except ImportError as error:
        raise RemoteError(
            "jobflow-remote is not installed. It needs an older pymongo than this environment and a MongoDB server: "
            "create a separate environment, `pip install jobflow-remote` and this package there without "
            "constraints.txt, and see docs/remote.md for the project file."
        ) from error
    return jobflow_remote


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn errors of jobflow-remote or its database into sentences."""
    try:
        yield
    except (RemoteError, OSError):
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"jobflow_remote", "pymongo", "paramiko", "fabric"}:
            raise
        raise RemoteError(
            f"jobflow-remote failed: {type(error).__name__}: {str(error).splitlines()[0]}. `jf project check` shows "
            "whether the project, its workers and its database can be reached."
        ) from error


def _send(structure: Any, marks: Mapping[str, str], settings: DftSettings, remote: RemoteSettings) -> str:
    """Submit one crystal; return the identifier of the job whose output is the outcome."""
    from jobflow.core.flow import get_flow

    from dft_validation.jobs.maker import EdosMaker

    # The folder of results exists only on this machine.
    maker = EdosMaker(settings=settings.model_dump(mode="json", exclude={"cache_dir"}))
    made = maker.make(structure, marks["material_id"])
    output = str(made.output.uuid)
    flow: Any = get_flow(made)
    # In a flow of several jobs only one returns the outcome.
    for job, _ in flow.iterflow():
        job.update_metadata({**marks, _IS_OUTPUT: job.uuid == output})
    _jobflow_remote().submit_flow(
        flow,
        worker=remote.worker or None,
        project=remote.project or None,
        exec_config=remote.exec_config or None,
        resources=remote.resources or None,
    )
    return output


def _known_there(controller: Controller, queued: list[QueuedJob]) -> dict[tuple[str, ...], JobInfo]:
    """Jobs of these materials in the project that did not fail, by their marks."""
    names = [job.material_id for job in queued]
    infos = _newest(controller.get_jobs_info({"job.metadata.material_id": {"$in": names}})) if names else {}
    outputs = [info for info in infos.values() if (info.metadata or {}).get(_IS_OUTPUT)]
    stopped = _stopped(_flows_of(controller, outputs))
    return {
        _mark(info.metadata or {}): info
        for info in outputs
        if _state(info) not in FAILED_STATES and not any(host in stopped for host in info.hosts or [])
    }


def _flows_of(controller: Controller, infos: Iterable[JobInfo]) -> dict[str, list[JobInfo]]:
    """All jobs of each flow that has not finished, by the flow's identifier."""
    hosts = sorted({host for info in infos if _state(info) != FINISHED_STATE for host in info.hosts or []})
    jobs = _newest(controller.get_jobs_info({"job.hosts": {"$in": hosts}})) if hosts else {}
    flows: dict[str, list[JobInfo]] = {}
    for info in jobs.values():
        for host in info.hosts or []:
            flows.setdefault(host, []).append(info)
    return flows


def _stopped(flows: Mapping[str, Iterable[JobInfo]]) -> dict[str, JobInfo]:
    """The failed job of each flow that has one, by the flow's identifier."""
    return {host: info for host, jobs in flows.items() for info in jobs if _state(info) in FAILED_STATES}


def _say_state(jobs: Iterable[JobInfo]) -> str:
    """What a flow is doing, from the states of its jobs."""
    states = {_state(job) for job in jobs}
    known = (words for state, words in _OPEN_THERE.items() if state in states)
    return next(known, f"{', '.join(sorted(states)).lower()} on the other machine")


def _newest(infos: Iterable[JobInfo]) -> dict[str, JobInfo]:
    """The last run of each job."""
    return {info.uuid: info for info in sorted(infos, key=lambda info: info.index)}


def _mark(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(metadata.get(name, "")) for name in _METADATA)


def _state(info: JobInfo) -> str:
    return str(getattr(info.state, "value", info.state))


def _failure(info: JobInfo) -> str:
    lines = (info.error or "").strip().splitlines()
    return f"It ended as {_state(info)} on the other machine: {lines[-1] if lines else 'no error is known'}"


def _fetch(controller: Controller, job: QueuedJob, info: JobInfo) -> Outcome:
    output = controller.get_job_output(job_id=info.uuid, job_index=info.index)
    outcome = outcome_of_dict(output) if isinstance(output, dict) else output
    if isinstance(outcome, FailedJob) or outcome.material_id != job.material_id:
        return renamed(outcome, job.material_id)
    return outcome
