"""Events of a run that a Prefect server can act upon, as by a notification (`flows.serve.notifications`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.events import emit_event

from flows.prefect_runs.flow_runs import only_display
from mat2spec.tables.columns import Column
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    import pandas as pd

    from screening.runs.folder import RunFolder

NEW_PICKS_EVENT = "mat2spec.picks.new"
_N_NAMED = 5


def announce_picks(run: RunFolder) -> None:
    """Emit the event of new picks if a finished run has any."""
    with only_display("the new picks"):
        picks = run.read_table(TableName.PICKS)
        picks = picks[picks[Column.PICK_RANK].notna()]
        if not picks.empty:
            resource = {"prefect.resource.id": f"mat2spec.run.{run.run_id}"}
            emit_event(NEW_PICKS_EVENT, resource=resource, payload=payload_of(run, picks))


def payload_of(run: RunFolder, picks: pd.DataFrame) -> dict[str, Any]:
    """What the event says of the picks of a run."""
    return {
        "n": len(picks),
        "best": ", ".join(picks[Column.FORMULA].head(_N_NAMED)),
        "run": run.run_id,
        "release": run.info["db_version"],
        "folder": str(run.path),
    }
