"""Prefect's view of a run beside its folder: what may be missing without harm to the run."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from prefect import get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import MissingContextError, TerminationSignal
from prefect.states import Completed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from screening.runs.folder import RunFolder

RUN_TAG = "run"
LINK_NAME = "prefect"


@contextmanager
def only_display(what: str) -> Iterator[None]:
    """Let what Prefect cannot show be missing, and say so in the log: neither a server nor a table may end a run here."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  a server, or a proxy before it, can answer anything
        logger().warning("Prefect does not show %s: %s: %s", what, type(error).__name__, error)


@contextmanager
def ended_in_words() -> Iterator[None]:
    """Let the signal with which Prefect ends a flow run say what it means: `run.json` keeps its words as the reason."""
    try:
        yield
    except TerminationSignal as ended:
        ended.args = ("The flow run was cancelled, or its process was told to end.",)
        raise


def logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The logger of the flow run, or a plain one outside of any."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)


def link_to_run(folder: RunFolder, name: str) -> None:
    """Name the flow run after its data, tag it with its run folder, and note the flow run in `run.json`."""
    flow_run_id = runtime.flow_run.get_id()
    if flow_run_id is None:
        return
    with only_display("the name of the run"), get_client(sync_client=True) as client:
        tags = [*(runtime.flow_run.get_tags() or []), f"{RUN_TAG}:{folder.run_id}"]
        client.update_flow_run(UUID(flow_run_id), name=name, tags=list(dict.fromkeys(tags)))
    address = runtime.flow_run.get_flow_run_ui_url() or ""
    folder.link(LINK_NAME, {"flow_run_id": flow_run_id, "name": name, "address": address})


def words_of_waiting(jobs: int) -> tuple[str, str]:
    """Name and message of the state of a run with so many jobs on another machine."""
    if not jobs:
        return "Completed", "All DFT jobs have been collected."
    noun = "job" if jobs == 1 else "jobs"
    return f"Waiting for {jobs} {noun}", f"Waiting for {jobs} DFT {noun} on another machine; collect-dft fetches them."


def show_waiting(folder: RunFolder, jobs: int) -> None:
    """Let the state of the flow run that made a run folder say for how many jobs it still waits."""
    flow_run_id = folder.info.get("links", {}).get(LINK_NAME, {}).get("flow_run_id")
    if flow_run_id is None:
        return
    name, message = words_of_waiting(jobs)
    with only_display("what the run waits for"), get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(flow_run_id), Completed(name=name, message=message), force=True)


@contextmanager
def turn(limit: str, *, wanted: bool = True) -> Iterator[None]:
    """Hold one slot of a concurrency limit of the server, if the run is `wanted` to and the limit exists."""
    with ExitStack() as slots:
        if wanted:
            with only_display(f"the limit '{limit}'"):
                slots.enter_context(concurrency(limit))
        try:
            yield
        finally:
            # The slot ends with its lease if the server is gone.
            with only_display(f"the limit '{limit}'"):
                slots.close()
