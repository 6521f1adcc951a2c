"""Batches of labelled crystals: slices of one large graph, served by a DataLoader."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.models import SpectrumModel
from mat2spec.spectra.normalisation import prepare_targets


def with_targets(model: SpectrumModel, data: LabelledSpectra) -> CrystalGraphs:
    """The graphs of a data set with `y`, the spectra as the model predicts them, shape (n, size)."""
    spectra = torch.from_numpy(data.spectra)
    mean, std = model.target_mean.cpu(), model.target_std.cpu()
    graphs = copy.copy(data.graphs)
    graphs.y = prepare_targets(spectra, model.setting, mean, std)
    return graphs


def load_batches(graphs: CrystalGraphs, order: NDArray[np.integer], batch_size: int) -> DataLoader[CrystalGraphs]:
    """Batches of the graphs in an order.

    The sampler gives all indices of a batch at once and `CrystalGraphs.take` selects them, so no object is made per
    crystal.
    """
    return DataLoader(
        graphs,
        batch_size=None,
        sampler=list(split_in_batches(order, batch_size)),
        # A separate generator: the loader draws a seed from it, on which the noise of a training must not depend.
        generator=torch.Generator(),
    )


def split_in_batches(indices: NDArray[np.integer], batch_size: int) -> Iterator[NDArray[np.integer]]:
    """Split indices into batches; a last batch of one is merged into the previous, as batch norm needs two."""
    n_batches = max(1, math.ceil(len(indices) / batch_size))
    if n_batches > 1 and len(indices) % batch_size == 1:
        n_batches -= 1
    for start in range(n_batches):
        stop = None if start == n_batches - 1 else (start + 1) * batch_size
        yield indices[start * batch_size : stop]
