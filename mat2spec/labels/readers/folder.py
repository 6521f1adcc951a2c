"""A folder of structure files with their spectra.

    FOLDER/
      structures/          one file per crystal, named after its material: mp-149.cif, mp-149.vasp,
                           mp-149.json; or JSON files that map material ids to crystals
      spectra.csv          material_id, then one column per bin whose header is the bin centre
      spectra.npy          instead of the CSV file: (n, bins), with ids.txt, one material id per line
      split.csv            optional: material_id,split with train, valid or test;
                           without it a hash of the formula decides

Spectra are per cell of the structure file (a CIF is not reduced to its primitive cell).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.crystals.composition import canonical_formula
from mat2spec.crystals.readers import ReadStructure, read_structures
from mat2spec.crystals.unpacking import uncompressed_name
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError, LabelledSpectra, hash_of
from mat2spec.labels.readers.parts import CrystalArrays, Parts, assemble_parts
from mat2spec.labels.splits import SPLITS, split_of_formula
from mat2spec.spectra.grids import PHDOS_GRID, SpectralGrid
from mat2spec.spectra.phonons import scale_to_modes
from mat2spec.tables.array_files import real_numbers
from mat2spec.tables.files import read_words

_NO_CRYSTAL = "It has a spectrum, but no file in structures/."


def load_folder(
    folder: Path, grid: SpectralGrid, graph_settings: GraphSettings, reserved: Collection[str] = ()
) -> LabelledSpectra:
    """Labelled spectra of a folder in the layout above.

    Parameters
    ----------
    folder
        The folder.
    grid
        The grid of the spectra; those on another grid are refused.
    graph_settings
        How graphs are made.
    reserved
        Reduced formulas that are neither trained nor validated on.

    Raises
    ------
    DataError
        If structures or spectra are missing, or the spectra lie on another grid.
    """
    folder = Path(folder)
    spectra, sources = _read_spectra(folder, grid)
    files = sorted(path for path in (folder / "structures").iterdir() if path.is_file())
    found = _by_material(read_structures(files, primitive=False))
    splits = _read_splits(folder / "split.csv")
    ids = [str(material_id) for material_id in spectra.index]
    parts = Parts(
        material_ids=ids,
        crystals=[_crystal_or_reason(found.get(material_id)) for material_id in ids],
        spectra=_scaled(spectra.to_numpy(dtype=np.float64), grid),
        split=np.array([splits.get(i) or _formula_split(found.get(i)) for i in ids], dtype=object),
    )
    sources |= {"structures": _hash_of_files(files)}
    sources |= hash_of(folder / "split.csv") if splits else {}
    per_cell = grid.name != PHDOS_GRID.name
    return assemble_parts(f"folder {folder.name}", parts, grid, graph_settings, sources, reserved, per_cell=per_cell)


def _read_spectra(folder: Path, grid: SpectralGrid) -> tuple[pd.DataFrame, dict[str, str]]:
    """Spectra by material id, on the grid, and the hashes of the files."""
    table, array, ids = folder / "spectra.csv", folder / "spectra.npy", folder / "ids.txt"
    if table.is_file():
        return _of_csv(table, grid), hash_of(table)
    if not array.is_file():
        raise DataError(
            f"The folder {folder} has neither spectra.csv nor spectra.npy; one of them must contain the labels."
        )
    if not ids.is_file():
        raise DataError(f"The folder {folder} has spectra.npy without ids.txt, which lists the material of each row.")
    return _of_npy(array, ids, grid), {**hash_of(array), **hash_of(ids)}


def _of_csv(path: Path, grid: SpectralGrid) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, index_col=0, dtype={0: str})
        centers = np.array([float(name) for name in frame.columns])
        frame = frame.astype(np.float64)
    except (ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); its first column must be material_id, all others numbers headed by the bin centre."
        ) from error
    if len(centers) != grid.size or np.abs(centers - grid.centers).max() > 0.01 * grid.width:
        raise DataError(
            f"The bins of {path} are not those of the grid '{grid.name}': {grid.size} centres from {grid.first_center:g} to "
            f"{grid.last_center:g} {grid.unit}. Rebin the spectra to it (mat2spec.spectra.grids.rebin_to_edges)."
        )
    return _unique(frame, path)


def _of_npy(path: Path, ids_path: Path, grid: SpectralGrid) -> pd.DataFrame:
    try:
        spectra = real_numbers(path)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path} does not hold an array of numbers ({error}).") from error
    ids = read_words(ids_path)
    if spectra.shape != (len(ids), grid.size):
        raise DataError(
            f"{path} has the shape {spectra.shape}; for {len(ids)} ids on the grid '{grid.name}' it must be "
            f"({len(ids)}, {grid.size}), bins from {grid.first_center:g} to {grid.last_center:g} {grid.unit}."
        )
    return _unique(pd.DataFrame(spectra, index=pd.Index(ids)), path)


def _unique(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    repeated = frame.index[frame.index.duplicated()]
    if len(repeated):
        raise DataError(f"{path} has several spectra for {repeated[0]}; keep one.")
    return frame


def _read_splits(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        frame = pd.read_csv(path, dtype=str)
    except ValueError as error:
        raise DataError(f"{path} cannot be read ({error}); it must have the columns material_id and split.") from error
    if not {"material_id", "split"} <= set(frame.columns) or not frame["split"].isin(SPLITS).all():
        raise DataError(f"{path} must have the columns material_id and split, with {', '.join(SPLITS)} in the second.")
    twice = frame["material_id"][frame["material_id"].duplicated()]
    if len(twice):
        raise DataError(f"{path} lists {twice.iloc[0]} twice; a material belongs to one split.")
    return dict(zip(frame["material_id"], frame["split"], strict=True))


def _by_material(entries: list[ReadStructure]) -> dict[str, ReadStructure]:
    found: dict[str, ReadStructure] = {}
    for entry in entries:
        name = _material_id(entry)
        if name in found:
            raise DataError(f"{found[name].name} and {entry.name} are both the material {name}; keep one.")
        found[name] = entry
    return found


def _material_id(entry: ReadStructure) -> str:
    return entry.key if entry.key and not entry.key.isdigit() else uncompressed_name(Path(entry.file)).stem


def _crystal_or_reason(entry: ReadStructure | None) -> CrystalArrays | str:
    if entry is None:
        return _NO_CRYSTAL
    if entry.structure is None:
        return entry.reason
    structure = entry.structure
    return list(structure.atomic_numbers), structure.frac_coords, structure.lattice.matrix


def _formula_split(entry: ReadStructure | None) -> str:
    if entry is None or entry.structure is None:
        return SPLITS[0]  # such a material is dropped
    return split_of_formula(canonical_formula(entry.structure.formula) or "")


def _scaled(spectra: NDArray[np.float64], grid: SpectralGrid) -> NDArray[np.float64]:
    return scale_to_modes(spectra, grid) if grid.name == PHDOS_GRID.name else spectra


def _hash_of_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
