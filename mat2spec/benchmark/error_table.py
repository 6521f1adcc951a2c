"""The table with a row for each model and test material: its errors, and what they may depend on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Composition
from scipy.fft import dct

from mat2spec.benchmark.data import Array, BenchmarkData, Result
from mat2spec.benchmark.ensembles import Judged
from mat2spec.benchmark.evaluation import flat_where_empty
from mat2spec.benchmark.resampling import Contributions
from mat2spec.benchmark.test_sets import in_order
from mat2spec.crystals.prototypes import prototype_name, space_group_number
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.labels.splits import Split
from mat2spec.spectra.metrics import normalise_sum
from mat2spec.tables.files import atomic_path

ERRORS_FILE = "errors.parquet"
MODEL_COLUMNS = ["contender", "model", "setting", "seed", "n_members"]
# Parts of the grid, from its lower end.
N_WINDOWS = 4
# Half waves across the grid where the middle and the high components begin.
FOURIER_BANDS = {"low": 0, "middle": 8, "high": 24}


def error_table(judged: Sequence[Judged], data: BenchmarkData) -> pd.DataFrame:
    """All test materials of every model.

    Parameters
    ----------
    judged
        Results with their spectra.
    data
        What they were evaluated on.

    Returns
    -------
    DataFrame
        The columns of `MODEL_COLUMNS` and ``test_set``, of `describe_materials`, and of `material_figures`.
    """
    described: dict[str, pd.DataFrame] = {}
    parts = []
    for result, spectra, totals in judged:
        pretraining = bool(result.get("settings", {}).get("pretraining", False))
        labelled = data.judged(result["material_ids"], pretraining)
        key = f"{pretraining} {result['material_ids']}"
        if key not in described:
            described[key] = describe_materials(labelled)
        for test_set in in_order(spectra):
            labels, (predicted, sigma) = labelled.part(test_set), spectra[test_set]
            contributions = data.contributions(predicted, labels, totals.get(test_set))
            figures = material_figures(predicted, sigma, labels, contributions)
            materials = described[key].loc[labelled.split == test_set].reset_index(drop=True)
            parts.append(pd.concat([_model_columns(result, test_set, len(labels)), materials, figures], axis=1))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def describe_materials(data: LabelledSpectra) -> pd.DataFrame:
    """Every material of all splits, and how many training materials resemble it.

    Returns
    -------
    DataFrame
        ``material_id``, ``formula``, ``chemical_system``, ``n_elements``, ``n_sites``, ``space_group`` and ``prototype``
        (missing without crystals), and numbers of training materials: ``n_train_chemical_system`` with the same elements,
        ``n_train_rarest_element`` with that of its elements that fewest have, ``n_train_space_group`` and
        ``n_train_prototype``. A training material counts itself.
    """
    compositions = [Composition(str(formula)) for formula in data.formulas]
    table = pd.DataFrame(
        {
            "material_id": data.material_ids.astype(str),
            "formula": data.formulas.astype(str),
            "chemical_system": [composition.chemical_system for composition in compositions],
            "n_elements": [len(composition.elements) for composition in compositions],
            "n_sites": data.n_atoms,
            "space_group": pd.array(_space_groups(data), dtype="Int64"),
        }
    )
    groups = zip(table["formula"], table["space_group"], strict=True)
    table["prototype"] = [None if group is pd.NA else prototype_name(formula, int(group)) for formula, group in groups]
    train = table[data.split == Split.TRAIN]
    for column in ("chemical_system", "space_group", "prototype"):
        counts = table[column].map(train[column].value_counts()).astype("Int64").fillna(0)
        table[f"n_train_{column}"] = counts.mask(table[column].isna())
    containing = train["chemical_system"].str.split("-").explode().value_counts()
    elements = table["chemical_system"].str.split("-")
    table["n_train_rarest_element"] = [min(int(containing.get(name, 0)) for name in names) for names in elements]
    return table


def material_figures(
    spectra: Array, sigma: Array | None, labels: LabelledSpectra, contributions: Contributions
) -> pd.DataFrame:
    """Errors of predicted spectra, one row for each.

    Parameters
    ----------
    spectra
        Predictions of any scale, shape (n, size); empty ones count as flat.
    sigma
        Standard deviation of each bin in the same unit, shape (n, size); None where unknown.
    labels
        True spectra.
    contributions
        Errors on the scales of this kind of spectrum.

    Returns
    -------
    DataFrame
        ``error``: half the sum of absolute differences of shapes that sum to one, the share of the states that is in wrong
        bins, 0 to 1; ``expected_error``: the same of `sigma`. ``error_window_1`` to ``_4``: parts of the error from each
        quarter of the grid. ``fourier_low``, ``_middle`` and ``_high``: shares of the true shape's squared cosine
        components (without the mean) with 1-7, 8-23 and more half waves across the grid; ``error_fourier_...``: shares of
        the squared error. ``is_gapped_metal`` and ``predicted_gapped_metal``, where judged. All figures of
        `Contributions.of_materials`.
    """
    given = flat_where_empty(spectra)
    true, shapes = normalise_sum(labels.spectra), normalise_sum(given)
    parts = 0.5 * np.abs(true - shapes)
    figures = {"error": parts.sum(axis=1)}
    if sigma is not None:
        figures["expected_error"] = 0.5 * sigma.sum(axis=1) / given.sum(axis=1)
    figures |= {
        f"error_window_{number}": window.sum(axis=1)
        for number, window in enumerate(np.array_split(parts, N_WINDOWS, axis=1), start=1)
    }
    figures |= {f"fourier_{band}": share for band, share in fourier_shares(true).items()}
    figures |= {f"error_fourier_{band}": share for band, share in fourier_shares(true - shapes).items()}
    table = pd.DataFrame(figures | contributions.of_materials())
    if contributions.gapped_metals is not None:
        predicted, known = contributions.gapped_metals
        table["is_gapped_metal"], table["predicted_gapped_metal"] = known.flags, predicted.flags
    return table


def fourier_shares(curves: Array) -> dict[str, NDArray[np.float64]]:
    """Shares of squared cosine components of curves (n, size) in `FOURIER_BANDS`, each (n,); NaN of constant curves.

    A cosine series continues a curve evenly, so that different ends make no step.
    """
    power = dct(curves, type=2, norm="ortho", axis=1) ** 2
    power[:, 0] = 0.0
    total = power.sum(axis=1)
    # A constant curve has components by rounding alone.
    varies = total > 1e-24 * (curves**2).sum(axis=1)
    begins = list(FOURIER_BANDS.values())
    sums = np.add.reduceat(power, begins, axis=1)
    shares = np.divide(sums, total[:, None], out=np.full_like(sums, np.nan), where=varies[:, None])
    return dict(zip(FOURIER_BANDS, shares.T, strict=True))


def write_error_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table as Parquet; earlier rows of other models on the same materials are kept.

    Parameters
    ----------
    path
        The file.
    table
        From `error_table`.
    """
    if path.is_file():
        table = pd.concat([table, _still_valid(pd.read_parquet(path), table)], ignore_index=True)
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def _still_valid(earlier: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of models and settings that are not in the new table, of test sets whose materials are the same."""
    new = set(zip(table["contender"], table["setting"], strict=True))
    other = [name not in new for name in zip(earlier["contender"], earlier["setting"], strict=True)]
    materials = [set(known.groupby("test_set")["material_id"].agg(frozenset).items()) for known in (earlier, table)]
    same = {test_set for test_set, _ in materials[0] & materials[1]}
    return earlier[other & earlier["test_set"].isin(same).to_numpy()]


def _model_columns(result: Result, test_set: str, n: int) -> pd.DataFrame:
    who = {column: result.get(column) for column in MODEL_COLUMNS} | {"n_members": result.get("n_members", 1)}
    columns = pd.DataFrame([{**who, "test_set": str(test_set)}] * n)
    return columns.astype({"setting": str, "seed": "Int64", "n_members": "Int64"})


def _space_groups(data: LabelledSpectra) -> list[int | None]:
    if data.crystals is None:
        return [None] * len(data)
    return [space_group_number(data.crystals, index) for index in range(len(data))]
