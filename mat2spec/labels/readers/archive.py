"""The public archive of the paper, read as its authors lay it out.

    ARCHIVE/
      label_edos/mpids.csv                   material ids, a header line first
      label_edos/total_dos_128.npy           (n, 128) states/eV per cell
      label_edos/materials_classes/<class>/{train,val,test}_idx.json    for fine-tuning
      materials_with_edos/dos_<id>.json      the crystal under the key "structure"
      phdos/ph_structures.pkl                a list of pymatgen structures
      phdos/ph_dos.npy                       (n, 51), largest value one
      phdos/*indices*.pkl                    three index arrays: train, valid, test
      phdos/mpids.csv                        material ids; numbers stand for them if it is missing

The archive has no index arrays for eDOS: the published split comes from the seeds of the training
script (Kong et al., Nat. Commun. 13, 949 (2022)), which `published_edos_split` draws again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pymatgen.core import Element

from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError, LabelledSpectra, hash_of
from mat2spec.labels.readers.parts import CrystalArrays, Parts, assemble_parts
from mat2spec.labels.readers.pickles import Record, as_array, as_list, read_pickle
from mat2spec.labels.splits import SPLITS
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID, SpectralGrid
from mat2spec.spectra.phonons import scale_to_modes
from mat2spec.tables.array_files import real_numbers

NOT_IN_SPLIT = ""


def load_archive_edos(
    archive: Path,
    graph_settings: GraphSettings,
    reserved: Collection[str] = (),
    materials_class: str | None = None,
) -> LabelledSpectra:
    """Electronic densities of states of the archive, in the published split.

    Parameters
    ----------
    archive
        The unpacked archive.
    graph_settings
        How graphs are made.
    reserved
        Reduced formulas that are neither trained nor validated on.
    materials_class
        Folder in `label_edos/materials_classes` whose index files give the split instead: the
        subclasses that the paper fine-tunes on.

    Raises
    ------
    DataError
        If a file of the archive is missing or damaged; a single crystal that cannot be used is
        dropped and counted.
    """
    archive = Path(archive)
    ids_path = _existing(archive, "label_edos/mpids.csv")
    spectra_path = _existing(archive, "label_edos/total_dos_128.npy")
    folder = _existing(archive, "materials_with_edos", is_folder=True)
    ids = _read_ids(ids_path)
    spectra = _read_spectra(spectra_path, EDOS_GRID, len(ids), ids_path)
    split = (
        published_edos_split(len(ids)) if materials_class is None else _class_split(archive, materials_class, len(ids))
    )
    wanted = np.flatnonzero(split != NOT_IN_SPLIT)
    digest = hashlib.sha256()
    crystals = [_crystal_of_json(folder / f"dos_{ids[index]}.json", digest) for index in wanted]
    parts = Parts([ids[index] for index in wanted], crystals, spectra[wanted], split[wanted])
    sources = {**hash_of(ids_path), **hash_of(spectra_path), folder.name: digest.hexdigest()}
    return assemble_parts("eDOS of the paper's archive", parts, EDOS_GRID, graph_settings, sources, reserved)


def load_archive_phdos(archive: Path, graph_settings: GraphSettings, reserved: Collection[str] = ()) -> LabelledSpectra:
    """Phonon densities of states of the archive, in the split of its index arrays; see `load_archive_edos`."""
    archive = Path(archive)
    structures_path = _existing(archive, "phdos/ph_structures.pkl")
    spectra_path = _existing(archive, "phdos/ph_dos.npy")
    split_path = _index_file(archive / "phdos")
    structures = _read_list(structures_path)
    spectra = _read_spectra(spectra_path, PHDOS_GRID, len(structures), structures_path)
    split = _split_of_indices(split_path, _read_list(split_path), len(structures))
    ids_path = archive / "phdos/mpids.csv"
    ids = _read_ids(ids_path) if ids_path.is_file() else [f"phdos-{index}" for index in range(len(structures))]
    if len(ids) != len(structures):
        raise DataError(
            f"{ids_path} lists {len(ids)} materials, but {structures_path} holds {len(structures)}; get both again."
        )
    chosen = np.flatnonzero(split != NOT_IN_SPLIT)
    crystals = [_explained(_crystal_of_record, structures[index]) for index in chosen]
    parts = Parts(
        [ids[index] for index in chosen], crystals, scale_to_modes(spectra, PHDOS_GRID)[chosen], split[chosen]
    )
    sources = {**hash_of(structures_path), **hash_of(spectra_path), **hash_of(split_path)}
    return assemble_parts(
        "phonons of the paper's archive", parts, PHDOS_GRID, graph_settings, sources, reserved, per_cell=False
    )


def published_edos_split(n_materials: int) -> NDArray[np.object_]:
    """Split of the published training script, which shuffles with seed 1 and then cuts twice with seed 1.

    For the 37,565 materials of the paper it has 30,052 / 3,757 / 3,756 members.

    Returns
    -------
    NDArray
        ``"train"``, ``"valid"`` or ``"test"`` per material, shape (n_materials,).
    """
    order = list(range(n_materials))
    random.Random(1).shuffle(order)
    train, held_out = _cut(np.array(order, dtype=np.int64), n_materials - int(0.8 * n_materials))
    test, valid = _cut(held_out, -(-len(held_out) // 2))
    split = np.full(n_materials, NOT_IN_SPLIT, dtype=object)
    for name, members in zip(SPLITS, (train, valid, test), strict=True):
        split[members] = name
    return split


def _cut(members: NDArray[np.int64], n_second: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two random parts, the second with `n_second` members, as scikit-learn's train_test_split draws them."""
    order = np.random.RandomState(1).permutation(len(members))
    return members[order[n_second:]], members[order[:n_second]]


