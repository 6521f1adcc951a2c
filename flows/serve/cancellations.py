"""Hearing of cancelled runs, also after the server was away."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from httpx import HTTPError
from prefect._internal.observers import FlowRunCancellingObserver


class PatientObserver(FlowRunCancellingObserver):
    """An observer that looks for cancelled runs until the end, however long the server is away.

    Prefect's own polls where the stream of events was cut, not where it was closed in order; three polls without an answer stop
    it for good, which is sooner than a server starts again.
    """

    def _start_polling_task(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._is_shutting_down:
            return
        self.logger.warning(
            "The events of the server have ended (%s); cancelled runs are looked for every %g s.",
            task.exception() or "closed",
            self.polling_interval,
        )
        self._polling_task = asyncio.create_task(self._poll())

    _handle_polling_task_done = _start_polling_task

    async def _poll(self) -> None:
        while True:
            with suppress(HTTPError):
                await self._check_for_cancelled_flow_runs()  # type: ignore[no-untyped-call]
            await asyncio.sleep(self.polling_interval)
