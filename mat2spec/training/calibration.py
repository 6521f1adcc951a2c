"""Predictions for labelled crystals, and calibration of their uncertainty on materials not trained on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.labels.splits import calibration_split
from mat2spec.models import SpectrumModel
from mat2spec.spectra.normalisation import to_spectra_per_atom
from mat2spec.spectra.uncertainty import ValidationSet
from mat2spec.training.batching import load_batches

_BATCH_SIZE = 256
_TINY = 1e-9


class Forwarded(NamedTuple):
    """Output of a model for n crystals.

    `spectra` are per atom for scale models and sum to one for the others, shape (n, size); `spread` is the standard
    deviation among members of the shape that sums to one; `vectors` are the crystals in the space of the encoder.
    """

    spectra: Tensor
    spread: Tensor
    vectors: Tensor

    @property
    def totals(self) -> Tensor:
        """Sums of the spectra, shape (n, 1)."""
        return self.spectra.sum(dim=1, keepdim=True).clamp_min(_TINY)

    @property
    def shapes(self) -> Tensor:
        """Spectra that sum to one, shape (n, size)."""
        return self.spectra / self.totals


@torch.no_grad()
def forward_all(model: SpectrumModel, data: LabelledSpectra) -> Forwarded:
    """Predict all crystals of a data set, in evaluation mode."""
    model.eval()
    rows = []
    for graph in load_batches(data.graphs, np.arange(len(data)), _BATCH_SIZE):
        encoded = model.encoder(graph)
        predicted = model.forward_from_vectors(encoded, graph)
        spectra = to_spectra_per_atom(predicted, model.setting, model.target_mean, model.target_std)
        rows.append((spectra, model.spread(encoded, graph), model.crystal_vectors(encoded, graph)))
    if not rows:
        return Forwarded(torch.empty(0, model.size), torch.empty(0, model.size), torch.empty(0, 0))
    return Forwarded(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def spectra_per_atom(model: SpectrumModel, data: LabelledSpectra) -> NDArray[np.float64]:
    """Predicted spectra per atom (scale models) or shapes that sum to one, shape (n, size)."""
    return forward_all(model, data).spectra.double().numpy()


def spectra_with_uncertainty(
    model: SpectrumModel, data: LabelledSpectra
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spectra as from `spectra_per_atom`, and the standard deviation of each bin, both (n, size)."""
    forwarded = forward_all(model, data)
    sigma = model.error_model(forwarded.shapes, forwarded.spread, forwarded.vectors).per_bin * forwarded.totals
    return forwarded.spectra.double().numpy(), sigma.double().numpy()


def calibrate(model: SpectrumModel, data: LabelledSpectra, trained_on: LabelledSpectra | None = None) -> None:
    """Fit the model's uncertainty: its domain on what it was trained on, its errors on calibration materials.

    If there are none, as for labels outside a label plan, the validation materials are used instead.

    Parameters
    ----------
    model
        The trained model.
    data
        Labels that hold the calibration materials.
    trained_on
        Its training materials; by default those of `data`.
    """
    train = data.part("train") if trained_on is None else trained_on
    held_out = data.part(calibration_split(data.split))
    true = torch.from_numpy(held_out.spectra.astype(np.float32))
    forwarded = forward_all(model, held_out)
    true_totals = true.sum(dim=1, keepdim=True).clamp_min(_TINY)
    if not model.setting.predicts_shape:
        integral = held_out.grid.width * (forwarded.totals - true_totals)
        model.integral_residual_std.fill_(float(integral.square().mean().sqrt()))
    known = ValidationSet(forwarded.shapes, forwarded.spread, forwarded.vectors, true / true_totals)
    model.error_model.fit(forward_all(model, train).vectors, known)
