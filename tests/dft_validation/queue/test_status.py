"""Counts, reasons and the remaining time."""

import pytest

from dft_validation.queue.cost import time_to_finish_s
from dft_validation.queue.status import queue_status
from dft_validation.queue.store import JobQueue, QueuedJob
from dft_validation.results.outcomes import JobStatus


def queue_of(*estimates):
    queue = JobQueue()
    queue.add(
        QueuedJob(f"m{index}", JobStatus.QUEUED, estimated_cpu_seconds=estimate)
        for index, estimate in enumerate(estimates)
    )
    return queue


def test_an_empty_queue_has_nothing_left():
    status = queue_status(JobQueue(), workers=2)
    assert (status.counts, status.n_open, status.eta_s) == ({}, 0, 0.0)


def test_jobs_are_dealt_to_the_workers_in_their_order():
    assert time_to_finish_s([10, 10, 10, 30], workers=2) == 40
    assert time_to_finish_s([10, 10, 10], workers=1) == 30
    assert time_to_finish_s([], workers=4) == 0


def test_finished_jobs_correct_the_estimate_of_those_that_are_left():
    queue = queue_of(10, 10, 10, 20)
    assert queue_status(queue, workers=1).eta_s == 50
    for name, spent in (("m0", 20), ("m1", 20), ("m2", 50)):
        queue.end(name, JobStatus.OK, "", spent)
    status = queue_status(queue, workers=1)
    assert status.correction == 2.0
    assert (status.remaining_cpu_seconds, status.eta_s) == (40, 40)
    assert status.spent_cpu_seconds == 90


def test_a_job_without_an_estimate_counts_as_one_like_the_others():
    assert queue_status(queue_of(10, None, 20), workers=1).remaining_cpu_seconds == pytest.approx(45)
    assert queue_status(queue_of(None), workers=1).eta_s is None


def test_each_type_of_failure_comes_with_the_reason_of_its_first_job():
    queue = queue_of(1, 1, 1, 1)
    queue.end("m0", JobStatus.CRASHED, "first")
    queue.end("m1", JobStatus.CRASHED, "second")
    queue.end("m2", JobStatus.DISK_FULL, "no space")
    status = queue_status(queue, workers=1)
    assert status.counts == {JobStatus.QUEUED: 1, JobStatus.CRASHED: 2, JobStatus.DISK_FULL: 1}
    assert status.reasons == {JobStatus.CRASHED: "first", JobStatus.DISK_FULL: "no space"}
    assert status.n_open == 1
