"""The four published settings: the target of a model and its loss.

All of them see spectra *per atom*, so that a supercell has the same target as its primitive cell.
Only `standard-mae` predicts the scale; the others predict a shape.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu, softmax

from mat2spec.settings import Setting

_TINY = 1e-9


def prepare_targets(spectra: Tensor, setting: Setting, mean: Tensor, std: Tensor) -> Tensor:
    """Convert spectra per atom, shape (n, size), to the form that a setting predicts.

    Parameters
    ----------
    spectra
        Non-negative spectra per atom.
    setting
        Which form.
    mean, std
        Of the training spectra, per bin and over all bins; used by `standard-mae` alone.

    Raises
    ------
    ValueError
        If a spectrum has no states but its shape is needed, or contains non-finite numbers.
    """
    if not torch.isfinite(spectra).all():
        raise ValueError("A training spectrum contains non-finite numbers; drop or correct it.")
    if setting is Setting.STANDARD_MAE:
        return (spectra - mean) / std
    norm = spectra.amax(dim=-1) if setting is Setting.MAXNORM_MSE else spectra.sum(dim=-1)
    if (norm <= 0).any():
        raise ValueError(
            f"{int((norm <= 0).sum())} spectra are zero everywhere: they have no shape. "
            "Drop them or train with the setting standard-mae."
        )
    return spectra / norm[:, None]


def activate(raw: Tensor, setting: Setting) -> Tensor:
    """Turn the last layer's output, shape (..., size), into the form that `prepare_targets` gives."""
    if setting is Setting.STANDARD_MAE:
        return raw
    if setting is Setting.MAXNORM_MSE:
        positive = relu(raw)
        # An output without a positive bin stays zero instead of becoming NaN.
        return positive / positive.amax(dim=-1, keepdim=True).clamp_min(_TINY)
    return softmax(raw, dim=-1)


def prediction_loss(predicted: Tensor, target: Tensor, setting: Setting) -> Tensor:
    """Mean loss of activated predictions against prepared targets, both (n, size)."""
    if setting is Setting.STANDARD_MAE:
        return (predicted - target).abs().mean()
    if setting is Setting.MAXNORM_MSE:
        return ((predicted - target) ** 2).mean()
    if setting is Setting.SUMNORM_WD:
        return (predicted.cumsum(dim=-1) - target.cumsum(dim=-1)).abs().sum(dim=-1).mean()
    logarithm = torch.log(target.clamp_min(_TINY)) - torch.log(predicted.clamp_min(_TINY))
    return (target * logarithm).sum(dim=-1).mean()


def loss_terms(predicted: Tensor, target: Tensor, setting: Setting, wasserstein_weight: float) -> dict[str, Tensor]:
    """`prediction_loss` and, for SumNorm-KL, the Wasserstein distance in bins times its weight, unless that is zero."""
    terms = {"prediction": prediction_loss(predicted, target, setting)}
    if setting is Setting.SUMNORM_KL and wasserstein_weight:
        terms["wasserstein"] = wasserstein_weight * prediction_loss(predicted, target, Setting.SUMNORM_WD)
    return terms


def to_spectra_per_atom(predicted: Tensor, setting: Setting, mean: Tensor, std: Tensor) -> Tensor:
    """Undo the normalisation as far as possible: spectra per atom, or a shape that sums to one."""
    if setting is Setting.STANDARD_MAE:
        return relu(predicted * std + mean)
    return predicted / predicted.sum(dim=-1, keepdim=True).clamp_min(_TINY)
