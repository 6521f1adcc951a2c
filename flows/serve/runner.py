"""The process that serves the deployments and starts their flow runs until it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, PREFECT_RUNNER_POLL_FREQUENCY, temporary_settings
from prefect.states import Crashed

from flows.screen import FLOW_NAME
from flows.serve.deployments import screen_deployment, watch_deployment
from flows.serve.watch import WATCH_FLOW_NAME
from flows.settings import ScreenSettings

# A served run starts at the next poll; Prefect's default of 10 s is a long wait in the UI.
POLL_FREQUENCY_S = 2


def serve_deployments(settings: ScreenSettings, api_url: str, on_ready: Callable[[], None]) -> None:
    """Serve both deployments to a Prefect server until Ctrl-C or SIGTERM.

    Parameters
    ----------
    settings
        Parameters of the flow runs, and their schedules.
    api_url
        The server.
    on_ready
        Called when everything is registered.
    """
    # Flow runs are separate processes and find the server through their environment.
    os.environ["PREFECT_API_URL"] = api_url
    with temporary_settings({PREFECT_API_URL: api_url}, set_defaults={PREFECT_RUNNER_POLL_FREQUENCY: POLL_FREQUENCY_S}):
        # A screen uses all cores, so runs are executed one at a time; others wait in the queue.
        runner = Runner(pause_on_shutdown=True, limit=1)
        runner.add_deployment(screen_deployment(settings))
        runner.add_deployment(watch_deployment(settings))
        # Prefect's own handler ends the process before flow runs are notified; Ctrl-C shuts down in order.
        runner.handle_sigterm = _pass_on_as_interrupt  # type: ignore[method-assign]
        close_abandoned_runs()
        on_ready()
        with suppress(KeyboardInterrupt):
            asyncio.run(runner.start())


def _pass_on_as_interrupt(*_: object) -> None:
    """Interrupt this process and its flow runs, as Ctrl-C in a terminal does."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(child.pid) == os.getpgrp():  # the server is in its own process group: it stops last
                child.send_signal(signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)


def close_abandoned_runs() -> int:
    """Mark flow runs that an earlier server left in state Running as crashed; return how many.

    Only for a server that was just started here, when nothing can be running yet. The next run with the
    same settings resumes their run folders.
    """
    active = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    with get_client(sync_client=True) as client:
        abandoned = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW_NAME, WATCH_FLOW_NAME])),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=active)),
        )
        for flow_run in abandoned:
            message = "The server stopped while this ran; a new run with the same settings resumes it."
            client.set_flow_run_state(flow_run.id, Crashed(message=message), force=True)
    return len(abandoned)
