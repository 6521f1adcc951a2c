"""Settings of prediction, in a module that a command line can import without torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

# Larger batches are slower on a CPU: their messages no longer fit in its caches.
DEFAULT_MAX_EDGES = 2000


class PredictionSettings(BaseModel):
    """Which models predict, and how."""

    model_config = ConfigDict(extra="forbid")

    models: list[str] = Field(
        default=["mat2spec", "gatgnn"], min_length=1, description="Models to predict with; the first leads."
    )
    device: str = Field(default="auto", description="cpu, cuda, cuda:1, ...; auto takes a GPU if there is one.")
    weights_dir: Path | None = Field(default=None, description="Folder of the weights; the shipped ones if not given.")
    max_edges_per_batch: int = Field(
        default=DEFAULT_MAX_EDGES, ge=1, description="Edges in a batch; halved when memory runs out."
    )
    shard_size: int = Field(default=4096, ge=1, description="Crystals that are predicted and saved at a time.")
