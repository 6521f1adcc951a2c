"""Spectra that others predicted and published, by identifier: a model of which only the answers are known.

A file of identifiers, energies and densities of states, as npz, Parquet or CSV, is screened, classified and validated like
a model of ours. Its energies are on the scale of the field, zero at E_F of a metal and at the VBM of a gapped material;
its densities hold both spins, per cell of the source unless the file says ``per = "atom"``.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.columns import identifiers, numbers_of_lists
from mat2spec.graphs.from_data import CrystalsOrData, as_crystals
from mat2spec.settings import EXTERNAL_ENDINGS, model_name
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY, SpectralGrid, edges_of_samples, rebin_to_edges
from mat2spec.spectra.prediction import BatchReport, Prediction
from mat2spec.tables.array_files import check_header
from mat2spec.tables.columns import Column
from mat2spec.tables.files import file_sha256
from mat2spec.tables.parquet import read_metadata, read_table
from mat2spec.tables.status import Status

# Names under which files keep what is needed, ours first.
IDS = (str(Column.MATERIAL_ID), "material_ids", "ids", "id", "mp_id", "mp_ids", "mpid", "mpids", "task_id")
ENERGIES = ("energy_ev", "energies_ev", "energies", "energy", "energy_grid", "grid")
SPECTRA = (str(Column.EDOS), "spectra", "spectrum", "dos", "predictions", "prediction", "predicted", "pred")
UNCERTAINTIES = (str(Column.UNCERTAINTY), "std", "sigma")
PER = "per"
_PER_VALUES = ("cell", "atom")


class ExternalPredictionsError(ValueError):
    """A file of predictions cannot be used; the message says why and what it must hold."""


@dataclass(frozen=True)
class _Content:
    """What a file holds, as it is in the file: spectra on energies of their own."""

    ids: list[str | None]
    energies: NDArray[np.float64]
    spectra: NDArray[np.float64]
    uncertainty: NDArray[np.float64] | None
    per: str


class ExternalPredictions:
    """Answers of a model of others, looked up by identifier.

    Parameters
    ----------
    path
        An npz file with arrays, or a Parquet or CSV table with columns: identifiers (`IDS`), densities of states in
        states/eV (`SPECTRA`, shape (n, m)), their energies in eV (`ENERGIES`, shape (m,); a table may give the grid of
        our own tables in its metadata, a CSV one column per energy, named by it), and, if known, one standard deviation
        per bin (`UNCERTAINTIES`).

    Raises
    ------
    ExternalPredictionsError
        If something is missing, an identifier occurs twice, or the energies do not reach over the grid.
    mat2spec.tables.files.TableError
        If the file is missing or damaged.
    """

    grid: SpectralGrid = EDOS_GRID

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.name = model_name(str(path))
        self.weights_hash = file_sha256(self.path)
        content = _read(self.path)
        self._rows = self._index(content.ids)
        self._per_atom = content.per == "atom"
        self._spectra = _on_grid(content.energies, content.spectra, self.path)
        spread = content.uncertainty
        self._uncertainty = None if spread is None else _on_grid(content.energies, spread, self.path)

    def predict(self, crystals: CrystalsOrData, on_batch: BatchReport | None = None) -> Prediction:
        """The published spectrum of every crystal; one that the file does not have gets a reason."""
        crystals = as_crystals(crystals)
        n, size = len(crystals), self.grid.size
        spectra = np.full((n, size), np.nan, dtype=np.float32)
        uncertainty = spectra.copy()
        reasons = self._reasons(crystals)
        for index, (name, reason) in enumerate(zip(crystals.material_ids, reasons, strict=True)):
            if not reason:
                row = self._rows[name]
                factor = crystals.n_sites[index] if self._per_atom else 1
                spectra[index] = np.maximum(self._spectra[row] * factor, 0)
                if self._uncertainty is not None:
                    uncertainty[index] = self._uncertainty[row] * factor
        if on_batch:
            on_batch(n)
        unknown = np.full(n, np.nan, dtype=np.float32)
        return Prediction(
            material_ids=crystals.material_ids,
            spectra=spectra,
            scale=self.grid.integrate(spectra).astype(np.float32),
            uncertainty=uncertainty,
            relative_error=unknown,
            domain_distance=unknown.copy(),
            status=[Status.FAILED if reason else Status.OK for reason in reasons],
            reason=reasons,
            model=self.name,
            weights_hash=self.weights_hash,
            grid=self.grid,
        )

    def _reasons(self, crystals: Crystals) -> list[str]:
        """Why the file has no answer for a crystal; empty where it has."""
        reasons = []
        for name in crystals.material_ids:
            row = self._rows.get(name)
            if row is None:
                reasons.append(f"{self.path.name} has no spectrum of this material.")
            elif not np.isfinite(self._spectra[row]).all() or not (self._spectra[row] > 0).any():
                reasons.append(f"The spectrum of this material in {self.path.name} is empty or not finite.")
            else:
                reasons.append("")
        return reasons

    def _index(self, ids: list[str | None]) -> dict[str, int]:
        rows = {name: row for row, name in enumerate(ids) if name is not None}
        n_named = sum(name is not None for name in ids)
        if len(rows) < n_named:
            first = next(name for row, name in enumerate(ids) if name is not None and rows[name] != row)
            raise ExternalPredictionsError(
                f"{n_named - len(rows)} rows of {self.path} repeat the identifier of another, the first is {first}; keep one "
                "spectrum of each material, and of one model."
            )
        return rows


def _read(path: Path) -> _Content:
    ending = path.suffix.lower()
    if ending == ".npz":
        return _read_npz(path)
    if ending == ".parquet":
        return _read_parquet(path)
    if ending == ".csv":
        return _read_csv(path)
    raise ExternalPredictionsError(
        f"{path} is not a file of predictions; its name must end in {', '.join(EXTERNAL_ENDINGS)}."
    )


def _read_npz(path: Path) -> _Content:
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
            spread = next((name for name in UNCERTAINTIES if name in there), None)
            return _content(
                _names(_array(archive, there[_only(IDS, there, path, "identifiers")])),
                _array(archive, there[_only(ENERGIES, there, path, "energies")], numbers=True),
                _array(archive, there[_only(SPECTRA, there, path, "spectra")], numbers=True),
                None if spread is None else _array(archive, there[spread], numbers=True),
                str(_array(archive, there[PER])) if PER in there else _PER_VALUES[0],
                path,
            )
    except ExternalPredictionsError:
        raise
    # A damaged, encrypted or unusually packed archive, or content that is not an array.
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, ValueError) as error:
        hint = " Save identifiers as text (ids.astype(str)), not as objects." if "pickle" in str(error) else ""
        reason = (str(error).splitlines() or ["it is incomplete"])[0].rstrip(".")
        raise ExternalPredictionsError(f"{path} cannot be read as npz: {reason}.{hint}") from error


def _array(archive: zipfile.ZipFile, name: str, *, numbers: bool = False) -> NDArray[Any]:
    """An array of an npz file, not larger than what the file holds; of real numbers if asked for.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    with archive.open(name) as content:
        check_header(content, name, archive.getinfo(name).file_size, numbers=numbers)
    with archive.open(name) as content:
        return np.asarray(np.lib.format.read_array(content, allow_pickle=False))


