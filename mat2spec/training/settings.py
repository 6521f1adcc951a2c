"""Settings of a training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mat2spec.graphs.settings import GraphSettings
from mat2spec.settings import Setting


class TrainingSettings(BaseModel):
    """How a model is trained. The defaults are the published ones, except the batch size for phonons."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(default="mat2spec", description="Name of the model in the registry.")
    setting: Setting = Field(default=Setting.SUMNORM_KL, description="Normalisation and loss.")
    model_settings: dict[str, Any] = Field(default_factory=dict, description="Sizes of the model; defaults if empty.")
    graph: GraphSettings = Field(default=GraphSettings(), description="How graphs are made.")
    epochs: int = Field(default=200, ge=1, description="Maximum number of epochs.")
    batch_size: int = Field(default=64, ge=1, description="Crystals per batch.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Maximum learning rate of AdamW.")
    encoder_learning_rate_factor: float = Field(
        default=1.0, ge=0, le=1, description="Factor on it for the encoder; 0 freezes the encoder."
    )
    weight_decay: float = Field(default=1e-2, ge=0, description="Weight decay of AdamW.")
    schedule: Literal["halving", "cosine"] = Field(
        default="halving", description="Halve the rate every quarter of the epochs, or decrease it as a cosine."
    )
    gradient_clip: float = Field(default=5.0, gt=0, description="Maximum norm of the gradient.")
    patience: int = Field(
        default=200, ge=1, description="Epochs without a better validation loss before early stopping."
    )
    seed: int = Field(default=0, ge=0, description="Seed of weights, order and noise.")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(default="32-true", description="Numeric precision.")
    weights_precision: Literal["float32", "float16"] = Field(
        default="float32", description="Of the matrices in the weights file; float16 halves it."
    )
    accelerator: str = Field(default="auto", description="Device kind: auto, cpu, cuda.")
    devices: int = Field(default=1, ge=1, description="Number of devices; every one gets its own batches.")
    num_nodes: int = Field(default=1, ge=1, description="Number of machines.")
    strategy: Literal["auto", "ddp"] = Field(
        default="auto", description="Strategy for several devices; auto is ddp if there are several."
    )
