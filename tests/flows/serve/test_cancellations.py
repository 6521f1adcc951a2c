"""A cancelled run is heard of however the events of the server ended, and however long it was away."""

import asyncio
import uuid
from types import SimpleNamespace

import httpx
import pytest

from flows.serve.cancellations import PatientObserver

LONG = 7


class Client:
    """Refuses connections at first, then knows of one run that is to be cancelled."""

    def __init__(self, run_id):
        self.run_id, self.n_asked = run_id, 0

    async def read_flow_runs(self, flow_run_filter):
        self.n_asked += 1
        if self.n_asked <= LONG:
            raise httpx.ConnectError("All connection attempts failed")
        is_by_type = flow_run_filter.state.name is None  # the other question is about an old way to cancel
        return [SimpleNamespace(id=self.run_id)] if is_by_type and self.run_id in flow_run_filter.id.any_ else []


async def cut():
    raise ConnectionResetError("cut")


async def closed():
    return None


async def given_up():
    raise RuntimeError("Service exceeded error threshold.")


@pytest.mark.parametrize(
    ("end", "told"),
    [(cut, "_start_polling_task"), (closed, "_start_polling_task"), (given_up, "_handle_polling_task_done")],
)
def test_a_cancelled_run_is_heard_of_after_the_server_was_away(end, told):
    async def observe():
        heard, run_id = asyncio.Queue(), uuid.uuid4()
        observer = PatientObserver(on_cancelling=heard.put_nowait, polling_interval=0.01)
        observer._client = Client(run_id)
        observer.add_in_flight_flow_run_id(run_id)
        task = asyncio.create_task(end())
        task.add_done_callback(getattr(observer, told))
        async with asyncio.timeout(10):
            assert await heard.get() == run_id
        await asyncio.sleep(0.1)
        await observer.__aexit__(None, None, None)
        return heard.empty(), observer._polling_task.cancelled()

    assert asyncio.run(observe()) == (True, True)


def test_an_observer_that_is_ended_does_not_start_again():
    async def observe():
        observer = PatientObserver(on_cancelling=pytest.fail)
        task = asyncio.create_task(asyncio.sleep(60))
        task.add_done_callback(observer._start_polling_task)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        return observer._polling_task

    assert asyncio.run(observe()) is None