def _class_split(archive: Path, name: str, n_materials: int) -> NDArray[np.object_]:
    folder = f"label_edos/materials_classes/{name}"
    paths = [_existing(archive, f"{folder}/{split}_idx.json") for split in ("train", "val", "test")]
    return _split_of_indices(archive / folder, [json.loads(path.read_text()) for path in paths], n_materials)


def _split_of_indices(path: Path, indices: list[Any], n_materials: int) -> NDArray[np.object_]:
    if len(indices) != len(SPLITS):
        raise DataError(f"{path} holds {len(indices)} index arrays, not three (train, valid, test); get it again.")
    split = np.full(n_materials, NOT_IN_SPLIT, dtype=object)
    for name, given in zip(SPLITS, indices, strict=True):
        try:
            numbers = as_array(given)
            members = numbers.astype(np.int64, casting="safe" if numbers.size else "unsafe")
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} does not hold arrays of indices ({error}); get it again.") from error
        if members.size and (members.min() < 0 or members.max() >= n_materials):
            raise DataError(f"{path} refers to material {members.max()} of {n_materials}; it belongs to other data.")
        if (split[members] != NOT_IN_SPLIT).any():
            raise DataError(f"{path} puts a material into two splits: it would be both trained and tested on.")
        split[members] = name
    return split


def _index_file(folder: Path) -> Path:
    found = sorted(path for path in folder.glob("*.pkl") if path.name != "ph_structures.pkl")
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise DataError(
            f"{folder} should hold one pickle of index arrays besides ph_structures.pkl; there is {listed}. "
            "The archive is not complete, or files were added."
        )
    return found[0]


def _read_list(path: Path) -> list[Any]:
    content = read_pickle(path)
    try:
        return as_list(content)
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"The pickle {path} does not hold a list ({error}); get it again.") from error


def _read_ids(path: Path) -> list[str]:
    """First column of a CSV file, whose first line is a header."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    return [row[0].strip() for row in rows[1:]]


def _read_spectra(path: Path, grid: SpectralGrid, n_materials: int, listed_in: Path) -> NDArray[np.float64]:
    try:
        spectra = real_numbers(path)
    except (ValueError, EOFError) as error:
        raise DataError(f"The file {path} does not hold an array of numbers ({error}); get it again.") from error
    if spectra.ndim != 2 or spectra.shape[1] != grid.size:
        raise DataError(
            f"{path} has the shape {spectra.shape}; spectra on the grid '{grid.name}' are rows of {grid.size} bins "
            f"from {grid.first_center:g} to {grid.last_center:g} {grid.unit}. Rebin them first."
        )
    if len(spectra) != n_materials:
        raise DataError(f"{path} holds {len(spectra)} spectra, {listed_in} {n_materials} materials; get both again.")
    return spectra


def _crystal_of_json(path: Path, digest: Any) -> CrystalArrays | str:
    """The crystal of a file, or why there is none; the file's content is added to the digest."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return "Its file in materials_with_edos is missing."
    digest.update(content)
    return _explained(_arrays_of_json, content)


def _explained(read: Callable[[Any], CrystalArrays], content: Any) -> CrystalArrays | str:
    try:
        return read(content)
    except _PartialOccupancyError:
        return "The crystal has partial occupancies."
    except (KeyError, ValueError, TypeError, AttributeError, IndexError):
        return "Its crystal cannot be read."


def _arrays_of_json(content: bytes) -> CrystalArrays:
    """Atomic numbers, fractional coordinates and lattice from a `Structure.as_dict`."""
    structure = orjson.loads(content)["structure"]
    numbers = [
        _atomic_number(_only([(kind["element"], kind["occu"]) for kind in site["species"]]))
        for site in structure["sites"]
    ]
    coordinates = np.array([site["abc"] for site in structure["sites"]], dtype=np.float64)
    return numbers, coordinates, np.array(structure["lattice"]["matrix"], dtype=np.float64).reshape(3, 3)


def _crystal_of_record(record: Record) -> CrystalArrays:
    """The same of a pickled structure of any version of pymatgen."""
    sites = [site.fields for site in as_list(record.fields["_sites"])]
    numbers = [_atomic_number(_only(_amounts(site["_species"]))) for site in sites]
    coordinates = np.array(
        [as_array(site.get("_frac_coords", site.get("_fcoords"))) for site in sites], dtype=np.float64
    )
    return numbers, coordinates, as_array(record.fields["_lattice"].fields["_matrix"]).reshape(3, 3).astype(np.float64)


def _amounts(composition: Record) -> list[tuple[str, float]]:
    return [(_symbol(kind), float(as_array(amount))) for kind, amount in composition.fields["_data"].items()]


def _symbol(kind: Record) -> str:
    """Symbol of a pickled element, or of the element of a pickled species."""
    inner = kind.fields.get("_el", kind)
    return str(inner.arguments[0]) if isinstance(inner, Record) else str(inner)


class _PartialOccupancyError(ValueError):
    """A site is shared by elements or partly occupied."""


def _only(amounts: Sequence[tuple[str, float]]) -> str:
    if len(amounts) != 1 or abs(amounts[0][1] - 1) > 1e-6:
        raise _PartialOccupancyError
    return amounts[0][0]


def _atomic_number(symbol: str) -> int:
    return Element(symbol).Z


def _existing(archive: Path, name: str, is_folder: bool = False) -> Path:
    path = archive / name
    if not (path.is_dir() if is_folder else path.is_file()):
        raise DataError(
            f"The archive {archive} lacks {name}; unpack the complete archive of the paper there, keeping its folders."
        )
    return path
