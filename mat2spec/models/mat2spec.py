"""Mat2Spec: probabilistic embeddings of features and labels, aligned (Kong et al., Nat. Commun. 13, 949 (2022)).

Training has two branches. The feature branch goes from the crystal vector to a mixture of
Gaussians; the label branch from the spectrum to a mixture of one Gaussian per bin. Both mixtures
are pulled together, both are translated to a spectrum by the same layers, and a contrastive loss
makes the two sides of one crystal more similar than those of different ones. Prediction uses only
the feature branch and the mean of the mixture: it is deterministic.

Unlike in the published code, the label branch sees the same normalised spectrum as the prediction
loss, and the pairwise alignment includes all pairs of components.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.models.base import LossTerms, ModelSettings, SpectrumModel
from mat2spec.models.encoder import CrystalEncoder, EncoderSettings
from mat2spec.models.fast_attention import BATCHES_AT_ONCE, Links
from mat2spec.models.mixtures import Mixture, mixture_divergence, pairwise_divergence
from mat2spec.spectra.normalisation import Setting, activate, prediction_loss


class Mat2SpecSettings(ModelSettings):
    """Sizes and loss weights of Mat2Spec, with the published values as defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: EncoderSettings = Field(default=EncoderSettings(), description="The encoder.")
    n_components: int = Field(default=10, ge=1, description="Gaussians of the feature mixture.")
    latent: int = Field(default=128, ge=2, description="Dimension of the Gaussians.")
    translated: int = Field(default=512, ge=2, description="Width of the translated vector.")
    projected: int = Field(default=1024, ge=2, description="Width of the vector that is contrasted.")
    dropout: float = Field(default=0.5, ge=0, lt=1, description="Dropout in the translator.")
    alignment: Literal["published", "mixture"] = Field(
        default="published",
        description="What is minimised between the mixtures: the mean divergence of all pairs of components, as in the "
        "published code, or the divergence of the mixtures.",
    )
    alignment_weight: float = Field(default=1.1, ge=0, description="Weight of the alignment; 0 ablates it.")
    contrastive_weight: float = Field(default=0.1, ge=0, description="Weight of the contrastive loss; 0 ablates it.")
    label_sees_crystal: bool = Field(
        default=False,
        description="Whether the translator gets the crystal vector in the label branch too, as published.",
    )
    label_prediction_weight: float = Field(
        default=1.0, ge=0, description="Weight of the prediction loss of the label branch."
    )
    weights_follow_label: bool = Field(
        default=False,
        description="Whether the mixing weights of the label branch are the label itself, corrected by a network, instead of "
        "what a network makes of it; not in standard-mae, whose targets may be negative.",
    )
    label_generator: bool = Field(
        default=True, description="Whether there is a label branch; without it the prediction loss alone is left."
    )
    projector: bool = Field(default=True, description="Whether there are a projector and a contrastive loss.")
    temperature: float = Field(default=1.0, gt=0, description="Temperature of the contrastive loss.")


# The published model, the one with a divergence of the mixtures themselves, with the published weight and a tenth of it, and
# the ablations of the paper: without label generator (nor its prediction loss) and without projector (nor contrastive loss).
VARIANTS: dict[str, dict[str, Any]] = {
    "published": {"alignment": "published", "label_sees_crystal": True},
    "mixture": {"alignment": "mixture", "label_sees_crystal": True},
    "mixture-weak": {"alignment": "mixture", "alignment_weight": 0.1, "label_sees_crystal": True},
    "no-label-generator": {"label_generator": False},
    "no-projector": {"alignment": "mixture", "label_sees_crystal": True, "projector": False},
}
# Of a bin, where mixing weights follow the label: its Gaussian keeps a little weight, and the logarithm is finite.
_SMALLEST_TARGET = 1e-3


class FeatureGenerator(nn.Module):
    """Crystal vectors (n, width) to mixtures."""

    def __init__(self, width: int, n_components: int, latent: int) -> None:
        super().__init__()
        self.n_components, self.latent = n_components, latent
        self.body = nn.Sequential(
            nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU()
        )
        self.weights = nn.Linear(256, n_components)
        self.means = nn.Linear(256, n_components * latent)
        self.log_variances = nn.Linear(256, n_components * latent)

    def forward(self, vectors: Tensor) -> Mixture:
        hidden = self.body(vectors)
        shape = (-1, self.n_components, self.latent)
        return Mixture(
            torch.softmax(self.weights(hidden), dim=-1),
            self.means(hidden).view(shape),
            _variances(self.log_variances(hidden)).view(shape),
        )


class LabelGenerator(nn.Module):
    """Prepared spectra (n, size) to mixtures of one Gaussian per bin."""

    def __init__(self, size: int, latent: int, *, weights_follow_label: bool = False) -> None:
        super().__init__()
        self.weights_follow_label = weights_follow_label
        self.weights = nn.Sequential(nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, size))
        self.means = nn.Parameter(torch.randn(size, latent))
        self.log_variances = nn.Parameter(torch.zeros(size, latent))

    def forward(self, targets: Tensor) -> Mixture:
        logits = self.weights(targets)
        if self.weights_follow_label:
            logits = logits + torch.log(targets.clamp_min(_SMALLEST_TARGET))
        return Mixture(
            torch.softmax(logits, dim=-1),
            self.means,
            _variances(self.log_variances),
        )


