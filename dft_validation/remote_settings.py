"""Where DFT jobs go that are not run here."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class RemoteSettings(BaseModel):
    """A project of jobflow-remote: it names the machines, their batch systems and the database of jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str = Field(
        default="", description="Name of the jobflow-remote project (~/.jfremote/PROJECT.yaml); empty: its own default."
    )
    worker: str = Field(default="", description="Worker of that project that gets the jobs; empty: the first one.")
    exec_config: str = Field(default="", description="Environment of the jobs, one of the project's exec_config.")
    resources: dict[str, Any] = Field(
        default_factory=dict, description="What each job asks of the batch system, e.g. {ntasks: 1, time: '01:00:00'}."
    )
