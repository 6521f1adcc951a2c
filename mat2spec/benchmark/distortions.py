"""Errors of predictors that are given strained, rattled or unrelaxed structures, against labels of the relaxed ones.

Who screens hypothetical crystals has no relaxed structures: the question is what the spectrum of the relaxed crystal loses if
another structure of it is given.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.benchmark.data import BenchmarkData, BenchmarkError
from mat2spec.benchmark.error_figures import LABEL, summarise_groups
from mat2spec.benchmark.error_table import material_figures
from mat2spec.crystals.arrays import Crystals
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.prediction import Predictor, predict_with_models
from mat2spec.tables.status import Status

STRUCTURES, RELAXED, UNRELAXED = "structures", "relaxed", "unrelaxed"


@dataclass(frozen=True)
class Distortion:
    """A change of a crystal.

    Parameters
    ----------
    name
        In tables and figures.
    dilation
        Relative change of all lengths.
    random_strain
        Standard deviation of each component of a random symmetric strain.
    displacement_a
        Standard deviation of each component of random displacements of the sites, in Angstrom.
    """

    name: str
    dilation: float = 0.0
    random_strain: float = 0.0
    displacement_a: float = 0.0


DISTORTIONS = (
    Distortion(RELAXED),
    Distortion("2 % shorter", dilation=-0.02),
    Distortion("2 % longer", dilation=0.02),
    Distortion("strained by 2 %", random_strain=0.02),
    Distortion("rattled by 0.03 A", displacement_a=0.03),
    Distortion("rattled by 0.1 A", displacement_a=0.1),
)


def distort(crystals: Crystals, distortion: Distortion, seed: int = 0) -> Crystals:
    """Distort every crystal; the same crystal with the same seed always in the same way, whatever it is among."""
    lattices, coordinates = crystals.lattices.copy(), crystals.frac_coords.copy()
    for index, name in enumerate(crystals.material_ids):
        random = np.random.default_rng([seed, zlib.crc32(str(name).encode())])
        sites = crystals.sites(index)
        strain = random.normal(scale=distortion.random_strain, size=(3, 3))
        shifts_a = random.normal(scale=distortion.displacement_a, size=coordinates[sites].shape)
        deformation = (1 + distortion.dilation) * np.eye(3) + (strain + strain.T) / 2
        lattices[index] = lattices[index] @ deformation
        coordinates[sites] += shifts_a @ np.linalg.inv(lattices[index])
    return replace(crystals, lattices=lattices, frac_coords=coordinates)


def choose_materials(labels: LabelledSpectra, most_sites: int, n: int, seed: int = 0) -> LabelledSpectra:
    """Random materials with at most so many sites.

    Raises
    ------
    BenchmarkError
        If there are none, or their crystals are missing.
    """
    if labels.crystals is None:
        raise BenchmarkError(f"The crystals of {labels.name} are missing, so they cannot be distorted.")
    small = np.flatnonzero(labels.n_atoms <= most_sites)
    if len(small) == 0:
        raise BenchmarkError(f"None of the materials has at most {most_sites} sites.")
    return labels.take(np.sort(np.random.default_rng(seed).permutation(small)[:n]))


def errors_on_distorted(
    predictors: Sequence[Predictor],
    data: BenchmarkData,
    labels: LabelledSpectra,
    seed: int = 0,
    unrelaxed: Crystals | None = None,
) -> pd.DataFrame:
    """Errors of every predictor on every kind of structures.

    Parameters
    ----------
    predictors
        As users have them.
    data
        How spectra are compared.
    labels
        The materials and the spectra of their relaxed structures.
    seed
        Of the distortions.
    unrelaxed
        Other structures of these materials, by identifier; those that lack some are compared on the materials they have.

    Returns
    -------
    DataFrame
        ``label`` (the model), ``structures``, ``material_id``, ``formula`` and the columns of
        `mat2spec.benchmark.error_table.material_figures`. Rows of failed predictions are left out.
    """
    assert labels.crystals is not None
    kinds = {one.name: (labels, distort(labels.crystals, one, seed)) for one in DISTORTIONS}
    if unrelaxed is not None:
        place = pd.Index(unrelaxed.material_ids).get_indexer(pd.Index(labels.material_ids))
        known = np.flatnonzero(place >= 0)
        if len(known):
            kinds[UNRELAXED] = labels.take(known), unrelaxed.take(place[known])
    parts = [
        _errors(predictor.name, name, data, of_kind, spectra)
        for name, (of_kind, crystals) in kinds.items()
        for predictor, spectra in zip(predictors, _predict(predictors, crystals), strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def summarise_distorted(table: pd.DataFrame) -> pd.DataFrame:
    """Mean error of each model for each kind of structures, as `mat2spec.benchmark.error_figures.summarise_errors`.

    Materials that a model could not predict in one of the kinds but `UNRELAXED` are left out of all of them.
    """
    counts = table[table[STRUCTURES] != UNRELAXED].groupby([LABEL, "material_id"])[STRUCTURES].nunique()
    whole = counts[counts == counts.max()].index
    table = table[pd.MultiIndex.from_frame(table[[LABEL, "material_id"]]).isin(whole)]
    kinds = pd.Categorical(table[STRUCTURES], list(dict.fromkeys(table[STRUCTURES])), ordered=True)
    return summarise_groups(STRUCTURES, "structures given", table, pd.Series(kinds, index=table.index))


def growth_table(table: pd.DataFrame) -> str:
    """Markdown: how much larger the error of each kind is than that of the relaxed structures of the same materials."""
    pairs = table.pivot_table("error", [LABEL, "material_id"], STRUCTURES, sort=False)
    kinds = [name for name in dict.fromkeys(table[STRUCTURES]) if name != RELAXED]
    lines = ["| error against relaxed structures | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for label, rows in pairs.groupby(LABEL, sort=False):
        growths = []
        for kind in kinds:
            both = rows[[RELAXED, kind]].dropna().mean()
            growths.append(f"{round(100 * (both[kind] / both[RELAXED] - 1)):+d} %")
        lines.append(f"| {label} | " + " | ".join(growths) + " |")
    return "\n".join(lines) + "\n"


def _predict(predictors: Sequence[Predictor], crystals: Crystals) -> list[NDArray[np.float64]]:
    """Spectra per atom of each predictor, NaN where it failed."""
    spectra = []
    for prediction in predict_with_models(predictors, crystals):
        good = np.array([status == Status.OK for status in prediction.status])
        spectra.append(np.where(good[:, None], prediction.spectra / crystals.n_sites[:, None], np.nan))
    return spectra


def _errors(
    model: str, kind: str, data: BenchmarkData, labels: LabelledSpectra, spectra: NDArray[np.float64]
) -> pd.DataFrame:
    good = np.flatnonzero(np.isfinite(spectra).all(axis=1))
    chosen = labels.take(good)
    table = material_figures(spectra[good], None, chosen, data.contributions(spectra[good], chosen))
    names = {LABEL: model, STRUCTURES: kind}
    who = pd.DataFrame({"material_id": chosen.material_ids, "formula": chosen.formulas}).assign(**names)
    return pd.concat([who, table], axis=1)
