"""Classes of spectra, predicted or computed: gaps, electronic class, derived properties, target.

A custom classifier is a function that takes `Spectra` and returns columns; `load_function` finds it by the name given in
the setting `classify.functions`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.settings import MODELS_WITH_SPIN
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid
from mat2spec.spectra.prediction import Prediction
from mat2spec.tables.columns import Column
from screening.classify.false_metals import false_metal_columns
from screening.classify.gaps import BLOCK_SIZE, classify_spectra
from screening.classify.materials import Materials
from screening.classify.metals import DecidedBy, MetalEvidence
from screening.classify.properties import derive_properties
from screening.settings import ClassifySettings, GapSettings

# Keeps the order of rows while the condition is evaluated.
_ROW = "row_of_the_table"


class ElectronicClass(StrEnum):
    """Names of the electronic classes."""

    METAL = "metal"
    SEMIMETAL = "semimetal"
    SEMICONDUCTOR = "semiconductor"
    INSULATOR = "insulator"
    # Its gap is not known: the metal head, which knows no gap, overrules a spectrum without one.
    NON_METAL = "non-metal"
    # Evidence for a metal and for a non-metal.
    UNSURE = "unsure"


class ClassifierError(ValueError):
    """A user's classifier or condition cannot be used; the message says why."""


@dataclass(frozen=True)
class Spectra:
    """The input of a classifier.

    Parameters
    ----------
    values
        Densities of states per atom in states/eV, shape (n, grid.size); NaN where there is none.
    grid
        Their grid; zero at E_F of a metal, at the VBM of a gapped material.
    materials
        Sizes of their cells.
    classes
        Classes by the built-in classifiers, one row each.
    """

    values: NDArray[np.float64]
    grid: SpectralGrid
    materials: Materials
    classes: pd.DataFrame


Classifier = Callable[[Spectra], Mapping[str, Any] | pd.DataFrame]


