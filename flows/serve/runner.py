"""The process that serves the deployments and starts their flow runs until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress

import prefect.runner.runner
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
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_HOME,
    PREFECT_RUNNER_POLL_FREQUENCY,
    PREFECT_UI_URL,
    temporary_settings,
)
from prefect.states import Crashed

from flows.serve.api_secret import AUTH_VARIABLE
from flows.serve.cancellations import PatientObserver
from flows.serve.deployments import FLOW_NAMES, deployments
from flows.serve.notifications import set_up_notifications
from flows.settings import ScreenSettings

# A served run starts at the next poll; Prefect's default of 10 s is a long wait in the UI.
POLL_FREQUENCY_S = 2
# The waits double: two minutes for a server that is started again, where Prefect's default gives it half a minute.
MAX_RETRIES = 6


def serve_deployments(settings: ScreenSettings, environment: Mapping[str, str], on_ready: Callable[[], None]) -> None:
    """Serve the deployments to a Prefect server until Ctrl-C, SIGTERM or SIGHUP.

    Parameters
    ----------
    settings
        Parameters of the flow runs, and their schedules.
    environment
        How the server is reached, from `prefect_server`.
    on_ready
        Called when everything is registered.
    """
    # Flow runs are separate processes and find the server through their environment.
    os.environ.update(environment)
    chosen = {
        PREFECT_API_URL: environment["PREFECT_API_URL"],
        PREFECT_HOME: environment["PREFECT_HOME"],
        PREFECT_UI_URL: environment["PREFECT_UI_URL"],
        PREFECT_API_AUTH_STRING: environment.get(AUTH_VARIABLE),
    }
    defaults = {PREFECT_RUNNER_POLL_FREQUENCY: POLL_FREQUENCY_S, PREFECT_CLIENT_MAX_RETRIES: MAX_RETRIES}
    with temporary_settings(chosen, set_defaults=defaults):
        # Where the runner finds it: it takes none as an argument.
        prefect.runner.runner.FlowRunCancellingObserver = PatientObserver  # type: ignore[misc]
        # A screen uses all cores, so runs are executed one at a time; others wait in the queue.
        runner = Runner(pause_on_shutdown=True, limit=1)
        logging.getLogger("prefect.runner").addFilter(_SaidOnce())
        for deployment in deployments(settings):
            runner.add_deployment(deployment)
        # Prefect's own handler ends the process before flow runs are notified; Ctrl-C shuts down in order.
        runner.handle_sigterm = _pass_on_as_interrupt  # type: ignore[method-assign]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, _pass_on_as_interrupt)
        close_abandoned_runs()
        with get_client(sync_client=True) as client:
            set_up_notifications(client, FLOW_NAMES)
        on_ready()
        with suppress(KeyboardInterrupt):
            asyncio.run(runner.start())


class _SaidOnce(logging.Filter):
    """Says that runs wait for the one that is running once for each number of them, not at every poll."""

    def __init__(self) -> None:
        super().__init__()
        self._last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "skipped (at capacity)" not in message:
            return True
        is_new, self._last = message != self._last, message
        return is_new


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
            flow_filter=FlowFilter(name=FlowFilterName(any_=FLOW_NAMES)),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=active)),
        )
        for flow_run in abandoned:
            message = "The server stopped while this ran; a new run with the same settings resumes it."
            client.set_flow_run_state(flow_run.id, Crashed(message=message), force=True)
    return len(abandoned)
