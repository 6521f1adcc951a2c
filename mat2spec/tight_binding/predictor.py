"""Prediction of electronic densities of states by learned tight binding.

The counterpart of `mat2spec.spectrum_predictor.SpectrumPredictor` for a model that reads crystals instead of graphs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from mat2spec.crystals import checks
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.crystals.neighbours import shortest_distance
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.descriptors.sevennet import cached_site_scalars, scalars_or_reasons, unknown_elements
from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault
from mat2spec.graphs.from_data import CrystalsOrData, as_crystals
from mat2spec.models.checkpoints import WeightsError, read_weights, tensors_hash
from mat2spec.settings import TIGHT_BINDING_MODELS as MODEL_NAMES
from mat2spec.spectra.grids import SpectralGrid
from mat2spec.spectra.prediction import BatchReport, Prediction
from mat2spec.spectra.trust import CrystalFacts, TrustCalibration, judge
from mat2spec.spectrum_predictor import SpectrumPredictor
from mat2spec.tables.array_cache import ArrayCache
from mat2spec.tables.status import Status
from mat2spec.threads import worker_threads
from mat2spec.tight_binding.metal_head import DESCRIPTORS, shipped_site_metal_head
from mat2spec.tight_binding.model import (
    PredictedSpectrum,
    TightBinding,
    TightBindingSettings,
    predicted_spectrum,
    relative_integral_error,
)
from mat2spec.tight_binding.network import SiteAnswer
from mat2spec.tight_binding.parameters import load_tables, tables_hash
from mat2spec.tight_binding.problem import PreparationSettings, Problem, prepare
from mat2spec.tight_binding.sites import project_on_sites
from mat2spec.tight_binding.transport import BandTransport

# At the level of theory of the Materials Project: with spin if a crystal can be magnetic.
MODEL_NAME, MODEL_NAME_WITH_SPIN = MODEL_NAMES
# Primitive cells with more atoms are left to a model whose cost grows linearly.
MAX_ATOMS = 60
_TOO_LARGE = "{} atoms in the primitive cell, more than the {} that tight binding solves"
# Crystals per thread: their descriptors are computed together, their bands one by one.
_CHUNK = 16


@dataclass(frozen=True)
class _Row:
    """Numbers of one crystal, in the units of `Prediction`."""

    spectrum: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    relative_error: float
    domain_distance: float
    metal_probability: float
    note: str


class _Solved(NamedTuple):
    """Spectrum of one crystal.

    Parameters
    ----------
    mean
        Of the members.
    vector
        As in `TightBindingAnswer`.
    notes
        Remarks on the crystal.
    """

    mean: PredictedSpectrum
    vector: Tensor
    notes: str


class TightBindingPredictor:
    """Predicts eDOS with learned tight binding; weights are loaded once.

    Parameters
    ----------
    model
        The trained ensemble.
    device
        Where the networks and the eigenproblems run.
    fallback
        Gives the predictor for crystals with more than `max_atoms` atoms in the primitive cell, called once there is one; if
        None, these get a reason.
    fallback_name
        Name of its model, for the remark in such a row.
    max_atoms
        Maximum size of the primitive cell.
    spin
        Whether the spins of crystals that can be magnetic are solved separately, which the model must support.
    """

    def __init__(
        self,
        model: TightBinding,
        device: torch.device | None = None,
        fallback: Callable[[], SpectrumPredictor] | None = None,
        fallback_name: str = "",
        max_atoms: int = MAX_ATOMS,
        *,
        spin: bool = False,
    ) -> None:
        self.spin = spin
        self.name = MODEL_NAME_WITH_SPIN if spin else MODEL_NAME
        self.device = device or torch.device("cpu")
        self.model = model.to(self.device).eval().requires_grad_(requires_grad=False)
        self.grid: SpectralGrid = model.grid
        self.fallback, self.fallback_name, self.max_atoms = fallback, fallback_name, max_atoms
        self.weights_hash = tensors_hash(self.model.state_dict())
        self.trust: TrustCalibration | None = None
        self.descriptor_cache: ArrayCache | None = None
        self.preparation = PreparationSettings(
            model.settings.kpoints_per_atom, spin=spin, dtype=torch.complex64, device=self.device, equal_orbits=True
        )

    def predict(
        self,
        crystals: CrystalsOrData,
        on_batch: BatchReport | None = None,
        facts: CrystalFacts | None = None,
        others: Sequence[Prediction] = (),
    ) -> Prediction:
        """Predict the spectrum of every crystal; one that cannot be predicted gets a reason.

        Parameters
        ----------
        crystals
            Any crystals, also as data of PyTorch Geometric (`mat2spec.graphs.from_data.crystals_from_data`).
        on_batch
            Called with the number of crystals of every finished batch.
        facts
            Of these crystals, where they are known.
        others
            What other models predict of the same crystals: if the fallback is one of them, it is not asked again.
        """
        crystals = as_crystals(crystals)
        facts = facts or CrystalFacts.of(crystals)
        reasons = self.problems_of(crystals, facts.problems)
        crystals = reduce_skewed_cells(crystals)
        usable = np.flatnonzero([reason is None for reason in reasons])
        cells = {int(index): PrimitiveCell.of_crystal(crystals, int(index)) for index in usable}
        large = [index for index, cell in cells.items() if cell.n_atoms > self.max_atoms]
        small = [index for index, cell in cells.items() if cell.n_atoms <= self.max_atoms]
        answer = _blank(crystals, reasons, self)
        chunks = [small[start : start + _CHUNK] for start in range(0, len(small), _CHUNK)]
        with worker_threads(self.device) as executor:
            solved = executor.map(lambda chosen: self._solve_chunk([cells[index] for index in chosen]), chunks)
            for chosen, rows in zip(chunks, solved, strict=True):
                self._put(answer, crystals, chosen, rows)
                if on_batch:
                    on_batch(len(chosen))
        answer = judge(answer, self.trust, facts)
        if large:
            answer = self._hand_on(facts, cells, np.array(large), answer, others)
        if on_batch and len(small) < len(crystals):
            on_batch(len(crystals) - len(small))
        return answer

    def problems_of(self, crystals: Crystals, problems: list[str | None] | None = None) -> list[str | None]:
        """For each crystal, why it cannot be solved, as `find_problems` says."""
        return find_problems(crystals, self.model.settings.descriptors, problems)

    def _put(self, answer: Prediction, crystals: Crystals, chosen: Sequence[int], rows: Sequence[_Row | str]) -> None:
        """Write numbers per cell, or reasons, into the rows of an answer."""
        for index, row in zip(chosen, rows, strict=True):
            if isinstance(row, str):
                answer.status[index], answer.reason[index] = Status.FAILED, row
                continue
            n_sites = crystals.n_sites[index]
            answer.spectra[index] = row.spectrum * n_sites
            answer.uncertainty[index] = row.uncertainty * n_sites
            answer.scale[index] = self.grid.integrate(answer.spectra[index])
            answer.relative_error[index], answer.domain_distance[index] = row.relative_error, row.domain_distance
            answer.reason[index] = row.note
            if answer.prior_metal_probability is not None:
                answer.prior_metal_probability[index] = row.metal_probability

    def _solve_chunk(self, cells: Sequence[PrimitiveCell]) -> list[_Row | str]:
        described = scalars_or_reasons(cells, self.model.settings.descriptors, self.descriptor_cache)
        rows: list[_Row | str] = [values if isinstance(values, str) else "" for values in described]
        usable = [index for index, values in enumerate(described) if not isinstance(values, str)]
        features = [values for values in described if not isinstance(values, str)]
        for index, row in zip(usable, self._solve_described([cells[index] for index in usable], features), strict=True):
            rows[index] = row
        return rows

    @torch.no_grad()
    def _solve_described(
        self, cells: Sequence[PrimitiveCell], features: Sequence[NDArray[np.float32]]
    ) -> list[_Row | str]:
        """Networks read the sites of all crystals at once; these are solved one by one, and judged at once."""
        if not cells:
            return []
        numbers = np.concatenate([cell.atomic_numbers for cell in cells])
        sites = self.model.of_sites(
            torch.from_numpy(np.concatenate(features)).to(self.device), torch.from_numpy(numbers).to(self.device)
        )
        ends = np.cumsum([cell.n_atoms for cell in cells])
        solved = [
            self._solve(cell, sites.at(slice(end - cell.n_atoms, end))) for cell, end in zip(cells, ends, strict=True)
        ]
        probabilities = self._metal_probabilities(cells, features)
        known = [(one, p) for one, p in zip(solved, probabilities, strict=True) if not isinstance(one, str)]
        rows = iter(self._rows([one for one, _ in known], [p for _, p in known]))
        return [one if isinstance(one, str) else next(rows) for one in solved]

    def _solve(self, cell: PrimitiveCell, sites: SiteAnswer) -> _Solved | str:
        """Spectrum of one crystal, or why there is none."""
        try:
            problem = prepare(cell, self.preparation)
            answer = self.model.of_crystal(problem, sites)
        except torch.linalg.LinAlgError as error:
            return f"The eigenproblem of the bands has no solution: {str(error).splitlines()[0]}"
        except CRYSTAL_FAULTS as error:
            return f"Its bands cannot be computed: {reason_of_fault(error)}"
        return _Solved(predicted_spectrum(answer, self.grid), answer.vector, " ".join(problem.notes))

    def _rows(self, solved: Sequence[_Solved], metal_probabilities: Sequence[float]) -> list[_Row]:
        """Numbers per atom with their uncertainty."""
        if not solved:
            return []
        shape = torch.stack([one.mean.shape for one in solved])
        unsure = self.model.error_model(
            shape, torch.stack([one.mean.spread for one in solved]), torch.stack([one.vector for one in solved])
        )
        total = torch.stack([one.mean.total for one in solved])[:, None]
        integral_error = relative_integral_error(float(self.model.log_integral_std))
        deviation = total * torch.sqrt(unsure.per_bin**2 + (integral_error * shape) ** 2)
        return [
            _Row(spectrum, of_bins, math.hypot(of_shape, integral_error), distance, probability, one.notes)
            for one, spectrum, of_bins, of_shape, distance, probability in zip(
                solved,
                _numpy(shape * total),
                _numpy(deviation),
                unsure.per_spectrum.tolist(),
                unsure.domain_distance.tolist(),
                metal_probabilities,
                strict=True,
            )
        ]

    def _metal_probabilities(
        self, cells: Sequence[PrimitiveCell], features: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float64]:
        """By the site metal head; NaN where the descriptors are not those that it reads."""
        if self.model.settings.descriptors is not DESCRIPTORS:
            return np.full(len(cells), np.nan)
        return shipped_site_metal_head().probability_of_metal(cells, features)

    def project(self, crystals: Crystals, index: int) -> NDArray[np.float64] | None:
        """The predicted spectrum of one crystal, split over its sites and the shells s, p and d of their atoms.

        The crystal is solved once more, which takes some tenths of a second.

        Returns
        -------
        ndarray or None
            States/eV of the given cell, shape (n_sites, 3, size), with the predicted spectrum as its sum. None if the
            cell is too large for tight binding, or its bands cannot be solved.
        """
        found = self._prepared(crystals, index)
        if found is None:
            return None
        problem, values, site_in_cell = found
        try:
            return project_on_sites(self.model, problem, values)[site_in_cell]
        except CRYSTAL_FAULTS as error:
            reason_of_fault(error)  # raises if memory was the fault
            return None

    @torch.no_grad()
    def transport(self, crystals: Crystals, index: int) -> BandTransport | None:
        """Effective masses and Seebeck coefficients of the bands of one crystal.

        Returns
        -------
        BandTransport or None
            None if the cell is too large for tight binding, or its bands cannot be solved.
        """
        found = self._prepared(crystals, index)
        if found is None:
            return None
        problem, values, _ = found
        try:
            shifts, scales = self.model.corrections(values, problem)
            return BandTransport.of(problem, shifts.mean(dim=0), scales.mean(dim=0))
        except CRYSTAL_FAULTS as error:
            reason_of_fault(error)
            return None

    def _prepared(self, crystals: Crystals, index: int) -> tuple[Problem, Tensor, NDArray[np.int64]] | None:
        """One crystal, descriptors of its sites, and the site in its primitive cell of each given one."""
        given = reduce_skewed_cells(crystals.take([index])).cell(0)
        cell, site_in_cell = PrimitiveCell.with_sites(given.lattice, given.frac_coords, given.atomic_numbers)
        if cell.n_atoms > self.max_atoms:
            return None
        try:
            (descriptors,) = cached_site_scalars([cell], self.model.settings.descriptors, self.descriptor_cache)
            values = torch.from_numpy(descriptors).to(self.device)
            return prepare(cell, self.preparation), values, site_in_cell
        except CRYSTAL_FAULTS as error:
            reason_of_fault(error)
            return None

    def _hand_on(
        self,
        facts: CrystalFacts,
        cells: dict[int, PrimitiveCell],
        large: NDArray[np.int64],
        answer: Prediction,
        others: Sequence[Prediction],
    ) -> Prediction:
        """An answer in which another model speaks of crystals that are too large."""
        sentences = [_TOO_LARGE.format(cells[index].n_atoms, self.max_atoms) for index in large.tolist()]
        if self.fallback is None:
            return _without(answer, large, sentences)
        fallback = self.fallback()
        fallback.descriptor_cache = self.descriptor_cache
        known = next((one for one in others if one.weights_hash == fallback.weights_hash), None)
        chosen = facts.take(large)
        other = fallback.predict(chosen.crystals, None, chosen) if known is None else known.take(large)
        return answer.with_rows_of(other, large, [f"Predicted by {self.fallback_name}: {one}." for one in sentences])


def _without(answer: Prediction, rows: NDArray[np.int64], reasons: Sequence[str]) -> Prediction:
    """An answer in which some rows have none."""
    for index, reason in zip(rows.tolist(), reasons, strict=True):
        answer.status[index], answer.reason[index] = Status.FAILED, f"{reason}; use another model."
    return answer


def load_tight_binding(
    path: Path,
    device: torch.device | None = None,
    fallback: Callable[[], SpectrumPredictor] | None = None,
    fallback_name: str = "",
    *,
    spin: bool | None = None,
) -> TightBindingPredictor:
    """Make a predictor from a weights file; parameters as in `TightBindingPredictor`, with spin by default if supported.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, does not fit, lacks spin although it is requested, or was trained with other
        Slater-Koster tables.
    """
    card, tensors = read_weights(path)
    try:
        settings = TightBindingSettings.model_validate(card.model_settings)
        model = TightBinding(settings, card.spectral_grid)
        model.load_state_dict(tensors)
    except (RuntimeError, ValidationError) as error:
        raise WeightsError(f"The weights {path} do not fit the model '{MODEL_NAME}': {error}") from error
    if settings.tables != tables_hash():
        raise WeightsError(
            f"The weights {path} were trained with Slater-Koster tables {settings.tables}, but those here are {tables_hash()}; "
            "retrain them."
        )
    spin = settings.spin if spin is None else spin
    if spin and not settings.spin:
        raise WeightsError(
            f"The weights {path} do not include spin; train them with `mat2spec train tight-binding --level mp`."
        )
    return TightBindingPredictor(model, device, fallback, fallback_name, spin=spin)


def find_problems(
    crystals: Crystals, descriptors: SevenNetVersion, problems: list[str | None] | None = None
) -> list[str | None]:
    """For each crystal, why it cannot be solved, or None if it can; `problems` are those of the checks, where known."""
    problems = checks.find_problems(crystals) if problems is None else list(problems)
    tabulated = load_tables().atomic_numbers
    for index in np.flatnonzero([problem is None for problem in problems]):
        problems[index] = _problem(crystals, int(index), tabulated, descriptors)
    return problems


def _problem(crystals: Crystals, index: int, tabulated: NDArray[np.int64], descriptors: SevenNetVersion) -> str | None:
    sites = crystals.sites(index)
    numbers = np.unique(crystals.atomic_numbers[sites])
    unknown = sorted({*numbers[~np.isin(numbers, tabulated)].tolist(), *unknown_elements(numbers, descriptors)})
    if unknown:
        return f"Tight binding has no parameters for the elements with atomic number {', '.join(map(str, unknown))}."
    nearest = shortest_distance(crystals.lattices[index], crystals.frac_coords[sites], checks.MIN_DISTANCE_A)
    if nearest < checks.MIN_DISTANCE_A:
        return f"Two atoms are {nearest:.2f} Angstrom apart, closer than {checks.MIN_DISTANCE_A:g} Angstrom."
    return None


def _blank(crystals: Crystals, reasons: Sequence[str | None], predictor: TightBindingPredictor) -> Prediction:
    """A prediction without numbers, to be filled row by row."""
    n, size = len(crystals), predictor.grid.size
    return Prediction(
        material_ids=crystals.material_ids,
        spectra=np.full((n, size), np.nan, dtype=np.float32),
        scale=np.full(n, np.nan, dtype=np.float32),
        uncertainty=np.full((n, size), np.nan, dtype=np.float32),
        relative_error=np.full(n, np.nan, dtype=np.float32),
        domain_distance=np.full(n, np.nan, dtype=np.float32),
        status=[Status.OK if reason is None else Status.FAILED for reason in reasons],
        reason=[reason or "" for reason in reasons],
        model=predictor.name,
        weights_hash=predictor.weights_hash,
        grid=predictor.grid,
        prior_metal_probability=np.full(n, np.nan, dtype=np.float32),
        project=predictor.project,
    )


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
