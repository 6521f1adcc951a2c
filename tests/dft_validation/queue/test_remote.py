"""Jobs on other machines: submitted once, collected by material and settings; a stub stands in for jobflow-remote."""

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
from monty.json import MontyDecoder, MontyEncoder

from dft_validation import JobStatus, engines, plan_jobs, run_jobs
from dft_validation.queue.plan import queue_rows
from dft_validation.queue.remote import RemoteError, collect, submit
from dft_validation.queue.store import JobQueue, QueuedJob
from dft_validation.results.cache import DocumentCache
from dft_validation.settings import RemoteSettings

REMOTE = RemoteSettings(project="hpc", worker="slurm", resources={"ntasks": 1})


class Machine:
    """The database of jobflow-remote: takes flows as JSON, as the network would, and runs them when told to."""

    def __init__(self):
        self.jobs = []
        self.calls = []

    def submit_flow(self, flow, **where):
        from jobflow.core.flow import get_flow

        self.calls.append(where)
        whole = get_flow(flow)
        for job, _ in whole.iterflow():
            self.jobs.append(
                SimpleNamespace(
                    uuid=job.uuid, index=1, state=SimpleNamespace(value="READY"), error=None, metadata=job.metadata,
                    hosts=[whole.uuid], text=json.dumps(job, cls=MontyEncoder), output=None,
                )
            )  # fmt: skip
        return [str(len(self.jobs))]

    def run(self, state="COMPLETED", error=None):
        from jobflow import JobStore
        from maggma.stores import MemoryStore

        store = JobStore(MemoryStore())
        store.connect()
        for job in self.jobs:
            if job.state.value == "READY":
                job.state = SimpleNamespace(value=state)
                job.error = error
                if state == "COMPLETED":
                    output = json.loads(job.text, cls=MontyDecoder).run(store).output
                    job.output = json.loads(json.dumps(output.as_dict()))

    def get_jobs_info(self, custom_query):
        ((name, condition),) = custom_query.items()
        values = {
            "uuid": lambda job: [job.uuid],
            "job.metadata.material_id": lambda job: [job.metadata.get("material_id")],
            "job.hosts": lambda job: job.hosts,
        }[name]
        return [job for job in self.jobs if set(values(job)) & set(condition["$in"])]

    def get_job_output(self, *, job_id, job_index):
        return next(job.output for job in self.jobs if (job.uuid, job.index) == (job_id, job_index))


def stand_in(monkeypatch):
    """A machine in place of jobflow-remote."""
    machine = Machine()
    stub = ModuleType("jobflow_remote")
    stub.submit_flow = machine.submit_flow
    stub.JobController = SimpleNamespace(from_project_name=lambda name: machine)
    monkeypatch.setitem(sys.modules, "jobflow_remote", stub)
    return machine


@pytest.fixture
def machine(monkeypatch):
    return stand_in(monkeypatch)


@pytest.fixture
def jobs(fake_engine, selection, crystals, settings):
    return plan_jobs(selection, crystals, settings)


@pytest.fixture
def queue(tmp_path, jobs):
    queue = JobQueue(tmp_path / "dft_queue.sqlite")
    queue.add(queue_rows(jobs))
    return queue


