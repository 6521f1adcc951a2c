"""Labelled spectra to train on: graphs, spectra per atom, and a split that leaks nothing."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pymatgen.core import Composition, Element

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs import CrystalBatch, GraphSettings, build_graphs
from mat2spec.labels.edos_store import read_edos_store, shipped_stores, training_level
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID, SpectralGrid, rebin_to_edges
from mat2spec.spectra.phonons import scale_to_modes
from mat2spec.tables.files import cache_dir, file_sha256, read_parquet

DFPT_FILE = "phdos_dfpt.parquet"
FINITE_DISPLACEMENT_FILE = "phdos_finite_displacement.parquet"
EDOS_FILE = "edos_pbe.parquet"
RESERVED_FILE = "reserved_ids.txt"
STRUCTURES_FILE = "mp_structures.parquet"
SPLITS = ("train", "valid", "test")
# Held-out materials of eDOS stores, where `edos_pbe.parquet` is read too: its own test materials stay what they are.
STORE_TEST = "store_test"
_CRYSTAL_COLUMNS = ["material_id", "lattice", "frac_coords", "atomic_numbers"]


class DataError(ValueError):
    """Training data are missing or cannot be used; the message says what to do."""


@dataclass(frozen=True)
class LabelledSpectra:
    """Crystals with their spectra.

    Parameters
    ----------
    name
        Where the data come from, for the card of the weights.
    material_ids
        Shape (n,).
    formulas
        Reduced formulas, shape (n,): what must not be shared between splits.
    graphs
        One graph per crystal.
    spectra
        Spectra per atom on `grid`, shape (n, size).
    split
        ``"train"``, ``"valid"``, ``"test"`` or ``"store_test"``, shape (n,).
    grid
        The spectral grid.
    sources
        File name to content hash of everything that was read.
    dropped
        Reason to number of materials left out.
    crystals
        The crystals themselves, for choosing by symmetry; None if they were not kept.
    """

    name: str
    material_ids: NDArray[np.object_]
    formulas: NDArray[np.object_]
    graphs: CrystalBatch
    spectra: NDArray[np.float32]
    split: NDArray[np.object_]
    grid: SpectralGrid
    sources: dict[str, str]
    dropped: dict[str, int]
    crystals: Crystals | None = None

    def __len__(self) -> int:
        return len(self.material_ids)

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Atoms in each cell, shape (n,)."""
        return self.graphs.n_atoms

    def take(self, indices: NDArray[np.integer]) -> LabelledSpectra:
        """The materials at `indices`."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            material_ids=self.material_ids[chosen],
            formulas=self.formulas[chosen],
            graphs=self.graphs.take(chosen),
            spectra=self.spectra[chosen],
            split=self.split[chosen],
            crystals=None if self.crystals is None else self.crystals.take(chosen),
        )

    def part(self, split: str) -> LabelledSpectra:
        """The materials of one split."""
        return self.take(np.flatnonzero(self.split == split))


def load_phdos(data_dir: Path, graph_settings: GraphSettings, pretraining: bool = True) -> LabelledSpectra:
    """Phonon spectra: the published DFPT split, with the finite-displacement set as further training data.

    From the finite-displacement set every material is dropped whose reduced formula is in the
    validation or test split, that has 1 % imaginary modes or more, or that is in the DFPT set
    already. No material of a reserved formula is trained on: the encoder goes on to eDOS.

    Parameters
    ----------
    data_dir
        Folder with the phonon tables.
    graph_settings
        How graphs are made.
    pretraining
        Whether to add the finite-displacement set.
    """
    dfpt = _load_dfpt(data_dir, graph_settings)
    if not pretraining:
        return _without_reserved(dfpt, data_dir)
    large = _load_finite_displacement(data_dir, graph_settings)
    held_out = dfpt.split != "train"
    shared = np.isin(large.formulas, dfpt.formulas[held_out]) | np.isin(large.material_ids, dfpt.material_ids)
    joined = concatenate([dfpt, large.take(np.flatnonzero(~shared))], name="DFPT + finite-displacement phonons")
    dropped = {**joined.dropped, "shared with the DFPT set": int(shared.sum())}
    return _without_reserved(replace(joined, dropped=dropped), data_dir)


def _without_reserved(data: LabelledSpectra, data_dir: Path) -> LabelledSpectra:
    """Without the training materials whose formula is reserved."""
    reserved = np.isin(data.formulas, list(reserved_formulas(data_dir))) & (data.split == "train")
    dropped = {**data.dropped, "reserved formula": int(reserved.sum())}
    return replace(data.take(np.flatnonzero(~reserved)), dropped=dropped)


def load_edos(
    data_dir: Path | None, graph_settings: GraphSettings, stores: Sequence[Path] | None = None
) -> LabelledSpectra:
    """Electronic densities of states of the table of a data folder and of eDOS stores.

    Every material is put into a split by a hash of its reduced formula alone (`split_of_formula`: 80/10/10), so that
    no formula is shared between training and held-out materials, whatever file they are in. The test materials of
    the data folder stay ``"test"`` whatever stores are added; those of stores are ``"store_test"`` beside them, and
    ``"test"`` without a data folder. Of a material that is there twice the first is taken.

    Parameters
    ----------
    data_dir
        Folder with `edos_pbe.parquet` and the list of reserved materials; None trains on stores alone.
    graph_settings
        How graphs are made.
    stores
        eDOS stores; by default the one that the project carries, if it is there.

    Raises
    ------
    DataError
        If there is neither a folder nor a store, or a reserved material is among the labels.
    mat2spec.tables.files.TableError
        If a store cannot be read.
    """
    paths = shipped_stores() if stores is None else list(stores)
    reserved = set() if data_dir is None else reserved_formulas(data_dir)
    parts = [] if data_dir is None else [_load_edos_table(_existing(data_dir, EDOS_FILE), graph_settings)]
    test_split = "test" if data_dir is None else STORE_TEST
    parts += [_load_store(Path(path), graph_settings, test_split) for path in paths]
    if not parts:
        raise DataError(
            "There are no electronic densities of states to train on: the project carries no data/edos_store.parquet "
            "here; give the folder of labelled spectra with --data, or an eDOS store with --store."
        )
    for part in parts:
        _refuse_reserved(part, reserved)
    return _first_of_each_material(concatenate(parts, name=" + ".join(part.name for part in parts)))


def _load_edos_table(path: Path, graph_settings: GraphSettings) -> LabelledSpectra:
    table = read_parquet(path)
    crystals = Crystals.from_arrow(table)
    formulas = reduced_formulas(crystals)
    spectra = stack_column(table, "edos", EDOS_GRID) / crystals.n_sites[:, None]
    split = np.array([split_of_formula(str(formula)) for formula in formulas], dtype=object)
    return assemble_spectra(
        "GPAW PBE eDOS", crystals, formulas, spectra, split, EDOS_GRID, graph_settings, hash_of(path)
    )


def _load_store(path: Path, graph_settings: GraphSettings, test_split: str) -> LabelledSpectra:
    """The labels of one store at the level of theory that is trained on."""
    table = read_edos_store(path)
    wanted = training_level(table)
    same_level = np.logical_and.reduce([pc.equal(table[name], value) for name, value in wanted.items()])
    chosen = table.filter(pa.array(same_level, type=pa.bool_()))
    if not len(chosen):
        level = ", ".join(f"{name} {value}" for name, value in wanted.items())
        raise DataError(
            f"The eDOS store {path} holds no label at the level that is trained on ({level}); leave it out."
        )
    crystals = Crystals.from_arrow(chosen)
    formulas = reduced_formulas(crystals)
    spectra = stack_column(chosen, "edos", EDOS_GRID) / crystals.n_sites[:, None]
    splits = [split_of_formula(str(formula)) for formula in formulas]
    split = np.array([test_split if name == "test" else name for name in splits], dtype=object)
    data = assemble_spectra(
        f"labels of {path.name}", crystals, formulas, spectra, split, EDOS_GRID, graph_settings, hash_of(path)
    )
    n_others = len(table) - len(chosen)
    return replace(data, dropped={**data.dropped, "another level of theory": n_others} if n_others else data.dropped)


def _refuse_reserved(data: LabelledSpectra, reserved: set[str]) -> None:
    leaked = [str(formula) for formula in data.formulas if formula in reserved]
    if leaked:
        raise DataError(
            f"{' and '.join(data.sources)} labels {len(leaked)} materials whose formula is reserved for the independent "
            f"test (first: {leaked[0]}); remove them before training."
        )


def _first_of_each_material(data: LabelledSpectra) -> LabelledSpectra:
    first = np.sort(np.unique(data.material_ids.astype(str), return_index=True)[1])
    repeated = len(data) - len(first)
    if not repeated:
        return data
    return replace(data.take(first), dropped={**data.dropped, "labelled more than once": repeated})


def reserved_formulas(data_dir: Path) -> set[str]:
    """Reduced formulas of the materials that must never be labelled or trained on."""
    ids = _existing(data_dir, RESERVED_FILE).read_text().split()
    table = read_parquet(_existing(data_dir, STRUCTURES_FILE), columns=["material_id", "formula"])
    chosen = table.filter(pc.is_in(table["material_id"], value_set=pa.array(ids)))
    if chosen.num_rows < len(set(ids)):
        raise DataError(
            f"{len(set(ids)) - chosen.num_rows} ids of {RESERVED_FILE} are not in {STRUCTURES_FILE}; "
            "their formulas are unknown, so nothing can be kept apart."
        )
    return {_reduced_formula(formula) for formula in chosen["formula"].to_pylist()}


def split_of_formula(formula: str, seed: int = 0) -> str:
    """Split of a formula: 80 % train, 10 % valid, 10 % test, the same on every machine.

    Examples
    --------
    >>> split_of_formula("SrVO3") == split_of_formula("SrVO3")
    True
    """
    draw = int(hashlib.sha256(f"{seed}:{formula}".encode()).hexdigest()[:8], 16) % 10
    return {0: "test", 1: "valid"}.get(draw, "train")


def reduced_formulas(crystals: Crystals) -> NDArray[np.object_]:
    """Reduced formula of each crystal, shape (n,)."""
    symbols = np.array(["X", *(Element.from_Z(z).symbol for z in range(1, 119))], dtype=object)
    formulas = []
    for index in range(len(crystals)):
        numbers, counts = np.unique(crystals.atomic_numbers[crystals.sites(index)], return_counts=True)
        formulas.append(_reduced_formula(dict(zip(symbols[numbers], counts.tolist(), strict=True))))
    return np.array(formulas, dtype=object)


def canonical_formula(text: str) -> str | None:
    """Reduced formula as pymatgen writes it; None if the text is no formula.

    Examples
    --------
    >>> canonical_formula("O6Sr2V2"), canonical_formula("mp-149")
    ('SrVO3', None)
    """
    try:
        return _reduced_formula(text) or None
    except (ValueError, KeyError):
        return None


def _reduced_formula(composition: str | dict[str, int]) -> str:
    with warnings.catch_warnings():
        # pymatgen orders elements by electronegativity and warns that noble gases have none.
        warnings.simplefilter("ignore", UserWarning)
        return Composition(composition).reduced_formula


def concatenate(parts: list[LabelledSpectra], name: str) -> LabelledSpectra:
    """Join data sets on the same grid."""
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    kept = [part.crystals for part in parts if part.crystals is not None]
    return LabelledSpectra(
        name=name,
        material_ids=np.concatenate([part.material_ids for part in parts]),
        formulas=np.concatenate([part.formulas for part in parts]),
        graphs=CrystalBatch.concatenate([part.graphs for part in parts]),
        spectra=np.concatenate([part.spectra for part in parts]),
        split=np.concatenate([part.split for part in parts]),
        grid=parts[0].grid,
        sources=_joined_sources(parts),
        dropped=dict(dropped),
        crystals=None if len(kept) < len(parts) else Crystals.concatenate(kept),
    )


def _joined_sources(parts: list[LabelledSpectra]) -> dict[str, str]:
    """Hashes of all files; one that has the name of another gets the start of its hash."""
    joined: dict[str, str] = {}
    for part in parts:
        for name, digest in part.sources.items():
            taken = joined.get(name, digest) != digest
            joined[f"{name}-{digest[:8]}" if taken else name] = digest
    return joined


def _load_dfpt(data_dir: Path, graph_settings: GraphSettings) -> LabelledSpectra:
    path = _existing(data_dir, DFPT_FILE)
    table = read_parquet(path, columns=[*_CRYSTAL_COLUMNS, "phdos_51", "split"])
    crystals = Crystals.from_arrow(table)
    spectra = scale_to_modes(stack_column(table, "phdos_51", PHDOS_GRID), PHDOS_GRID)
    split = np.array(table["split"].to_pylist(), dtype=object)
    formulas = reduced_formulas(crystals)
    return assemble_spectra(
        "DFPT phonons", crystals, formulas, spectra, split, PHDOS_GRID, graph_settings, hash_of(path)
    )


def _load_finite_displacement(data_dir: Path, graph_settings: GraphSettings) -> LabelledSpectra:
    path = _existing(data_dir, FINITE_DISPLACEMENT_FILE)
    table = read_parquet(path, columns=[*_CRYSTAL_COLUMNS, "phdos_4cm1", "imaginary_fraction"])
    unstable = pc.greater_equal(table["imaginary_fraction"], 0.01)
    stable = table.filter(pc.invert(unstable))
    crystals = Crystals.from_arrow(stable)
    fine = np.stack(stable["phdos_4cm1"].to_numpy())
    edges = np.linspace(0.0, 4.0 * fine.shape[1], fine.shape[1] + 1)
    coarse = np.stack([rebin_to_edges(edges, row, PHDOS_GRID.edges) for row in fine])
    spectra = scale_to_modes(coarse, PHDOS_GRID)
    split = np.full(len(crystals), "train", dtype=object)
    formulas = reduced_formulas(crystals)
    data = assemble_spectra(
        "finite-displacement phonons", crystals, formulas, spectra, split, PHDOS_GRID, graph_settings, hash_of(path)
    )
    return replace(data, dropped={**data.dropped, "1 % imaginary modes or more": table.num_rows - stable.num_rows})


def assemble_spectra(
    name: str,
    crystals: Crystals,
    formulas: NDArray[np.object_],
    spectra: NDArray[np.floating],
    split: NDArray[np.object_],
    grid: SpectralGrid,
    graph_settings: GraphSettings,
    sources: dict[str, str],
) -> LabelledSpectra:
    """Make graphs and drop the materials that cannot be trained on, with the reasons counted.

    Parameters
    ----------
    name, formulas, split, grid, sources
        As in `LabelledSpectra`.
    crystals
        The crystals, n of them.
    spectra
        Spectra per atom on the grid, shape (n, size).
    graph_settings
        How graphs are made.
    """
    graphs, problems = build_graphs(crystals, graph_settings, cache_dir("descriptors"))
    reasons = [problem or _label_problem(row) for problem, row in zip(problems, spectra, strict=True)]
    usable = np.flatnonzero([reason is None for reason in reasons])
    data = LabelledSpectra(
        name=name,
        material_ids=crystals.material_ids,
        formulas=formulas,
        graphs=graphs,
        spectra=spectra.astype(np.float32),
        split=split,
        grid=grid,
        sources=sources,
        dropped=dict(Counter(filter(None, reasons))),
        crystals=crystals,
    )
    return data.take(usable)


def hash_of(path: Path) -> dict[str, str]:
    """Name of a file to the hash of its content."""
    return {path.name: file_sha256(path)}


def _label_problem(spectrum: NDArray[np.floating]) -> str | None:
    if not np.isfinite(spectrum).all():
        return "The spectrum holds numbers that are not finite."
    if spectrum.min() < 0:
        return "The spectrum has negative values."
    if spectrum.sum() == 0:
        return "The spectrum is zero everywhere."
    return None


def stack_column(table: pa.Table, column: str, grid: SpectralGrid) -> NDArray[np.float64]:
    """Lists of a column as rows on a grid; `SpectralGrid.check` refuses other lengths."""
    rows = table[column].to_numpy()
    spectra = np.stack([np.asarray(row, dtype=np.float64) for row in rows])
    grid.check(spectra)
    return spectra


def _existing(data_dir: Path, name: str) -> Path:
    path = Path(data_dir) / name
    if not path.is_file():
        raise DataError(
            f"The training data {name} are not in {Path(data_dir)}. They are not part of the project: "
            "give the folder that holds them with --data or the variable MAT2SPEC_DATA_DIR."
        )
    return path
