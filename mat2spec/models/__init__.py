"""Models of spectra with a common interface, and their registry."""

from __future__ import annotations

from mat2spec.models.base import ModelSettings, SpectrumModel
from mat2spec.models.e3nn import E3nn
from mat2spec.models.gatgnn import Gatgnn
from mat2spec.models.mat2spec import Mat2Spec
from mat2spec.models.sitedos import SiteDos
from mat2spec.spectra.normalisation import Setting

MODELS: dict[str, type[SpectrumModel]] = {
    "mat2spec": Mat2Spec,
    "gatgnn": Gatgnn,
    "e3nn": E3nn,
    "sitedos": SiteDos,
}

# Weights that were trained on the predictions of another model, and the model whose layout they have.
DISTILLED = {"student": "gatgnn"}

__all__ = ["DISTILLED", "MODELS", "ModelSettings", "SpectrumModel", "build_model", "model_class", "model_settings"]


def model_class(name: str) -> type[SpectrumModel]:
    """The class of a registered model.

    Raises
    ------
    ValueError
        If no model has this name.
    """
    if name == "tight-binding":
        raise ValueError("The model 'tight-binding' does not use graphs; train it with `mat2spec train tight-binding`.")
    layout = DISTILLED.get(name, name)
    if layout not in MODELS:
        raise ValueError(f"Unknown model '{name}'; choose from {', '.join(sorted(MODELS))}.")
    return MODELS[layout]


def build_model(name: str, settings: dict[str, object] | None, size: int, setting: Setting) -> SpectrumModel:
    """Make an untrained model.

    Parameters
    ----------
    name
        Key of `MODELS`.
    settings
        Fields of the model's settings class; None for the defaults.
    size
        Bins of the spectrum.
    setting
        Normalisation and loss.

    Raises
    ------
    ValueError
        If no model has this name.
    """
    return model_class(name)(model_settings(name, settings), size, setting)


def model_settings(name: str, settings: dict[str, object] | None) -> ModelSettings:
    """Settings of a registered model from some of their fields."""
    return model_class(name).settings_class.model_validate(settings or {})