def test_jobs_go_out_once_and_come_back_as_if_computed_here(machine, queue, jobs, crystals, settings, fake_engine):
    assert submit(queue, crystals, settings, REMOTE) == ["na", "al", "mg", "k"]
    assert machine.calls[0] == {
        "worker": "slurm", "project": "hpc", "exec_config": None, "resources": {"ntasks": 1}
    }  # fmt: skip
    assert queue.counts() == {JobStatus.SUBMITTED: 4}
    assert submit(queue, crystals, settings, REMOTE) == []
    assert collect(queue, settings, REMOTE).still_there == 4

    machine.run()
    assert (collect(queue, settings, REMOTE).ended, queue.counts()) == (4, {JobStatus.OK: 4})
    assert fake_engine.runs == 4
    outcomes = run_jobs(jobs, crystals, settings, queue=queue)
    assert [outcome.material_id for outcome in outcomes] == ["na", "mg", "al", "k"]
    assert {outcome.settings_hash for outcome in outcomes} == {settings.settings_hash}
    assert fake_engine.runs == 4
    assert collect(queue, settings, REMOTE).still_there == 0


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("WAITING", "waiting"), ("READY", "queued"), ("CHECKED_OUT", "queued"), ("UPLOADED", "queued"),
        ("SUBMITTED", "queued"), ("RUNNING", "running"), ("DOWNLOADED", "running"), ("PAUSED", "paused"),
    ],
)  # fmt: skip
def test_every_state_there_has_a_word_here(there, here, machine, queue, crystals, settings):
    submit(queue, crystals, settings, REMOTE)
    for job in machine.jobs:
        job.state = SimpleNamespace(value=there)
    assert collect(queue, settings, REMOTE).still_there == 4
    assert {job.reason.partition(":")[0] for job in queue.jobs()} == {here}
    assert queue.counts() == {JobStatus.SUBMITTED: 4}


def test_what_travels_names_material_and_settings_and_no_folder_of_this_machine(machine, queue, crystals, settings):
    submit(queue, crystals, settings, REMOTE)
    assert machine.jobs[0].metadata["material_id"] == "na"
    assert machine.jobs[0].metadata["settings_hash"] == settings.settings_hash
    assert str(settings.cache_dir) not in machine.jobs[0].text


def test_a_job_that_was_sent_before_the_process_died_is_not_sent_again(machine, queue, crystals, settings):
    submit(queue, crystals, settings, REMOTE)
    # The note of it was lost, or another run of the same materials has sent them.
    for job in queue.jobs():
        assert queue.put_back(job.material_id, JobStatus.SUBMITTED)
    assert submit(queue, crystals, settings, REMOTE) == []
    assert len(machine.jobs) == 4
    machine.run()
    assert collect(queue, settings, REMOTE).ended == 4


def test_other_settings_are_other_jobs(machine, queue, crystals, settings, tmp_path, jobs):
    submit(queue, crystals, settings, REMOTE)
    denser = settings.model_copy(update={"kpoint_density": 100.0})
    other = JobQueue(tmp_path / "other.sqlite")
    other.add(queue_rows(jobs))
    assert len(submit(other, crystals, denser, REMOTE)) == 4
    machine.run()
    collect(queue, settings, REMOTE)
    collect(other, denser, REMOTE)
    documents = list(DocumentCache(settings.cache_dir).documents())
    assert len({(document.material_id, document.settings_hash) for document in documents}) == 8


def test_another_engine_is_another_job(machine, queue, crystals, settings, tmp_path, jobs, fake_engine):
    """Both have the same settings hash: a result of one engine must not be taken for one of the other."""
    engines.register_engine(replace(engines.get_engine("fake"), name="other"))
    submit(queue, crystals, settings, REMOTE)
    other = JobQueue(tmp_path / "other.sqlite")
    other.add(queue_rows(jobs))
    assert len(submit(other, crystals, settings.model_copy(update={"engine": "other"}), REMOTE)) == 4
    assert len(machine.jobs) == 8


def test_what_this_machine_lacks_the_engine_for_is_sent_and_not_again_when_it_is_missing_there_too(
    machine, crystals, settings, selection, tmp_path, fake_engine
):
    engines.register_engine(replace(engines.get_engine("fake"), package="no_such_package"))
    jobs = plan_jobs(selection, crystals, settings)
    assert set(jobs["status"]) == {"engine_unavailable"}
    queue = JobQueue(tmp_path / "queue.sqlite")
    queue.add(queue_rows(jobs))
    assert len(submit(queue, crystals, settings, REMOTE)) == 4
    machine.run()
    collect(queue, settings, REMOTE)
    assert queue.counts() == {JobStatus.ENGINE_UNAVAILABLE: 4}
    assert submit(queue, crystals, settings, REMOTE) == []


