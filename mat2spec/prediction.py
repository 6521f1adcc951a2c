"""Crystals in, spectra out: the interface for predictions outside this package.

A predicted eDOS is the shape of one model times the scale of another, as in the paper, but blind:
the scale is predicted too and never taken from a label. A phonon spectrum holds 3N states.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import examine
from mat2spec.crystals.given import CrystalLike, crystals_given
from mat2spec.crystals.primitive import CellSizes
from mat2spec.external import ExternalPredictions
from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault
from mat2spec.force_constants.predictor import ForceConstantsPredictor
from mat2spec.graphs.batch import CrystalGraphs, split_by_edges
from mat2spec.graphs.building import build_graphs, build_graphs_and_examine
from mat2spec.graphs.from_data import CrystalsOrData, as_crystals
from mat2spec.graphs.settings import GraphSettings
from mat2spec.metal_heads import with_metal_head
from mat2spec.models import MODELS, SpectrumModel
from mat2spec.models.checkpoints import WeightsError, load_weights, tensors_hash, weights_name
from mat2spec.preparation import Prepared, prepare
from mat2spec.settings import (
    DEFAULT_MAX_EDGES,
    EDOS_MODELS,
    FORCE_CONSTANTS_MODEL,
    PHDOS_MODELS,
    SHIPPED_WEIGHTS_DIR,
    PredictionSettings,
    is_external,
)
from mat2spec.spectra.grids import EDOS_GRID, GRIDS, PHDOS_GRID, SpectralGrid
from mat2spec.spectra.normalisation import Setting, to_spectra_per_atom
from mat2spec.spectra.phonons import MODES_PER_ATOM
from mat2spec.spectra.prediction import BatchReport, Prediction
from mat2spec.spectra.trust import CrystalFacts, TrustCalibration, judge, load_trust
from mat2spec.tables.array_cache import ArrayCache
from mat2spec.tables.status import Status
from mat2spec.threads import count_workers, deterministic, worker_threads
from mat2spec.tight_binding.predictor import MODEL_NAME_WITH_SPIN as TIGHT_BINDING_WITH_SPIN
from mat2spec.tight_binding.predictor import MODEL_NAMES as TIGHT_BINDING_MODELS
from mat2spec.tight_binding.predictor import TightBindingPredictor, load_tight_binding

__all__ = [
    "Prediction",
    "PredictionSettings",
    "SpectrumPredictor",
    "load_predictor",
    "predict_structures",
    "predict_with_models",
]

# The most accurate model of each spectrum.
BEST_MODELS = {"edos": EDOS_MODELS[0], "phdos": PHDOS_MODELS[0]}
SHAPE_SETTING, SCALE_SETTING = Setting.SUMNORM_KL, Setting.STANDARD_MAE
# Used for crystals whose cells are too large for tight binding.
MODEL_OF_LARGE_CELLS = "sitedos"
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


Predictor = SpectrumPredictor | TightBindingPredictor | ForceConstantsPredictor | ExternalPredictions


def load_predictor(
    model: str,
    spectrum: str = "edos",
    weights_dir: Path | None = None,
    device: str = "auto",
    max_edges_per_batch: int = DEFAULT_MAX_EDGES,
) -> Predictor:
    """Load the weights of a model into a predictor.

    Parameters
    ----------
    model
        Name of a registered model with weights: see `shipped_weights`; or a file of predictions: `mat2spec.external`.
    spectrum
        ``"edos"`` or ``"phdos"``.
    weights_dir
        Folder of the weights files; the shipped ones by default.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    max_edges_per_batch
        Edges in a batch.

    Raises
    ------
    WeightsError
        If weights are missing, damaged or do not fit each other.
    """
    folder = Path(weights_dir) if weights_dir is not None else SHIPPED_WEIGHTS_DIR
    if spectrum not in GRIDS:
        raise WeightsError(f"Unknown spectrum '{spectrum}'; choose from {', '.join(sorted(GRIDS))}.")
    if is_external(model):
        if spectrum != EDOS_GRID.name:
            raise WeightsError(f"The predictions in {model} are electronic densities of states, not {spectrum}.")
        return ExternalPredictions(Path(model))
    _refuse_unknown(model, spectrum, folder)
    if model in TIGHT_BINDING_MODELS:
        return _load_tight_binding(model, spectrum, folder, device, max_edges_per_batch)
    if model == FORCE_CONSTANTS_MODEL:
        return _load_force_constants(spectrum, folder, device, max_edges_per_batch)
    shape_model, card = load_weights(folder / weights_name(model, spectrum, SHAPE_SETTING))
    scale_model = None
    if spectrum == EDOS_GRID.name:
        scale_model, scale_card = load_weights(folder / weights_name(model, spectrum, SCALE_SETTING))
        if (scale_card.graph_settings, scale_card.grid) != (card.graph_settings, card.grid):
            raise WeightsError(
                f"The shape and scale weights of '{model}' in {folder} were trained on different graphs or grids; "
                "train both with the same settings."
            )
    predictor = SpectrumPredictor(
        model, shape_model, scale_model, card.graph_settings, card.spectral_grid, device, max_edges_per_batch
    )
    predictor.trust = load_trust(folder, model, spectrum, predictor.weights_hash)
    return predictor


def _refuse_unknown(model: str, spectrum: str, folder: Path) -> None:
    """Refuse a model without weights, with the names of those that have some; one without this spectrum says so itself."""
    ending = weights_name("", spectrum, SHAPE_SETTING)
    known = sorted(path.name.removesuffix(ending) for path in folder.glob(f"*{ending}"))
    if model in {*known, *TIGHT_BINDING_MODELS, FORCE_CONSTANTS_MODEL}:
        return
    there = f"The models there are {', '.join(known)}." if known else "There are none of any model."
    raise WeightsError(
        f"There are no weights of a model '{model}' for {spectrum} in {folder}. {there} `mat2spec train` makes others."
    )


def _load_tight_binding(
    model: str, spectrum: str, folder: Path, device: str, max_edges_per_batch: int
) -> TightBindingPredictor:
    if spectrum != EDOS_GRID.name:
        raise WeightsError(f"The model '{model}' predicts electronic densities of states, not {spectrum}.")

    @lru_cache(maxsize=1)
    def predictor_of_large_cells() -> SpectrumPredictor:
        other = load_predictor(MODEL_OF_LARGE_CELLS, spectrum, None, device, max_edges_per_batch)
        assert isinstance(other, SpectrumPredictor)
        return other

    path = folder / weights_name(model, spectrum, SHAPE_SETTING)
    spin = model == TIGHT_BINDING_WITH_SPIN
    speaker = f"{MODEL_OF_LARGE_CELLS}, without spin" if spin else MODEL_OF_LARGE_CELLS
    predictor = load_tight_binding(path, resolve_device(device), predictor_of_large_cells, speaker, spin=spin)
    predictor.trust = load_trust(folder, model, spectrum, predictor.weights_hash)
    return predictor


def _load_force_constants(
    spectrum: str, folder: Path, device: str, max_edges_per_batch: int
) -> ForceConstantsPredictor:
    if spectrum != PHDOS_GRID.name:
        raise WeightsError(f"The model '{FORCE_CONSTANTS_MODEL}' predicts phonon densities of states, not {spectrum}.")
    network = load_predictor(PHDOS_MODELS[0], spectrum, folder, device, max_edges_per_batch)
    assert isinstance(network, SpectrumPredictor)
    predictor = ForceConstantsPredictor(network)
    predictor.trust = load_trust(folder, FORCE_CONSTANTS_MODEL, spectrum, predictor.weights_hash)
    return predictor


def shipped_weights(spectrum: str) -> dict[str, list[Path]]:
    """Graph models with shipped weights for a spectrum, and their files: a shape, and for eDOS also a scale."""
    settings = [SHAPE_SETTING, *([SCALE_SETTING] if spectrum == EDOS_GRID.name else [])]
    files = {
        model: [SHIPPED_WEIGHTS_DIR / weights_name(model, spectrum, each) for each in settings] for model in MODELS
    }
    return {model: paths for model, paths in files.items() if all(path.is_file() for path in paths)}


def predict_structures(
    structures: CrystalLike | Iterable[object],
    model: str | None = None,
    spectrum: str = "edos",
    material_ids: Sequence[str] | None = None,
) -> Prediction:
    """Predict spectra of pymatgen structures or ASE Atoms, one or many, with shipped weights.

    Parameters
    ----------
    structures
        A structure, Atoms, or any mixture of them. Unusable ones become failed rows with the reason.
    model
        Name of the model; the most accurate one of the spectrum by default, see `BEST_MODELS`.
    spectrum
        ``"edos"`` or ``"phdos"``.
    material_ids
        A name for each crystal.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> predict_structures(salt, model="mat2spec").spectra.shape
    (1, 128)
    """
    if spectrum not in GRIDS:
        raise WeightsError(f"Unknown spectrum '{spectrum}'; choose from {', '.join(sorted(GRIDS))}.")
    crystals, found = crystals_given(structures, material_ids)
    if spectrum != EDOS_GRID.name:
        crystals = without_isotopes(crystals, found)
    (prediction,) = predict_with_models([load_predictor(model or BEST_MODELS[spectrum], spectrum)], crystals)
    return prediction


def reason_of_isotopes(found: Sequence[str]) -> str:
    """Why the phonons of a crystal with isotopes are not predicted."""
    return f"Its phonons are not those of the element: it contains {' and '.join(found)}, and models ignore masses."


def without_isotopes(crystals: Crystals, found: Sequence[Sequence[str]]) -> Crystals:
    """The crystals, with a problem for those that contain isotopes, whose phonons are not those of the element."""
    known = [None] * len(crystals) if crystals.problems is None else list(crystals.problems)
    problems = [reason_of_isotopes(names) if names else problem for problem, names in zip(known, found, strict=True)]
    return replace(crystals, problems=np.array(problems, dtype=object))


def prepare_for(predictors: Sequence[Predictor], crystals: Crystals, sizes: CellSizes | None = None) -> Prepared:
    """Examine crystals, the sizes of whose cells may be known, and make the graphs that some models read."""
    kinds = {one.graph_settings: one.descriptor_cache for one in predictors if isinstance(one, SpectrumPredictor)}
    return prepare(crystals, kinds, sizes, is_electronic=any(one.grid == EDOS_GRID for one in predictors))


def predict_with_models(
    predictors: Sequence[Predictor], crystals: Crystals | Prepared, on_batch: BatchReport | None = None
) -> list[Prediction]:
    """Predict with several models crystals, which may be prepared for them.

    Electronic spectra come with the probability of a metal that the metal head gives each crystal.
    """
    crystals, facts, made, metal = crystals if isinstance(crystals, Prepared) else prepare_for(predictors, crystals)
    answers: dict[int, Prediction] = {}
    # Tight binding comes last: a model beside it may already have predicted the cells that are too large for it.
    for index in sorted(range(len(predictors)), key=lambda i: isinstance(predictors[i], TightBindingPredictor)):
        predictor = predictors[index]
        if isinstance(predictor, TightBindingPredictor):
            answers[index] = predictor.predict(crystals, on_batch, facts, list(answers.values()))
            continue
        if isinstance(predictor, ForceConstantsPredictor):
            answers[index] = predictor.predict(crystals, on_batch, facts)
            continue
        if isinstance(predictor, ExternalPredictions):
            answers[index] = judge(predictor.predict(crystals, on_batch), None, facts)
            continue
        graphs, problems = made[predictor.graph_settings]
        prediction = predictor.predict_graphs(crystals.material_ids, graphs, problems, on_batch)
        answers[index] = judge(prediction, predictor.trust, facts)
    predictions = [answers[index] for index in range(len(predictors))]
    notes = (facts.examination or examine(crystals)).notes
    judged = with_metal_head(predictions, metal)
    return [replace(with_notes(prediction, notes), crystals=crystals) for prediction in judged]


def with_notes(prediction: Prediction, notes: Sequence[str]) -> Prediction:
    """A prediction with remarks on its crystals prepended to those of the model."""
    reasons = [
        f"{note} {reason}".strip() if status == Status.OK else reason
        for note, reason, status in zip(notes, prediction.reason, prediction.status, strict=True)
    ]
    return replace(prediction, reason=reasons)


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
