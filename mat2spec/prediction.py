"""Crystals in, spectra out: the interface for predictions outside this package.

A predicted eDOS is the shape of one model times the scale of another, as in the paper, but blind:
the scale is predicted too and never taken from a label. A phonon spectrum holds 3N states.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import examine
from mat2spec.crystals.given import CrystalLike, crystals_given
from mat2spec.crystals.primitive import CellSizes
from mat2spec.external import ExternalPredictions
from mat2spec.force_constants.predictor import ForceConstantsPredictor
from mat2spec.metal_heads import with_metal_head
from mat2spec.models import MODELS
from mat2spec.models.checkpoints import WeightsError, load_weights, weights_name
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
from mat2spec.spectra.grids import EDOS_GRID, GRIDS, PHDOS_GRID
from mat2spec.spectra.normalisation import Setting
from mat2spec.spectra.prediction import BatchReport, Prediction
from mat2spec.spectra.trust import judge, load_trust
from mat2spec.spectrum_predictor import SpectrumPredictor, resolve_device
from mat2spec.tables.status import Status
from mat2spec.tight_binding.predictor import MODEL_NAME_WITH_SPIN as TIGHT_BINDING_WITH_SPIN
from mat2spec.tight_binding.predictor import MODEL_NAMES as TIGHT_BINDING_MODELS
from mat2spec.tight_binding.predictor import TightBindingPredictor, load_tight_binding

__all__ = [
    "Prediction",
    "PredictionSettings",
    "load_predictor",
    "predict_structures",
    "predict_with_models",
]

# The most accurate model of each spectrum.
BEST_MODELS = {"edos": EDOS_MODELS[0], "phdos": PHDOS_MODELS[0]}
SHAPE_SETTING, SCALE_SETTING = Setting.SUMNORM_KL, Setting.STANDARD_MAE
# Used for crystals whose cells are too large for tight binding.
MODEL_OF_LARGE_CELLS = "sitedos"


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
