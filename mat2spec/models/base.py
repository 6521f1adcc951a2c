"""Common interface of all models of spectra, which makes training, prediction and weights model-independent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.spectra.normalisation import Setting
from mat2spec.spectra.uncertainty import ErrorModel

LossTerms = dict[str, Tensor]


class ModelSettings(BaseModel):
    """Base of the settings of a model: sizes and loss weights, stored in its weights file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def adapt_graphs(self, settings: GraphSettings) -> GraphSettings:
        """Adapt graph settings to the needs of the model; most models accept any graph."""
        return settings


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
    # Batches of the usual size that it predicts at once, where most of its memory is that of a part of them.
    batches_at_once: ClassVar[int] = 1
    settings: ModelSettings
    encoder: nn.Module
    target_mean: Tensor
    target_std: Tensor
    error_model: ErrorModel
    integral_residual_std: Tensor

    def __init__(self, settings: ModelSettings, size: int, setting: Setting) -> None:
        super().__init__()
        self.settings = settings
        self.size = size
        self.setting = Setting(setting)
        # Statistics of the training targets; error model fitted to the validation set.
        self.register_buffer("target_mean", torch.zeros(size))
        self.register_buffer("target_std", torch.ones(()))
        self.error_model = ErrorModel()
        self.register_buffer("integral_residual_std", torch.full((), torch.nan))

    def forward(self, graph: CrystalGraphs) -> Tensor:
        """Activated prediction in the form of the setting, shape (n_crystals, size)."""
        return self.forward_from_vectors(self.encoder(graph), graph)

    @abstractmethod
    def forward_from_vectors(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:
        """Activated prediction from the output of the encoder: a row per crystal, or per node of `graph`."""

    def links(self, graph: CrystalGraphs) -> tuple[Any, ...]:  # noqa: ARG002
        """What the encoder takes besides a graph and another model of this kind can take too; nothing for most."""
        return ()

    def fit_inputs(self, graph: CrystalGraphs) -> None:
        """Store statistics of the training crystals; most models need none."""

    def spread(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:
        """Standard deviation among the members of an ensemble, shape (n_crystals, size); zero for a single model."""
        return torch.zeros(graph.num_graphs, self.size, device=vectors.device)

    def crystal_vectors(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:  # noqa: ARG002
        """One vector per crystal in a space where distance measures dissimilarity, shape (n_crystals, width)."""
        return vectors

    @abstractmethod
    def losses(self, graph: CrystalGraphs, target: Tensor) -> LossTerms:
        """Weighted terms of the training loss; their sum is minimised.

        Parameters
        ----------
        graph
            The batch.
        target
            Prepared targets (`mat2spec.spectra.normalisation.prepare_targets`), shape (n_crystals, size).
        """
