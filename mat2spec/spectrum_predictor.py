"""A graph model as users have it: crystals in, spectra with their errors out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault
from mat2spec.graphs.batch import CrystalGraphs, split_by_edges
from mat2spec.graphs.building import build_graphs, build_graphs_and_examine
from mat2spec.graphs.from_data import CrystalsOrData, as_crystals
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models import SpectrumModel
from mat2spec.models.checkpoints import tensors_hash
from mat2spec.settings import (
    DEFAULT_MAX_EDGES,
)
from mat2spec.spectra.grids import SpectralGrid
from mat2spec.spectra.normalisation import to_spectra_per_atom
from mat2spec.spectra.phonons import MODES_PER_ATOM
from mat2spec.spectra.prediction import BatchReport, Prediction
from mat2spec.spectra.trust import CrystalFacts, TrustCalibration, judge
from mat2spec.tables.array_cache import ArrayCache
from mat2spec.tables.status import Status
from mat2spec.threads import count_workers, deterministic, worker_threads

# By which batches of equal size are larger than their share, as they end with a whole crystal.
_SPARE = 1.01


class _Answers(NamedTuple):
    """Numbers of a prediction, row by row as in `Prediction`."""

    spectra: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    relative_error: NDArray[np.float32]
    domain_distance: NDArray[np.float32]

    @classmethod
    def unknown(cls, n: int, size: int) -> _Answers:
        shapes = ((n, size), (n, size), (n,), (n,))
        return cls(*(np.full(shape, np.nan, dtype=np.float32) for shape in shapes))

    def put(self, rows: NDArray[np.int64], part: _Answers) -> None:
        for values, new in zip(self, part, strict=True):
            values[rows] = new


class SpectrumPredictor:
    """Predicts spectra with one model; weights are loaded once.

    Parameters
    ----------
    name
        Name of the model.
    shape_model
        Model that predicts spectra that sum to one.
    scale_model
        Model whose integral gives the scale; None for phonons, which have three modes per atom.
    graph_settings
        Graph settings of both.
    grid
        Their spectral grid.
    device
        Where to compute.
    max_edges_per_batch
        Maximum number of edges per batch; a larger crystal forms its own batch.
    """

    def __init__(
        self,
        name: str,
        shape_model: SpectrumModel,
        scale_model: SpectrumModel | None,
        graph_settings: GraphSettings,
        grid: SpectralGrid,
        device: str = "auto",
        max_edges_per_batch: int = DEFAULT_MAX_EDGES,
    ) -> None:
        self.name = name
        self.grid = grid
        self.graph_settings = graph_settings
        self.device = resolve_device(device)
        self.max_edges_per_batch = max_edges_per_batch
        self.shape_model = shape_model.to(self.device).eval()
        self.scale_model = None if scale_model is None else scale_model.to(self.device).eval()
        self.weights_hash = self._hash_weights()
        self.trust: TrustCalibration | None = None
        self.descriptor_cache: ArrayCache | None = None
        # Heads trained on the same frozen encoder share one pass through it.
        self._shares_encoder = scale_model is not None and tensors_hash(
            dict(shape_model.encoder.state_dict())
        ) == tensors_hash(dict(scale_model.encoder.state_dict()))

    def predict(
        self, crystals: CrystalsOrData, on_batch: BatchReport | None = None, facts: CrystalFacts | None = None
    ) -> Prediction:
        """Predict the spectrum of every crystal; one that cannot be predicted gets a reason.

        Parameters
        ----------
        crystals
            Any crystals; as `Crystals`, or as a `Data`, a `Batch` or several `Data` of PyTorch Geometric with the
            attributes of `mat2spec.graphs.from_data.crystals_from_data`.
        on_batch
            Called with the number of crystals of every finished batch.
        facts
            Of these crystals, where they are known.
        """
        crystals, cache = as_crystals(crystals), self.descriptor_cache
        if facts is None:
            graphs, problems, examination = build_graphs_and_examine(crystals, self.graph_settings, cache)
            facts = CrystalFacts.of(crystals, examination)
        else:
            graphs, problems = build_graphs(crystals, self.graph_settings, cache, facts.problems)
        prediction = self.predict_graphs(crystals.material_ids, graphs, problems, on_batch)
        return judge(prediction, self.trust, facts)

    def predict_graphs(
        self,
        material_ids: NDArray[np.object_],
        graphs: CrystalGraphs,
        problems: Sequence[str | None],
        on_batch: BatchReport | None = None,
    ) -> Prediction:
        """Predict from graphs made with `graph_settings` (`build_graphs`); errors are the model's own, without a verdict."""
        usable = np.flatnonzero([problem is None for problem in problems])
        answers = _Answers.unknown(len(graphs), self.grid.size)
        failures: dict[int, str] = {}
        n_edges = graphs.n_edges.cpu().numpy()
        batches = list(split_by_edges(usable, n_edges, self._most_edges(int(n_edges[usable].sum()))))
        with deterministic(self.device), worker_threads(self.device) as executor:
            results = executor.map(lambda chosen: self._predict_batch(graphs, chosen, failures), batches)
            for chosen, answer in zip(batches, results, strict=True):
                answers.put(chosen, answer)
                if on_batch:
                    on_batch(len(chosen))
        if on_batch and len(usable) < len(graphs):
            on_batch(len(graphs) - len(usable))
        for index in usable[~np.isfinite(answers.spectra[usable]).all(axis=1)].tolist():
            failures.setdefault(index, "The model gives non-finite numbers for this crystal.")
        return self._collect(material_ids, answers, [failures.get(i, problem) for i, problem in enumerate(problems)])

    def _most_edges(self, total: int) -> int:
        """Edges in a batch, so that every thread gets as many batches, of equal size, if they are larger than usual."""
        largest = self.max_edges_per_batch * self.shape_model.batches_at_once
        n_threads = count_workers(self.device)
        n_batches = n_threads * max(1, math.ceil(total / (n_threads * largest)))
        return min(largest, max(self.max_edges_per_batch, math.ceil(_SPARE * total / n_batches)))

    def _predict_batch(self, graphs: CrystalGraphs, chosen: NDArray[np.int64], failures: dict[int, str]) -> _Answers:
        """Answers for some crystals; one that fails is recorded in `failures` and does not affect the others."""
        try:
            with torch.inference_mode():
                graph = graphs.take(chosen).to(self.device)
                return _Answers(*(tensor.float().cpu().numpy() for tensor in self._forward(graph)))
        except CRYSTAL_FAULTS as error:
            if len(chosen) == 1:
                failures[int(chosen[0])] = f"{self.name} fails on this crystal: {reason_of_fault(error)}"
                return _Answers.unknown(1, self.grid.size)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        halves = np.array_split(chosen, 2)
        parts = [self._predict_batch(graphs, half, failures) for half in halves]
        return _Answers(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    def _forward(self, graph: CrystalGraphs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Spectra per cell, their standard deviations, relative errors and distances to the domain."""
        links = self.shape_model.links(graph)
        vectors = self.shape_model.encoder(graph, *links)
        shape = _per_atom(self.shape_model, vectors, graph)
        unsure = self.shape_model.error_model(
            shape, self.shape_model.spread(vectors, graph), self.shape_model.crystal_vectors(vectors, graph)
        )
        if self.scale_model is None:
            scale = MODES_PER_ATOM * graph.n_atoms.to(shape.dtype)
            relative_error = torch.zeros_like(scale)
        else:
            if not self._shares_encoder:
                vectors = self.scale_model.encoder(graph, *links)
            integral = _per_atom(self.scale_model, vectors, graph).sum(dim=1) * self.grid.width
            relative_error = self.scale_model.integral_residual_std / integral.clamp_min(1e-3)
            scale = integral * graph.n_atoms
        density = (scale / self.grid.width)[:, None]
        uncertainty = density * torch.sqrt(unsure.per_bin**2 + (relative_error[:, None] * shape) ** 2)
        whole = torch.sqrt(unsure.per_spectrum**2 + relative_error**2)
        return density * shape, uncertainty, whole, unsure.domain_distance

    def _collect(
        self, material_ids: NDArray[np.object_], answers: _Answers, problems: Sequence[str | None]
    ) -> Prediction:
        return Prediction(
            material_ids=material_ids,
            spectra=answers.spectra,
            scale=self.grid.integrate(answers.spectra).astype(np.float32),
            uncertainty=answers.uncertainty,
            relative_error=answers.relative_error,
            domain_distance=answers.domain_distance,
            status=[Status.OK if problem is None else Status.FAILED for problem in problems],
            reason=[problem or "" for problem in problems],
            model=self.name,
            weights_hash=self.weights_hash,
            grid=self.grid,
        )

    def _hash_weights(self) -> str:
        tensors = {f"shape.{key}": value for key, value in self.shape_model.state_dict().items()}
        if self.scale_model is not None:
            tensors |= {f"scale.{key}": value for key, value in self.scale_model.state_dict().items()}
        return tensors_hash(tensors)


def resolve_device(device: str) -> torch.device:
    """The torch device of a setting.

    Raises
    ------
    ValueError
        If a GPU is requested but there is none, or the name is unknown.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"Unknown device '{device}'; use auto, cpu or cuda.") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"The device '{device}' was requested, but no GPU is usable here; use auto or cpu.")
    return resolved


def _per_atom(model: SpectrumModel, vectors: Tensor, graph: CrystalGraphs) -> Tensor:
    predicted = model.forward_from_vectors(vectors, graph)
    return to_spectra_per_atom(predicted, model.setting, model.target_mean, model.target_std)
