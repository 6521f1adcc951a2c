"""What every model of spectra offers, so that training, prediction and weights know no model by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from mat2spec.graphs import GraphSettings
from mat2spec.normalisation import Setting
from mat2spec.tensors import GraphTensors

LossTerms = dict[str, Tensor]


class ModelSettings(BaseModel):
    """Base of the settings of a model: sizes and loss weights, stored in its weights file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SpectrumModel(nn.Module, ABC):
    """A model that predicts one spectrum per crystal.

    Parameters
    ----------
    settings
        Sizes of the model, an instance of its `settings_class`.
    size
        Bins of the spectrum.
    setting
        Normalisation and loss.
    """

    settings_class: ClassVar[type[ModelSettings]]
    settings: ModelSettings
    encoder: nn.Module
    target_mean: Tensor
    target_std: Tensor
    residual_std: Tensor
    integral_residual_std: Tensor

    def __init__(self, settings: ModelSettings, size: int, setting: Setting) -> None:
        super().__init__()
        self.settings = settings
        self.size = size
        self.setting = Setting(setting)
        # Statistics of the training targets, and residuals (bins, integral) of the validation set, per atom.
        self.register_buffer("target_mean", torch.zeros(size))
        self.register_buffer("target_std", torch.ones(()))
        self.register_buffer("residual_std", torch.full((size,), torch.nan))
        self.register_buffer("integral_residual_std", torch.full((), torch.nan))

    @classmethod
    def adapt_graphs(cls, settings: GraphSettings) -> GraphSettings:
        """Change graph settings to what the model needs; most models take any graph."""
        return settings

    def forward(self, graph: GraphTensors) -> Tensor:
        """Activated prediction in the form of the setting, shape (n_crystals, size)."""
        return self.forward_from_vectors(self.encoder(graph))

    @abstractmethod
    def forward_from_vectors(self, vectors: Tensor) -> Tensor:
        """Activated prediction from the vectors of the encoder, shape (n_crystals, width)."""

    @abstractmethod
    def losses(self, graph: GraphTensors, target: Tensor) -> LossTerms:
        """Weighted terms of the training loss; their sum is minimised.

        Parameters
        ----------
        graph
            The batch.
        target
            Prepared targets (`mat2spec.normalisation.prepare_targets`), shape (n_crystals, size).
        """