class Mat2Spec(SpectrumModel):
    """The model of the paper."""

    settings_class = Mat2SpecSettings
    batches_at_once = BATCHES_AT_ONCE
    settings: Mat2SpecSettings
    encoder: CrystalEncoder

    def __init__(self, settings: Mat2SpecSettings, size: int, setting: Setting) -> None:
        super().__init__(settings, size, setting)
        width = settings.encoder.width
        self.encoder = CrystalEncoder(settings.encoder)
        self.feature_generator = FeatureGenerator(width, settings.n_components, settings.latent)
        if settings.label_generator:
            follows = settings.weights_follow_label and setting is not Setting.STANDARD_MAE
            self.label_generator = LabelGenerator(size, settings.latent, weights_follow_label=follows)
        self.translator = nn.Sequential(
            nn.Linear(width + settings.latent, settings.translated),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.translated, settings.translated),
            nn.ReLU(),
        )
        if settings.label_generator and settings.projector:
            self.projector = nn.Sequential(nn.Linear(settings.translated, settings.projected), nn.ReLU())
        self.predictor = nn.Linear(settings.translated, size, bias=False)

    def links(self, graph: CrystalGraphs) -> tuple[Links]:
        return (Links.of(graph),)

    def forward_from_vectors(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:  # noqa: ARG002
        return self.predict_from_latent(self.feature_generator(vectors).mean(), vectors)

    def rebuild_labels(self, vectors: Tensor, target: Tensor) -> Tensor:
        """Spectra that the label branch makes of prepared targets by the mean of its mixture, shape (n, size)."""
        return self.predict_from_latent(self.label_mixture(target).mean(), self._seen_by_label(vectors))

    def label_mixture(self, target: Tensor) -> Mixture:
        """Mixture of the label branch for prepared targets."""
        # A sum-normalised bin is of the order 1/size; both branches get targets of the order one.
        return self.label_generator(target * self.size if self._is_sum_normalised else target)

    def losses(self, graph: CrystalGraphs, target: Tensor) -> LossTerms:
        return self.losses_from_vectors(self.encoder(graph), target)

    def losses_from_vectors(self, vectors: Tensor, target: Tensor) -> LossTerms:
        """The terms of `losses` from the vectors that the encoder gives, shape (n, width)."""
        features = self.feature_generator(vectors)
        from_features = self._translate(features.averaged_draw(), vectors)
        prediction = self._prediction_loss(from_features, target)
        if not self.settings.label_generator:
            return {"prediction": prediction}
        labels = self.label_mixture(target)
        from_labels = self._translate(labels.averaged_draw(), self._seen_by_label(vectors))
        terms = {
            "prediction": prediction,
            "label_prediction": self.settings.label_prediction_weight * self._prediction_loss(from_labels, target),
            "alignment": self.settings.alignment_weight * self._divergence(features, labels),
        }
        if self.settings.projector:
            terms["contrastive"] = self.settings.contrastive_weight * contrastive_loss(
                self.projector(from_features), self.projector(from_labels), self.settings.temperature
            )
        return terms

    def _divergence(self, features: Mixture, labels: Mixture) -> Tensor:
        divergence = mixture_divergence if self.settings.alignment == "mixture" else pairwise_divergence
        return divergence(features, labels)

    def _seen_by_label(self, vectors: Tensor) -> Tensor:
        return vectors if self.settings.label_sees_crystal else torch.zeros_like(vectors)

    def _translate(self, latent: Tensor, vectors: Tensor) -> Tensor:
        return self.translator(torch.cat([vectors, latent], dim=1))

    def predict_from_latent(self, latent: Tensor, vectors: Tensor) -> Tensor:
        """Activated prediction with a given latent vector of each crystal, shape (n, latent)."""
        return activate(self.predictor(self._translate(latent, vectors)), self.setting)

    @property
    def _is_sum_normalised(self) -> bool:
        return self.setting in (Setting.SUMNORM_KL, Setting.SUMNORM_WD)

    def _prediction_loss(self, translated: Tensor, target: Tensor) -> Tensor:
        return prediction_loss(activate(self.predictor(translated), self.setting), target, self.setting)


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Cross entropy of identifying, by cosine similarity, which rows belong together; 0 for one row.

    Parameters
    ----------
    first, second
        The two sides of each crystal, shape (n, width).
    temperature
        Divides the similarities.
    """
    if len(first) < 2:
        return first.new_zeros(())
    similarity = normalize(first, dim=1) @ normalize(second, dim=1).T / temperature
    own = torch.arange(len(first), device=first.device)
    return 0.5 * (cross_entropy(similarity, own) + cross_entropy(similarity.T, own))


def _variances(logarithm: Tensor) -> Tensor:
    # Bounded, so that a precision can neither overflow nor freeze the alignment.
    return torch.exp(logarithm.clamp(-6.0, 6.0))