def _names(ids: NDArray[Any]) -> list[str]:
    if ids.dtype.kind not in "USiu":
        raise ValueError(f"identifiers of type {ids.dtype.name} cannot be names")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in ids.ravel().tolist()]


def _read_parquet(path: Path) -> _Content:
    table, metadata = read_table(path), read_metadata(path)
    names = table.column_names
    spectra = _matrix(table, _only(SPECTRA, names, path, "spectra"), path)
    spread = next((_matrix(table, name, path) for name in UNCERTAINTIES if name in names), None)
    if spread is not None and not spread.size:
        spread = None
    if GRID_METADATA_KEY in metadata:
        energies = SpectralGrid.from_json(metadata[GRID_METADATA_KEY]).centers
    else:
        rows = _matrix(table, _only(ENERGIES, names, path, "energies"), path)
        energies = _same_in_all(rows, path)
    ids = identifiers(table[_only(IDS, names, path, "identifiers")])
    return _content(ids, energies, spectra, spread, metadata.get(PER, _PER_VALUES[0]), path)


def _matrix(table: pa.Table, name: str, path: Path) -> NDArray[np.float64]:
    """Lists of equal length as a matrix; a row without one is NaN."""
    lists = numbers_of_lists(table[name], name)
    known = lists.lengths > 0
    lengths = np.unique(lists.lengths[known])
    if len(lengths) > 1:
        raise ExternalPredictionsError(f"The column {name} of {path} holds lists of different lengths.")
    matrix = np.full((len(known), int(lengths[0]) if len(lengths) else 0), np.nan)
    if len(lengths):
        matrix[known] = lists.values.reshape(-1, matrix.shape[1])  # noqa: PD011  no pandas
    return matrix


