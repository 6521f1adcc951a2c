"""GATGNN, the baseline: the encoder and a plain head (Louis et al., Phys. Chem. Chem. Phys. 22, 18141 (2020))."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from torch import Tensor, nn

from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.models.base import LossTerms, ModelSettings, SpectrumModel
from mat2spec.models.encoder import CrystalEncoder, EncoderSettings
from mat2spec.models.fast_attention import BATCHES_AT_ONCE, Links
from mat2spec.spectra.normalisation import Setting, activate, loss_terms


class GatgnnSettings(ModelSettings):
    """Sizes of GATGNN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: EncoderSettings = Field(default=EncoderSettings(width=64), description="The encoder.")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="Dropout in the head.")
    wasserstein_weight: float = Field(
        default=0.0, ge=0, description="Weight of the Wasserstein distance in bins, added to the SumNorm-KL loss."
    )


class Gatgnn(SpectrumModel):
    """Encoder, two dense layers, spectrum."""

    settings_class = GatgnnSettings
    batches_at_once = BATCHES_AT_ONCE
    settings: GatgnnSettings

    def __init__(self, settings: GatgnnSettings, size: int, setting: Setting) -> None:
        super().__init__(settings, size, setting)
        width = settings.encoder.width
        self.encoder = CrystalEncoder(settings.encoder)
        self.head = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.Softplus(),
            nn.Dropout(settings.dropout),
            nn.Linear(2 * width, 2 * width),
            nn.Softplus(),
            nn.Dropout(settings.dropout),
            nn.Linear(2 * width, size),
        )

    def links(self, graph: CrystalGraphs) -> tuple[Links]:
        return (Links.of(graph),)

    def forward_from_vectors(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:  # noqa: ARG002
        return activate(self.head(vectors), self.setting)

    def losses(self, graph: CrystalGraphs, target: Tensor) -> LossTerms:
        return loss_terms(self(graph), target, self.setting, self.settings.wasserstein_weight)