def classify(
    spectra: NDArray[np.floating],
    materials: Materials,
    gap: GapSettings | None = None,
    settings: ClassifySettings | None = None,
    uncertainty: NDArray[np.floating] | None = None,
    functions: Sequence[Classifier] = (),
    evidence: MetalEvidence | None = None,
    with_spin: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Classify spectra and derive their properties.

    Parameters
    ----------
    spectra
        Densities of states on `EDOS_GRID`, states/eV per given cell, shape (n, 128).
    materials
        Sizes and elements of their cells.
    gap, settings
        The rule of a gap and the other limits; the defaults if not given.
    uncertainty
        Standard deviations of the bins in the unit of the spectra, where they are known.
    functions
        Custom classifiers besides those named in the settings; each is called once per block of spectra.
    evidence
        What is known beside predicted spectra of whether they belong to metals; for computed ones None.
    with_spin
        Which spectra are spin-polarised, shape (n,); by default those of models of such spectra.

    Returns
    -------
    pandas.DataFrame
        One row per spectrum: the columns of `screening.classify.gaps.classify_spectra`, `electronic_class` and
        its confidence, those of `screening.classify.properties.derive_properties` and of
        `screening.classify.false_metals`, and those of the functions.

    Raises
    ------
    ClassifierError
        If a custom classifier is not found or returns columns that do not fit.
    """
    gap, settings = gap or GapSettings(), settings or ClassifySettings()
    own = [*map(load_function, settings.functions), *functions]
    if with_spin is None:
        unpolarised = np.zeros(len(spectra), dtype=np.bool_)
        with_spin = unpolarised if evidence is None else np.isin(evidence.models.astype(str), MODELS_WITH_SPIN)
    blocks = []
    for start in range(0, max(len(spectra), 1), BLOCK_SIZE):
        rows = np.arange(start, min(start + BLOCK_SIZE, len(spectra)))
        errors = None if uncertainty is None else uncertainty[rows]
        known = None if evidence is None else evidence.take(rows)
        part = materials.take(rows)
        block = _classify_block(spectra[rows], part, gap, settings, errors, known)
        if part.facts is not None:
            risks = false_metal_columns(block, part.facts, with_spin[rows], settings)
            block = pd.concat([block, risks], axis=1)
        for function in own:
            block = _with_own(block, function, _per_atom(spectra[rows], part, block))
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True) if len(blocks) > 1 else blocks[0]


def classify_prediction(
    prediction: Prediction, gap: GapSettings | None = None, settings: ClassifySettings | None = None
) -> pd.DataFrame:
    """Classify what a model predicts: `material_id`, `model` and the columns of `classify`.

    Raises
    ------
    ValueError
        If the spectra are not electronic, or it is not known of which crystals they are.
    """
    if prediction.grid != EDOS_GRID:
        raise ValueError(f"Only electronic spectra have classes, these are on the grid '{prediction.grid.name}'.")
    if prediction.crystals is None:
        raise ValueError("Classes need the cells of the crystals, which this prediction does not hold.")
    materials = Materials.of_crystals(prediction.crystals)
    evidence = MetalEvidence.of_prediction(prediction)
    classes = classify(prediction.spectra, materials, gap, settings, prediction.uncertainty, evidence=evidence)
    classes.insert(0, str(Column.MATERIAL_ID), prediction.material_ids)
    classes.insert(1, str(Column.MODEL), prediction.model)
    return classes


def _classify_block(
    spectra: NDArray[np.floating],
    materials: Materials,
    gap: GapSettings,
    settings: ClassifySettings,
    uncertainty: NDArray[np.floating] | None,
    evidence: MetalEvidence | None,
) -> pd.DataFrame:
    sizes = materials.sizes
    classes = classify_spectra(spectra, EDOS_GRID, gap, sizes.n_sites, sizes.n_primitive, evidence)
    n_sites = np.maximum(sizes.n_sites, 1)[:, None]
    per_atom = np.asarray(spectra, dtype=np.float64) / n_sites
    errors = None if uncertainty is None else np.asarray(uncertainty, dtype=np.float64) / n_sites
    properties = derive_properties(per_atom, classes, materials, EDOS_GRID, errors)
    table = pd.concat([classes, properties], axis=1)
    band_gaps = None if evidence is None else evidence.band_gaps_ev
    return table.assign(**electronic_classes(table, settings, band_gaps))


def _per_atom(spectra: NDArray[np.floating], materials: Materials, classes: pd.DataFrame) -> Spectra:
    """What a custom classifier sees."""
    per_atom = np.asarray(spectra, dtype=np.float64) / np.maximum(materials.sizes.n_sites, 1)[:, None]
    return Spectra(per_atom, EDOS_GRID, materials, classes)


def electronic_classes(
    table: pd.DataFrame, settings: ClassifySettings, band_gaps_ev: NDArray[np.float64] | None = None
) -> dict[str, pd.Series]:
    """Electronic class and how sure it is, from the other columns and, where known, the band gap of the source.

    One of `ElectronicClass`; the confidence is that of metal or non-metal.
    """
    metal = table[Column.IS_METAL]
    is_metal = metal.fillna(value=False).to_numpy(dtype=np.bool_)
    gaps = table[Column.DOS_GAP_EV].to_numpy(dtype=np.float64)
    if band_gaps_ev is not None:
        gaps = np.where(np.isfinite(band_gaps_ev), band_gaps_ev, gaps)
    confidence = table[Column.METAL_CONFIDENCE].where(is_metal, 1 - table[Column.METAL_CONFIDENCE])
    is_judged = (table[Column.METAL_BY] != DecidedBy.SPECTRUM).to_numpy(dtype=np.bool_)
    is_low = (table[Column.DOS_AT_EFERMI_PER_ATOM] < settings.semimetal_dos_per_atom).to_numpy(dtype=np.bool_)
    cases = {
        ElectronicClass.UNSURE: is_judged & (confidence < settings.class_confidence_min).to_numpy(dtype=np.bool_),
        ElectronicClass.SEMIMETAL: is_metal & is_low,
        ElectronicClass.METAL: is_metal,
        ElectronicClass.INSULATOR: gaps >= settings.insulator_gap_ev,
        ElectronicClass.SEMICONDUCTOR: np.isfinite(gaps),
    }
    names = np.select(list(cases.values()), list(cases), ElectronicClass.NON_METAL).astype(object)
    return {
        Column.ELECTRONIC_CLASS: pd.Series(names, index=table.index).where(metal.notna(), None),
        Column.ELECTRONIC_CLASS_CONFIDENCE: confidence,
    }


def mark_targets(table: pd.DataFrame, materials: pd.DataFrame, condition: str) -> pd.DataFrame:
    """The table with the column `is_target`: which rows satisfy an SQL condition on their classes and properties.

    Parameters
    ----------
    table
        Classes, with `material_id`.
    materials
        Further columns by `material_id` that the condition may use, such as the candidates'.
    condition
        As in `mat2spec tables --where`; a row is not a hit if a value in the condition is unknown, and null if it has no
        spectrum.

    Raises
    ------
    ClassifierError
        If the condition is not valid SQL.
    """
    more = [name for name in materials.columns if name not in table.columns]
    # A large table is not widened by columns that nobody asks for; names in SQL may be written in capitals.
    asked = [name for name in more if str(name).lower() in condition.lower()]
    judged = table.merge(materials[[Column.MATERIAL_ID, *asked]], "left", Column.MATERIAL_ID) if asked else table
    judged = judged.assign(**{_ROW: np.arange(len(judged))})
    try:
        # The condition may come with the run folder of a stranger: it sees these columns, no file and no network.
        with duckdb.connect(config={"enable_external_access": "false"}) as connection:
            relation = connection.from_df(judged).project(f'"{_ROW}", ({condition})::BOOLEAN AS "{Column.IS_TARGET}"')
            found = relation.order(_ROW).df()
    except duckdb.Error as error:
        columns = ", ".join(str(name) for name in (*table.columns, *more))
        raise ClassifierError(
            f"The condition '{condition}' cannot be used: {str(error).splitlines()[0]} Columns are {columns}."
        ) from error
    flags = found[Column.IS_TARGET].astype("boolean").fillna(value=False).set_axis(table.index)
    return table.assign(**{Column.IS_TARGET: flags.mask(table[Column.IS_METAL].isna())})


def load_function(name: str) -> Classifier:
    """A classifier by its name: ``package.module:function``, or ``path/to/file.py:function``.

    Raises
    ------
    ClassifierError
        If there is no such function.
    """
    place, _, function = name.rpartition(":")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        found: Classifier = getattr(module, function)
    except (ImportError, AttributeError, OSError, ValueError) as error:
        raise ClassifierError(
            f"The classifier '{name}' was not found ({error}); write package.module:function or file.py:function."
        ) from error
    return found


def _load_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up there.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _with_own(table: pd.DataFrame, function: Classifier, spectra: Spectra) -> pd.DataFrame:
    name = getattr(function, "__name__", "classifier")
    columns = pd.DataFrame(function(spectra), index=table.index)
    taken = [column for column in columns.columns if column in table.columns]
    if len(columns) != len(table) or taken:
        raise ClassifierError(
            f"The classifier '{name}' must return new columns with {len(table)} rows; it returned {len(columns)} rows, and "
            f"these columns are taken: {', '.join(taken) or 'none'}."
        )
    return pd.concat([table, columns], axis=1)