def _read_csv(path: Path) -> _Content:
    """One column per energy, named by it, or a column of numbers separated by spaces beside one of energies."""
    try:
        frame = pd.read_csv(path, dtype=object)
    except (OSError, ValueError) as error:
        raise ExternalPredictionsError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}.") from error
    names = [str(name) for name in frame.columns]
    ids = [str(name) for name in frame[_only(IDS, names, path, "identifiers")]]
    wide = {name: _number(name) for name in names if _number(name) is not None}
    if wide:
        energies, spectra = np.array(list(wide.values()), dtype=np.float64), _numbers(frame[list(wide)], ids, path)
        order = np.argsort(energies)
        return _content(ids, energies[order], spectra[:, order], None, _PER_VALUES[0], path)
    columns = [_only(names_of, names, path, kind) for names_of, kind in ((ENERGIES, "energies"), (SPECTRA, "spectra"))]
    try:
        energies, spectra = (np.array([str(text).split() for text in frame[name]], dtype=float) for name in columns)
    except ValueError as error:
        raise ExternalPredictionsError(
            f"The columns {' and '.join(columns)} of {path} must hold equally many numbers separated by spaces in every row."
        ) from error
    return _content(ids, _same_in_all(energies, path), spectra, None, _PER_VALUES[0], path)


def _numbers(cells: pd.DataFrame, ids: list[str], path: Path) -> NDArray[np.float64]:
    """Cells of a CSV file as numbers; empty ones become NaN."""
    numbers = cells.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    texts = np.argwhere(np.isnan(numbers) & cells.notna().to_numpy())
    if len(texts):
        row, column = texts[0].tolist()
        raise ExternalPredictionsError(
            f"{path} holds text where a number belongs in {len(texts)} cells: the first is '{cells.iloc[row, column]}', of "
            f"{ids[row]} at {cells.columns[column]} eV. Leave a cell empty where there is no number."
        )
    return numbers


def _same_in_all(rows: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """The energies that all rows have."""
    energies = rows[0] if len(rows) else rows.ravel()
    if not (rows == energies).all():
        raise ExternalPredictionsError(f"The rows of {path} have different energies; bring them to the same ones.")
    return energies


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _only(wanted: tuple[str, ...], names: Any, path: Path, kind: str) -> str:
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise ExternalPredictionsError(
            f"{path} holds no {kind}: none of {', '.join(wanted)} is there. It has {', '.join(list(names)[:10])}."
        )
    return found


def _content(
    ids: list[str | None] | list[str], energies: Any, spectra: Any, spread: Any, per: str, path: Path
) -> _Content:
    energies, spectra = np.asarray(energies, dtype=np.float64).ravel(), np.asarray(spectra, dtype=np.float64)
    if spectra.ndim != 2 or spectra.shape != (len(ids), len(energies)):
        raise ExternalPredictionsError(
            f"{path} holds {len(ids)} identifiers, {len(energies)} energies and spectra of shape {spectra.shape}; they must "
            f"have the shape ({len(ids)}, {len(energies)})."
        )
    if spread is not None and np.shape(spread) != spectra.shape:
        raise ExternalPredictionsError(f"The uncertainties of {path} do not have the shape of the spectra.")
    if len(energies) < 2 or not (np.diff(energies) > 0).all():
        raise ExternalPredictionsError(f"The energies of {path} do not increase.")
    if per not in _PER_VALUES:
        raise ExternalPredictionsError(f"{path} says that its densities are per {per}; write cell or atom.")
    return _Content(list(ids), energies, spectra, None if spread is None else np.asarray(spread, np.float64), per)


def _on_grid(energies: NDArray[np.float64], spectra: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """Bin averages on the eDOS grid; half a sample may be missing at its ends."""
    if len(energies) == EDOS_GRID.size and np.allclose(energies, EDOS_GRID.centers, rtol=0, atol=1e-3):
        return spectra
    edges = edges_of_samples(energies)
    low, high = EDOS_GRID.edges[[0, -1]]
    if edges[0] > low + EDOS_GRID.width or edges[-1] < high - EDOS_GRID.width:
        raise ExternalPredictionsError(
            f"The energies of {path} reach from {energies[0]:g} to {energies[-1]:g} eV; spectra from -4 to 4 eV around E_F "
            "are needed."
        )
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    return (
        np.stack([rebin_to_edges(edges, row, EDOS_GRID.edges) for row in spectra]) if len(spectra) else spectra[:, :0]
    )