def test_what_is_known_here_is_not_sent(machine, queue, jobs, crystals, settings):
    run_jobs(jobs[:2], crystals, settings)
    assert submit(queue, crystals, settings, REMOTE) == ["al", "k"]


def test_a_failure_there_is_a_state_with_its_reason_and_can_be_retried(machine, queue, crystals, settings):
    submit(queue, crystals, settings, REMOTE)
    machine.run("FAILED", "Traceback\nslurmstepd: Exceeded job memory limit")
    assert collect(queue, settings, REMOTE).ended == 4
    assert queue.counts() == {JobStatus.CRASHED: 4}
    assert "memory limit" in queue.jobs()[0].reason
    queue.retry([JobStatus.CRASHED])
    assert len(submit(queue, crystals, settings, REMOTE)) == 4
    assert len(machine.jobs) == 8


def test_an_unconverged_job_comes_back_as_such_and_a_retry_does_not_find_the_old_one(
    machine, queue, crystals, settings, fake_engine
):
    fake_engine.use("unconverged")
    submit(queue, crystals, settings, REMOTE)
    machine.run()
    collect(queue, settings, REMOTE)
    assert queue.counts() == {JobStatus.UNCONVERGED: 4}
    queue.retry([JobStatus.UNCONVERGED])
    assert len(submit(queue, crystals, settings, REMOTE)) == 4


def test_a_flow_that_stopped_before_its_last_job_is_a_failure(machine, queue, crystals, settings):
    submit(queue, crystals, settings, REMOTE)
    output = machine.jobs[0]
    machine.jobs.append(
        SimpleNamespace(
            uuid="static", index=1, state=SimpleNamespace(value="REMOTE_ERROR"), error="no POTCAR", output=None,
            metadata={**output.metadata, "is_output": False}, hosts=output.hosts,
        )
    )  # fmt: skip
    assert (collect(queue, settings, REMOTE).ended, collect(queue, settings, REMOTE).still_there) == (1, 3)
    assert "no POTCAR" in queue.jobs(JobStatus.CRASHED)[0].reason
    queue.retry([JobStatus.CRASHED])
    assert submit(queue, crystals, settings, REMOTE) == ["na"]


def test_a_job_that_was_deleted_there_is_queued_again(machine, queue, crystals, settings):
    submit(queue, crystals, settings, REMOTE)
    machine.jobs.clear()
    collect(queue, settings, REMOTE)
    assert queue.counts() == {JobStatus.QUEUED: 4}
    assert "no longer has this job" in queue.jobs()[0].reason


def test_without_jobflow_remote_a_sentence_says_what_to_install(queue, crystals, settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "jobflow_remote", None)
    queue.add([QueuedJob("more", JobStatus.ENGINE_UNAVAILABLE, "not here")])
    with pytest.raises(RemoteError, match="pip install jobflow-remote"):
        submit(queue, crystals, settings, REMOTE)
    assert [job.reason for job in queue.jobs(JobStatus.ENGINE_UNAVAILABLE)] == ["not here"]
    assert queue.counts() == {JobStatus.QUEUED: 4, JobStatus.ENGINE_UNAVAILABLE: 1}


def test_a_database_that_does_not_answer_is_a_sentence(machine, queue, crystals, settings, monkeypatch):
    from pymongo.errors import ServerSelectionTimeoutError

    def refuse(*_, **__):
        raise ServerSelectionTimeoutError("localhost:27017: connection refused")

    submit(queue, crystals, settings, REMOTE)
    monkeypatch.setattr(machine, "get_jobs_info", refuse)
    with pytest.raises(RemoteError, match="jf project check"):
        collect(queue, settings, REMOTE)
    assert queue.counts() == {JobStatus.SUBMITTED: 4}
