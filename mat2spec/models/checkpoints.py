"""Weights files: self-describing safetensors, each with a readable model card.

A file holds the tensors and, in its header, all that is needed to use them: model and sizes,
setting, graph options, spectral grid, what they were trained on and how well they did. Nothing
is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from mat2spec.graphs.settings import GraphSettings
from mat2spec.models import DISTILLED, MODELS, SpectrumModel, build_model
from mat2spec.spectra.grids import SpectralGrid
from mat2spec.spectra.normalisation import Setting
from mat2spec.tables.files import atomic_path

FORMAT_VERSION = 1
# Kong et al., Nat. Commun. 13, 949 (2022): a model trained on 2,000-3,000 labels is useful.
USEFUL_LABELS = 2000
_HEADER_KEY = "mat2spec_card"


class WeightsError(ValueError):
    """Weights are missing, damaged or do not fit; the message says which and what to do."""


class WeightsCard(BaseModel):
    """Everything about a weights file except its tensors."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = Field(default=FORMAT_VERSION, description="Version of this description.")
    model: str = Field(description="Name of the model in the registry.")
    setting: Setting = Field(description="Normalisation and loss.")
    model_settings: dict[str, Any] = Field(description="Sizes and loss weights of the model.")
    graph_settings: GraphSettings = Field(description="How graphs are made for it.")
    grid: str = Field(description="Spectral grid, as JSON.")
    training: dict[str, Any] = Field(default_factory=dict, description="Data, counts, settings, time, versions.")
    metrics: dict[str, dict[str, float | None]] = Field(
        default_factory=dict, description="Held-out metrics by split; null where undefined."
    )

    @property
    def spectral_grid(self) -> SpectralGrid:
        """The grid of the predicted spectra."""
        return SpectralGrid.from_json(self.grid)


def weights_name(model: str, spectrum: str, setting: Setting) -> str:
    """File name of the weights of a model for a spectrum in a setting."""
    return f"{model}-{spectrum}-{setting}.safetensors"


@torch.no_grad()
def round_to_half(model: nn.Module) -> None:
    """Round the matrices of a model to numbers of half precision, so that it can be stored as such without loss."""
    for matrix in _matrices(model).values():
        matrix.copy_(matrix.half())


def _matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.ndim > 1}


def save_weights(path: Path, model: nn.Module, card: WeightsCard, half: bool = False) -> None:
    """Write tensors and card to one file, and the card as Markdown beside it, each atomically; matrices perhaps as halves."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors |= {name: tensors[name].half() for name in _matrices(model)}
    # `save_file` writes to a temporary file of its own, which a killed process would leave.
    content = save(tensors, metadata={_HEADER_KEY: card.model_dump_json()})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    with atomic_path(path.with_suffix(".md")) as temporary:
        temporary.write_text(render_card(path.stem, card))


def load_weights(path: Path) -> tuple[SpectrumModel, WeightsCard]:
    """Rebuild a model from its weights file, in evaluation mode.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, of an unknown model or version, or its tensors do not fit.
    """
    card, tensors = read_weights(Path(path))
    if card.format_version != FORMAT_VERSION:
        raise WeightsError(
            f"The weights {path} have format version {card.format_version}, but this program reads version {FORMAT_VERSION}; "
            "retrain them or use the version of the program that made them."
        )
    if card.model not in {*MODELS, *DISTILLED}:
        raise WeightsError(f"The weights {path} belong to the model '{card.model}', which is not registered here.")
    try:
        model = build_model(card.model, card.model_settings, card.spectral_grid.size, card.setting)
        model.load_state_dict(tensors)
    except (RuntimeError, ValidationError) as error:
        raise WeightsError(f"The weights {path} do not fit the model '{card.model}': {error}") from error
    unfit = [name for name, tensor in model.named_parameters() if not torch.isfinite(tensor).all()]
    if unfit:
        raise WeightsError(f"The weights {path} contain non-finite numbers (in {unfit[0]}); retrain them.")
    return model.eval(), card


def read_card(path: Path) -> WeightsCard:
    """The card of a weights file, without building the model."""
    return read_weights(Path(path), tensors=False)[0]


def tensors_hash(tensors: dict[str, torch.Tensor]) -> str:
    """Hash of named tensors, 16 hexadecimal digits, which identifies the model."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def read_weights(path: Path, tensors: bool = True) -> tuple[WeightsCard, dict[str, torch.Tensor]]:
    """Card and tensors of a weights file.

    Raises
    ------
    WeightsError
        If the file is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(
            f"There are no weights {path}. Train them with 'mat2spec train' or give the folder that contains them."
        )
    try:
        with safe_open(path, framework="pt") as opened:
            header = (opened.metadata() or {}).get(_HEADER_KEY)
            if header is None:
                raise WeightsError(
                    f"The file {path} has no model description: it is not a weights file of this program."
                )
            names = opened.keys() if tensors else ()
            return WeightsCard.model_validate_json(header), {name: opened.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise WeightsError(f"The weights {path} are damaged ({error}); get them again or retrain them.") from error
    except ValidationError as error:
        raise WeightsError(f"The description in the weights {path} cannot be read: {error}") from error


def render_card(name: str, card: WeightsCard) -> str:
    """The card as Markdown for people."""
    grid = card.spectral_grid
    lines = [
        f"# {name}",
        "",
        (
            f"Model `{card.model}`, setting `{card.setting}`. Spectrum: {grid.quantity}; {grid.size} bins from "
            f"{grid.first_center:g} to {grid.last_center:g} {grid.unit}; zero at {grid.zero}."
        ),
        "",
        "## Held-out metrics",
        "",
        _metric_units(card),
        "",
        *_metric_table(card.metrics),
        "",
        "## Training",
        "",
        *_label_warning(card),
        *(f"- {key.replace('_', ' ')}: {_flat(value)}" for key, value in card.training.items()),
        "",
        "## Sizes",
        "",
        "```json",
        json.dumps(card.model_settings, indent=2, sort_keys=True),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _metric_units(card: WeightsCard) -> str:
    unit = card.spectral_grid.unit
    spectra = "shapes (spectra that sum to one)" if card.setting.predicts_shape else f"spectra per atom (states/{unit})"
    return f"MAE, MSE and R2 of {spectra}; Wasserstein distance in {unit}; n materials that were not trained on."


def _label_warning(card: WeightsCard) -> list[str]:
    n_labels = card.training.get("materials", {}).get("train", 0)
    if n_labels >= USEFUL_LABELS:
        return []
    return [
        (
            f"**Only {n_labels} labelled materials were trained on.** Accuracy is limited by their number: the paper "
            f"found {USEFUL_LABELS:,} to 3,000 labels enough to be useful. Treat predictions as hints."
        ),
        "",
    ]


def _metric_table(metrics: dict[str, dict[str, float | None]]) -> list[str]:
    if not metrics:
        return ["None were computed."]
    names = sorted({name for values in metrics.values() for name in values})
    rows = ["| split | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for split, values in metrics.items():
        known = {name: value for name, value in values.items() if value is not None}
        cells = [f"{known[name]:.4g}" if name in known else "" for name in names]
        rows.append(f"| {split} | " + " | ".join(cells) + " |")
    return rows


def _flat(value: Any) -> str:
    if value == {}:
        return "none"
    if isinstance(value, dict):
        return "; ".join(f"{key} = {inner}" for key, inner in value.items())
    return str(value)
