"""Whether the probabilistic embeddings of a Mat2Spec live: components in use, labels rebuilt, latent vectors that matter."""

from __future__ import annotations

import torch
from torch import Tensor

from mat2spec.models.mat2spec import Mat2Spec
from mat2spec.models.mixtures import effective_components
from mat2spec.spectra.metrics import r2_score


@torch.no_grad()
def describe_latent(model: Mat2Spec, vectors: Tensor, target: Tensor) -> dict[str, float]:
    """Figures of the latent space of a model on n crystals.

    Parameters
    ----------
    model
        Any Mat2Spec; it is put in evaluation mode.
    vectors
        What its encoder gives, shape (n, width).
    target
        Prepared targets, shape (n, size).

    Returns
    -------
    dict
        ``r2``: of the predictions; ``r2_frozen``: of predictions with the mean latent vector of all crystals instead of
        their own; ``feature_components``: effective number of the feature mixture, mean over crystals. With a label
        branch also ``label_components``, and ``r2_rebuilt``: of what it makes of the targets themselves.
    """
    model.eval()
    features = model.feature_generator(vectors)
    latent = features.mean()
    frozen = latent.mean(dim=0, keepdim=True).expand_as(latent)
    figures = {
        "r2": _r2(target, model.predict_from_latent(latent, vectors)),
        "r2_frozen": _r2(target, model.predict_from_latent(frozen, vectors)),
        "feature_components": float(effective_components(features).mean()),
    }
    if not model.settings.label_generator:
        return figures
    labels = model.label_mixture(target)
    return figures | {
        "label_components": float(effective_components(labels).mean()),
        "r2_rebuilt": _r2(target, model.rebuild_labels(vectors, target)),
    }


def _r2(true: Tensor, predicted: Tensor) -> float:
    return float(r2_score(true.double().cpu().numpy(), predicted.double().cpu().numpy()))
