"""The process that serves the deployments: it starts their flow runs until it is told to stop."""

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

# A served run starts at the next poll: with Prefect's 10 s a person waits and wonders.
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
        Called once everything is registered.
    """
    # Flow runs are processes of their own and find the server in their environment.
    os.environ["PREFECT_API_URL"] = api_url
    with temporary_settings({PREFECT_API_URL: api_url}, set_defaults={PREFECT_RUNNER_POLL_FREQUENCY: POLL_FREQUENCY_S}):
        # A screen uses all cores: one at a time, others wait in the queue.
        runner = Runner(pause_on_shutdown=True, limit=1)
        runner.add_deployment(screen_deployment(settings))
        runner.add_deployment(watch_deployment(settings))
        # Prefect's own handler ends the process before flow runs are told; Ctrl-C takes the orderly way.
        runner.handle_sigterm = _pass_on_as_interrupt  # type: ignore[method-assign]
        close_abandoned_runs()
        on_ready()
        with suppress(KeyboardInterrupt):
            asyncio.run(runner.start())


def _pass_on_as_interrupt(*_: object) -> None:
    """Do to this process and its flow runs what Ctrl-C in a terminal does to all of them."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(child.pid) == os.getpgrp():  # the server has a group of its own: it stops last
                child.send_signal(signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)


def close_abandoned_runs() -> int:
    """Mark flow runs that an earlier server left running as crashed; return how many.

    Only for a server that was just started here: nothing can run yet. Their run folders are taken
    up by the next run with the same settings.
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
