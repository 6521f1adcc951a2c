"""Parts of a benchmark: labelled spectra, held-out predictions, and the same evaluation for every model.

A kind of spectrum is a subclass of `BenchmarkData`: how its spectra are read, in which form they are compared and
averaged, and which figures of merit tell how good they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from mat2spec.benchmark.detection import GappedMetals
from mat2spec.benchmark.evaluation import evaluate_phdos, phonon_contributions
from mat2spec.benchmark.evaluation_edos import FindGappedMetals, edos_contributions, evaluate_edos
from mat2spec.benchmark.resampling import Contributions, Scores
from mat2spec.benchmark.test_sets import TEST_UNPOLARISED, in_order
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.edos_store import read_edos_store, training_level
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.labels.readers import DataKind, data_kind, load_spectra
from mat2spec.labels.splits import STORE_TEST, Split
from mat2spec.models import SpectrumModel
from mat2spec.models.checkpoints import WeightsCard
from mat2spec.settings import Level, shipped_stores
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID, SpectralGrid
from mat2spec.spectra.metrics import normalise_sum
from mat2spec.spectra.phonons import scale_to_modes
from mat2spec.spectrum_predictor import SpectrumPredictor
from mat2spec.tables.files import atomic_path
from mat2spec.training.calibration import spectra_with_uncertainty

Array = NDArray[np.float64]
# Spectra and standard deviations of their bins, both (n, size), by split; without an uncertainty None.
Spectra = Mapping[str, tuple[Array, Array | None]]
Result = dict[str, Any]


class BenchmarkError(RuntimeError):
    """The benchmark cannot continue; the message says why and what to do."""


class BenchmarkData(ABC):
    """Labelled spectra of any source, read once for each kind of graph, and how their predictions are evaluated.

    Parameters
    ----------
    source
        Data folder, archive of the paper, folder of structures and spectra, or Parquet table.
    reserved
        Reduced formulas that are not trained on, for sources without such a list.
    """

    grid: ClassVar[SpectralGrid]
    # Whether the scale of a shape must come from another model.
    needs_scale: ClassVar[bool]

    def __init__(self, source: Path | None, reserved: Collection[str] = ()) -> None:
        self.source = source
        self.reserved = frozenset(reserved)
        self._loaded: dict[tuple[GraphSettings, bool], LabelledSpectra] = {}

    def load(self, graph: GraphSettings, pretraining: bool = False) -> LabelledSpectra:
        """The spectra with graphs of these settings; `pretraining` adds the finite-displacement phonons."""
        key = (graph, pretraining)
        if key not in self._loaded:
            self._loaded[key] = self._read(graph, pretraining)
        return self._loaded[key]

    def judged(self, material_ids: dict[str, list[str]], pretraining: bool = False) -> LabelledSpectra:
        """Training materials and the given held-out ones, in the order of the source; graphs are plain.

        Raises
        ------
        BenchmarkError
            If a material is not held out here.
        """
        data = self.load(GraphSettings(), pretraining)
        wanted = [name for names in material_ids.values() for name in names]
        data = data.take(np.flatnonzero(np.isin(data.material_ids, wanted) | (data.split == "train")))
        if any(data.part(split).material_ids.tolist() != names for split, names in material_ids.items()):
            raise BenchmarkError(
                f"A result belongs to other held-out materials than those of {self.source}; use the data it was made with."
            )
        return data

    def evaluate_splits(
        self,
        spectra: Spectra,
        data: LabelledSpectra,
        totals: Mapping[str, Array] | None = None,
        gapped_metals: Mapping[str, GappedMetals] | None = None,
    ) -> dict[str, Any]:
        """Figures of merit of all held-out splits, and of the test materials without polymorphs in training.

        Parameters
        ----------
        spectra
            Predictions.
        data
            Labels of all splits.
        totals
            Predicted sums of the bins per atom, for kinds of spectra whose scale another model predicts.
        gapped_metals
            The predictor's own flags.

        Returns
        -------
        dict
            ``metrics`` of every split, and bootstrap ``intervals`` of every test set.
        """
        totals, gapped_metals = totals or {}, gapped_metals or {}
        metrics: dict[str, Scores] = {}
        intervals: dict[str, dict[str, list[float]]] = {}
        for split, (predicted, sigma) in spectra.items():
            labels = data.part(split)
            more = totals.get(split), gapped_metals.get(split)
            metrics[split] = self.evaluate(predicted, sigma, labels, *more)
            if in_order([split]):
                ends = self.contributions(predicted, labels, *more).intervals(labels.formulas)
                intervals[split] = {name: list(pair) for name, pair in ends.items()}
        if Split.TEST in spectra and not gapped_metals:
            metrics["test_without_polymorphs"] = self._without_polymorphs(spectra, data, totals.get(Split.TEST))
        return {"metrics": metrics, "intervals": intervals}

    def _without_polymorphs(self, spectra: Spectra, data: LabelledSpectra, totals: Array | None) -> Scores:
        own = without_polymorphs(data, Split.TEST)
        predicted, sigma = spectra[Split.TEST]
        return self.evaluate(
            predicted[own],
            None if sigma is None else sigma[own],
            data.part(Split.TEST).take(own),
            None if totals is None else totals[own],
        )

    @abstractmethod
    def _read(self, graph: GraphSettings, pretraining: bool) -> LabelledSpectra:
        """Read the source."""

    @abstractmethod
    def predict(self, model: SpectrumModel, card: WeightsCard, labels: LabelledSpectra) -> tuple[Array, Array]:
        """Predicted spectra and the standard deviation of their bins, NaN where unknown, both (n, size)."""

    @abstractmethod
    def comparable(self, spectra: NDArray[np.floating], is_shape: bool) -> Array:
        """Spectra in the form in which members of an ensemble are averaged and compared with labels."""

    @abstractmethod
    def evaluate(
        self,
        spectra: Array,
        sigma: Array | None,
        labels: LabelledSpectra,
        totals: Array | None = None,
        gapped_metals: GappedMetals | None = None,
    ) -> Scores:
        """All figures of merit of predictions of one split."""

    @abstractmethod
    def contributions(
        self,
        spectra: Array,
        labels: LabelledSpectra,
        totals: Array | None = None,
        gapped_metals: GappedMetals | None = None,
    ) -> Contributions:
        """Contribution of each material to the figures that have an interval."""

    def gapped_metals(self, labels: LabelledSpectra) -> GappedMetals | None:  # noqa: ARG002 - electronic spectra have some
        """True gapped metals, if they are judged."""
        return None


class PhononData(BenchmarkData):
    """Phonon spectra: three modes per atom, so the scale need not be predicted."""

    grid = PHDOS_GRID
    needs_scale = False

    def _read(self, graph: GraphSettings, pretraining: bool) -> LabelledSpectra:
        return load_spectra(self.source, self.grid.name, graph, pretraining=pretraining, reserved=self.reserved)

    def predict(self, model: SpectrumModel, card: WeightsCard, labels: LabelledSpectra) -> tuple[Array, Array]:
        """States per cm-1 and cell, through the predictor that users have."""
        predictor = SpectrumPredictor(card.model, model, None, card.graph_settings, labels.grid)
        prediction = predictor.predict_graphs(labels.material_ids, labels.graphs, [None] * len(labels))
        return prediction.spectra.astype(np.float64), prediction.uncertainty.astype(np.float64)

    def comparable(self, spectra: NDArray[np.floating], is_shape: bool) -> Array:  # noqa: ARG002 - 3N either way
        """Three modes per atom."""
        return scale_to_modes(spectra, self.grid)

    def evaluate(
        self,
        spectra: Array,
        sigma: Array | None,
        labels: LabelledSpectra,
        totals: Array | None = None,  # noqa: ARG002 - 3N needs none
        gapped_metals: GappedMetals | None = None,  # noqa: ARG002
    ) -> Scores:
        """See `evaluate_phdos`."""
        return evaluate_phdos(spectra, sigma, labels)

    def contributions(
        self,
        spectra: Array,
        labels: LabelledSpectra,
        totals: Array | None = None,  # noqa: ARG002 - 3N needs none
        gapped_metals: GappedMetals | None = None,  # noqa: ARG002
    ) -> Contributions:
        """See `phonon_contributions`."""
        return phonon_contributions(spectra, labels)


class ElectronData(BenchmarkData):
    """Electronic densities of states: a shape, and a scale that another model predicts.

    Parameters
    ----------
    source, reserved
        See `BenchmarkData`; without a source the stores are enough.
    stores
        eDOS stores beside a data folder, whose test materials count as such.
    find_gapped_metals
        Classifier of predicted and true spectra per cell; without it gapped metals are not evaluated.
    level
        Level of theory of the labels, see `mat2spec.labels.readers.data_folder.load_edos`.
    """

    grid = EDOS_GRID
    needs_scale = True

    def __init__(
        self,
        source: Path | None,
        reserved: Collection[str] = (),
        stores: Sequence[Path] | None = None,
        find_gapped_metals: FindGappedMetals | None = None,
        level: Level = Level.UNPOLARISED,
    ) -> None:
        super().__init__(source, reserved)
        self.stores, self.find_gapped_metals, self.level = stores, find_gapped_metals, level

    def _read(self, graph: GraphSettings, pretraining: bool) -> LabelledSpectra:  # noqa: ARG002 - of phonons
        data = load_spectra(
            self.source, self.grid.name, graph, stores=self.stores, reserved=self.reserved, level=self.level
        )
        older = np.isin(data.split, [Split.TEST, STORE_TEST])
        return replace(data, split=np.where(older, self._older_test_set(), data.split))

    def _older_test_set(self) -> str:
        """Name of the test materials outside the label plan: by their level of theory, if all of it is ours."""
        if self.source is not None and data_kind(self.source) is not DataKind.DATA_FOLDER:
            return str(Split.TEST)
        stores = shipped_stores() if self.stores is None else self.stores
        named = [training_level(read_edos_store(Path(store))) for store in stores]
        return TEST_UNPOLARISED if all(level is None for level in named) else str(Split.TEST)

    def predict(self, model: SpectrumModel, card: WeightsCard, labels: LabelledSpectra) -> tuple[Array, Array]:  # noqa: ARG002
        """Spectra per atom of scale models, shapes that sum to one of the others."""
        return spectra_with_uncertainty(model, labels)

    def comparable(self, spectra: NDArray[np.floating], is_shape: bool) -> Array:
        """Shapes that sum to one, or spectra per atom."""
        return normalise_sum(spectra) if is_shape else np.asarray(spectra, np.float64)

    def evaluate(
        self,
        spectra: Array,
        sigma: Array | None,
        labels: LabelledSpectra,
        totals: Array | None = None,
        gapped_metals: GappedMetals | None = None,
    ) -> Scores:
        """See `evaluate_edos`."""
        return evaluate_edos(spectra, sigma, labels, totals, self.find_gapped_metals, gapped_metals)

    def contributions(
        self,
        spectra: Array,
        labels: LabelledSpectra,
        totals: Array | None = None,
        gapped_metals: GappedMetals | None = None,
    ) -> Contributions:
        """See `edos_contributions`."""
        return edos_contributions(spectra, labels, totals, self.find_gapped_metals, gapped_metals)

    def gapped_metals(self, labels: LabelledSpectra) -> GappedMetals | None:
        """True gapped metals by the classifier, if there is one."""
        if self.find_gapped_metals is None:
            return None
        cells = labels.spectra.astype(np.float64) * labels.n_atoms[:, None]
        return self.find_gapped_metals(cells, labels.n_atoms)


def without_polymorphs(data: LabelledSpectra, split: str) -> NDArray[np.int64]:
    """Positions within a split of the materials whose reduced formula is not trained on."""
    trained = set(data.formulas[data.split == "train"])
    return np.flatnonzero([formula not in trained for formula in data.part(split).formulas])


def held_out_splits(data: LabelledSpectra) -> list[str]:
    """Splits whose predictions are stored: validation, calibration if different, and the test sets."""
    present = set(data.split)
    return [name for name in (Split.VALID, Split.CALIBRATION) if name in present] + in_order(present)


def held_out_ids(data: LabelledSpectra) -> dict[str, list[str]]:
    """Material ids of the held-out splits, in the order of their spectra."""
    return {split: [str(name) for name in data.part(split).material_ids] for split in held_out_splits(data)}


def predict_held_out(model: SpectrumModel, card: WeightsCard, labels: LabelledSpectra, data: BenchmarkData) -> Spectra:
    """Predictions of the held-out splits."""
    return {split: data.predict(model, card, labels.part(split)) for split in held_out_splits(labels)}


def write_spectra(path: Path, spectra: Spectra) -> None:
    """Predicted spectra and uncertainties of the held-out splits, as float32."""
    arrays = {
        f"{split}_{kind}": np.ascontiguousarray(values, dtype=np.float32)
        for split, pair in spectra.items()
        for kind, values in zip(("spectra", "uncertainty"), pair, strict=True)
        if values is not None
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays))


def read_spectra(path: Path) -> Spectra:
    """The spectra written by `write_spectra`."""
    arrays = {name: values.astype(np.float64) for name, values in load_file(path).items()}
    splits = [name.removesuffix("_spectra") for name in arrays if name.endswith("_spectra")]
    return {split: (arrays[f"{split}_spectra"], arrays.get(f"{split}_uncertainty")) for split in splits}
