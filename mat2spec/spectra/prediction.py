"""Predictions for many crystals, by any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.symmetry import all_sites_equivalent
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import list_column, to_frame
from mat2spec.tables.status import Status
from mat2spec.tables.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pymatgen.electronic_structure.dos import CompleteDos, Dos
    from pymatgen.phonon.dos import CompletePhononDos, PhononDos

BatchReport = Callable[[int], None]
# Numbers by which the answers of one model are not those of another.
_ANSWERS_OF_MODELS = ("spectra", "scale", "uncertainty", "relative_error", "domain_distance")
# What a row says where nobody judges it.
_VERDICTS = {"trust": None, "trust_reason": "", "unseen_elements": ""}
# Splits the spectrum of a crystal over its sites and the shells of their atoms: shape (n_sites, 3, size), or None.
Projector = Callable[[Crystals, int], NDArray[np.float64] | None]


@dataclass(frozen=True)
class Prediction:
    """Predicted spectra of many crystals.

    Parameters
    ----------
    material_ids
        Shape (n,).
    spectra
        Spectra per cell on `grid`, in its unit, shape (n, size); NaN where the status is not ``"ok"``.
    scale
        Integral of each spectrum over the grid: states per cell in the window, shape (n,).
    uncertainty
        Standard deviation per bin, shape (n, size), in the unit of the spectra: +-1.645 of them hold 90 % of the
        bins of held-out materials.
    relative_error
        Expected integral of the absolute error over that of the spectrum, shape (n,).
    domain_distance
        Distance to the nearest training crystals over the largest typical one, shape (n,); above one the crystal
        is unlike anything the model was trained on.
    status
        ``"ok"`` or ``"failed"`` for each crystal.
    reason
        A sentence for each failed crystal; for others a remark on the prediction, or empty.
    model
        Name of the model.
    weights_hash
        Identity of the weights.
    grid
        The spectral grid.
    crystals
        What it was predicted of; None where that is not known.
    prior_metal_probability
        Probability of a metal by the metal head, which does not see the spectrum, shape (n,); None for phonons and where
        it was not asked.
    implausibility
        How unlike real crystals each is, shape (n,): `mat2spec.crystals.plausibility`. Nothing was asked if it is empty, and so
        for what follows.
    unseen_elements
        Symbols of the elements that no training label has, joined by commas.
    trust
        `mat2spec.spectra.trust.Trust`, or None where there is no prediction or the weights have no calibration.
    trust_reason
        Why the verdict is not ``"ok"``; else empty.
    predicted_by
        Model whose answer each is, where that is not always `model`.
    project
        Splits a spectrum over sites and shells; None for models that cannot.
    """

    material_ids: NDArray[np.object_]
    spectra: NDArray[np.float32]
    scale: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    relative_error: NDArray[np.float32]
    domain_distance: NDArray[np.float32]
    status: list[Status]
    reason: list[str]
    model: str
    weights_hash: str
    grid: SpectralGrid
    crystals: Crystals | None = None
    prior_metal_probability: NDArray[np.float32] | None = None
    implausibility: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    unseen_elements: list[str] = field(default_factory=list)
    trust: list[str | None] = field(default_factory=list)
    trust_reason: list[str] = field(default_factory=list)
    predicted_by: list[str] = field(default_factory=list)
    project: Projector | None = None

    def __len__(self) -> int:
        return len(self.material_ids)

    def __repr__(self) -> str:
        """What it is of, in a line; the numbers are in its attributes and in `to_frame`."""
        n_failed = sum(status != Status.OK for status in self.status)
        failed = f", {n_failed:,} of them failed" if n_failed else ""
        return f"<Prediction of {counted(len(self), 'crystal')}{failed}: {self.grid.name} by {self.model}>"

    def take(self, indices: NDArray[np.integer]) -> Prediction:
        """The predictions at `indices`, in that order."""
        taken: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and len(value):
                taken[name] = value[indices]
            elif isinstance(value, list) and value:
                taken[name] = [value[index] for index in indices]
        return replace(self, **taken, crystals=None if self.crystals is None else self.crystals.take(indices))

    def with_rows_of(self, other: Prediction, rows: NDArray[np.integer], reasons: Sequence[str]) -> Prediction:
        """These predictions, but for some rows in which another model speaks for this one.

        Parameters
        ----------
        other
            What it says of the crystals at `rows`, in that order.
        rows
            Where it speaks.
        reasons
            Why, for each of them, unless it has a remark of its own.
        """
        taken: dict[str, Any] = {}
        for name in _ANSWERS_OF_MODELS:
            taken[name] = getattr(self, name).copy()
            taken[name][rows] = getattr(other, name)
        texts: dict[str, Sequence[Any]] = {
            "status": other.status,
            "predicted_by": other.speakers,
            "reason": [own or reason for own, reason in zip(other.reason, reasons, strict=True)],
        }
        if self.trust:
            # The other model may have no calibration.
            texts |= {name: getattr(other, name) or [unknown] * len(rows) for name, unknown in _VERDICTS.items()}
        before = vars(self) | {"predicted_by": self.speakers}
        for name, given in texts.items():
            taken[name] = [*before[name]]
            for row, text in zip(rows.tolist(), given, strict=True):
                taken[name][row] = text
        return replace(self, **taken)

    @property
    def speakers(self) -> list[str]:
        """Model whose answer each is."""
        return self.predicted_by or [self.model] * len(self)

    def to_frame(self) -> pd.DataFrame:
        """One row per crystal, failed ones included: the columns of the table `predictions`."""
        return to_frame(predictions_table(self))

    def dos(self, index: int, *, projected: bool = True) -> Dos | CompleteDos | PhononDos | CompletePhononDos:
        """The spectrum of one crystal as a pymatgen object, with projections on its sites where they follow.

        An electronic one is a `Dos` in states/eV per cell whose energies, and Fermi energy, are on the scale of the
        prediction: zero at E_F for a metal, otherwise at the VBM. Of tight binding it is a `CompleteDos`, whose projections
        sum to the spectrum; its orbitals are `OrbitalType.s`, `p` and `d`, as the model does not resolve them further. A phonon
        one is a `PhononDos` in states/THz over THz, and a `CompletePhononDos` if symmetry makes all sites equivalent, as in
        silicon: no model knows how the modes of other crystals are shared.

        Parameters
        ----------
        index
            Which crystal.
        projected
            Whether to look for projections; those of tight binding take some tenths of a second.

        Raises
        ------
        ValueError
            If this crystal has no prediction; the message says why.
        """
        # With matplotlib and more behind it, half of what a screen would import.
        from mat2spec.spectra import pymatgen_dos

        spectrum = self._spectrum(index)
        if self.grid == EDOS_GRID:
            by_site = self._by_site(index) if projected else None
            structure = None if by_site is None or self.crystals is None else self.crystals.structure(index)
            return pymatgen_dos.electronic_dos(self.grid, spectrum, structure, by_site)
        structure = None
        if projected and self.crystals is not None and all_sites_equivalent(self.crystals.cell(index)):
            structure = self.crystals.structure(index)
        return pymatgen_dos.phonon_dos(self.grid, spectrum, structure)

    def _by_site(self, index: int) -> NDArray[np.float64] | None:
        """Projections on sites and shells, if the model gives them."""
        if self.project is None or self.crystals is None or self.speakers[index] != self.model:
            return None
        return self.project(self.crystals, index)

    def classes(self) -> pd.DataFrame:
        """What the rules of a screen, as they are by default, say of every electronic spectrum, one row each.

        The columns are those of the table `classifications`; `screening.classify.classes.classify` takes other rules.

        Raises
        ------
        ValueError
            If the spectra are not electronic, or it is not known of which crystals they are.
        """
        # Classes are the business of the package above, which is looked up only when they are asked for.
        classify: Callable[[Prediction], pd.DataFrame] = import_module("screening.classify.classes").classify_prediction
        return classify(self)

    def plot(self, index: int, axes: Axes | None = None) -> Axes:
        """Draw the spectrum of one crystal with a band of one standard deviation; raises as `dos`."""
        spectrum, band = self._spectrum(index), self.uncertainty[index]
        if axes is None:
            # By pyplot, so that a notebook shows it.
            axes = import_module("matplotlib.pyplot").subplots(figsize=(7, 4), layout="constrained")[1]
        (line,) = axes.plot(self.grid.centers, spectrum, label=f"{self.material_ids[index]}, {self.model}")
        lower = (spectrum - band).clip(min=0)
        axes.fill_between(self.grid.centers, lower, spectrum + band, alpha=0.2, color=line.get_color(), linewidth=0)
        is_electronic = self.grid == EDOS_GRID
        axes.set_xlabel(r"$E - E_\mathrm{F}$ (eV)" if is_electronic else f"frequency ({self.grid.unit})")
        axes.set_ylabel(f"DOS (states/{self.grid.unit} per cell)")
        axes.set_ylim(bottom=0)
        axes.legend()
        return axes

    def _spectrum(self, index: int) -> NDArray[np.float64]:
        if self.status[index] != Status.OK:
            raise ValueError(f"There is no prediction for {self.material_ids[index]}: {self.reason[index]}")
        return np.asarray(self.spectra[index], dtype=np.float64)


def predictions_table(prediction: Prediction) -> pa.Table:
    """Rows of the table of predictions, one per material; the spectra are in the column named after their grid."""
    ok = np.array([status == Status.OK for status in prediction.status], dtype=np.bool_)
    n_materials = len(prediction.status)
    prior = prediction.prior_metal_probability
    known = {} if prior is None else {Column.PRIOR_METAL_PROBABILITY: pa.array(prior, mask=np.isnan(prior))}
    unknown = [None] * n_materials
    odd = prediction.implausibility
    return pa.table(
        {
            Column.MATERIAL_ID: pa.array(prediction.material_ids, type=pa.string()),
            Column.MODEL: pa.array([prediction.model] * n_materials, type=pa.string()),
            Column.STATUS: pa.array(prediction.status, type=pa.string()),
            Column.REASON: pa.array(prediction.reason, type=pa.string()),
            Column(prediction.grid.name): list_column(prediction.spectra, ok),
            Column.SCALE_STATES: pa.array(prediction.scale, mask=~ok, type=pa.float32()),
            # Predictions of others may come without.
            Column.UNCERTAINTY: list_column(prediction.uncertainty),
            Column.RELATIVE_ERROR: pa.array(prediction.relative_error, from_pandas=True, type=pa.float32()),
            Column.DOMAIN_DISTANCE: pa.array(prediction.domain_distance, from_pandas=True, type=pa.float32()),
            **known,
            Column.IMPLAUSIBILITY: pa.array(odd if len(odd) else unknown, type=pa.float32(), from_pandas=True),
            Column.UNSEEN_ELEMENTS: pa.array(prediction.unseen_elements or unknown, type=pa.string()),
            Column.TRUST: pa.array(prediction.trust or unknown, type=pa.string()),
            Column.TRUST_REASON: pa.array(prediction.trust_reason or unknown, type=pa.string()),
            Column.WEIGHTS_HASH: pa.array([prediction.weights_hash] * n_materials, type=pa.string()),
            Column.PREDICTED_BY: pa.array(prediction.speakers, type=pa.string()),
        }
    )
