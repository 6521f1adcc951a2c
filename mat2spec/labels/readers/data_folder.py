"""Labelled spectra of a data folder: graphs, spectra per atom, and a split without leakage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.crystals.magnetism import can_be_magnetic
from mat2spec.crystals.prototypes import prototypes
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.edos_store import parts_of_plan, read_edos_store, training_level
from mat2spec.labels.joining import with_crystals
from mat2spec.labels.labelled import DataError, LabelledSpectra, assemble_spectra, concatenate, hash_of, stack_column
from mat2spec.labels.levels import rows_at_level
from mat2spec.labels.reserved import STRUCTURES_FILE, data_file, reserved_formulas
from mat2spec.labels.splits import STORE_TEST, Part, Split, split_labels, split_of_formula
from mat2spec.settings import Level, shipped_stores
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID, rebin_to_edges
from mat2spec.spectra.phonons import scale_to_modes
from mat2spec.tables.columns import CRYSTAL_COLUMNS
from mat2spec.tables.parquet import read_table

DFPT_FILE = "phdos_dfpt.parquet"
FINITE_DISPLACEMENT_FILE = "phdos_finite_displacement.parquet"
EDOS_FILE = "edos_pbe.parquet"
# A random sample only for tests: its formulas are never labelled again.
EDOS_NATURAL_FILE = "edos_pbe_natural.parquet"


def load_phdos(data_dir: Path, graph_settings: GraphSettings, pretraining: bool = True) -> LabelledSpectra:
    """Phonon spectra: the published DFPT split, with the finite-displacement set as further training data.

    Materials of the finite-displacement set are dropped if their reduced formula is in the validation
    or test split, if they have 1 % imaginary modes or more, or if they are in the DFPT set. No material
    of a reserved formula is trained on, as the encoder is trained further on eDOS.

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
    data_dir: Path | None,
    graph_settings: GraphSettings,
    stores: Sequence[Path] | None = None,
    level: Level = Level.UNPOLARISED,
) -> LabelledSpectra:
    """Electronic densities of states of the table of a data folder and of eDOS stores.

    The split depends only on a hash of the reduced formula (`split_of_formula`: 80/10/10), so no formula is shared
    between training and held-out materials of any files. The test materials of the data folder remain ``"test"``
    whatever stores are added; those of stores are ``"store_test"``, or ``"test"`` if there is no data folder. Of
    duplicate materials the first is used.

    If labels of a label plan are among them, all are split by `mat2spec.labels.splits.split_labels`: the test sets of
    the plan are added to the older ones, which are unchanged at any level of theory.

    Parameters
    ----------
    data_dir
        Folder with `edos_pbe.parquet` and the list of reserved materials; None trains on stores alone.
    graph_settings
        How graphs are made.
    stores
        eDOS stores, files or folders of shards; by default those shipped, if present. Crystals of labels
        that give only their id are taken from `mp_structures.parquet` of the data folder.
    level
        Level of theory of the labels; a store with a level of its own in its metadata is used at that level.

    Raises
    ------
    DataError
        If there is neither a folder nor a store, or a reserved material is among the labels.
    mat2spec.tables.files.TableError
        If a store cannot be read.
    """
    paths = shipped_stores() if stores is None else list(stores)
    reserved = set() if data_dir is None else reserved_formulas(data_dir)
    parts = [] if data_dir is None else [_load_edos_table(data_file(data_dir, EDOS_FILE), graph_settings, level)]
    structures = None if data_dir is None else data_dir / STRUCTURES_FILE
    test_split = "test" if data_dir is None else STORE_TEST
    parts += [_load_store(Path(path), graph_settings, test_split, level, structures) for path in paths]
    if not parts:
        raise DataError(
            "There are no electronic densities of states to train on: data/edos_store.parquet of the project is missing "
            "here; give the folder of labelled spectra with --data, or an eDOS store with --store."
        )
    for part in parts:
        _refuse_reserved(part, reserved)
    data = _first_of_each_material(concatenate(parts, name=_name(parts, level)))
    planned = {name: part for path in paths for name, part in parts_of_plan(read_edos_store(Path(path))).items()}
    return _with_test_sets(data, planned) if planned else data


def _name(parts: Sequence[LabelledSpectra], level: Level) -> str:
    joined = " + ".join(part.name for part in parts)
    return joined if level is Level.UNPOLARISED else f"{joined}, level {level}"


def _with_test_sets(data: LabelledSpectra, planned: Mapping[str, Part]) -> LabelledSpectra:
    """Split labels together with those of a plan, whose part is given by id; labels that would leak are dropped.

    Test materials outside the plan keep the name of their test set.
    """
    parts = [planned.get(str(material_id)) for material_id in data.material_ids]
    split = split_labels(data.formulas.tolist(), prototypes(_crystals_of(data)).tolist(), parts)
    split = np.where(split == Split.TEST, data.split, split)
    used = np.flatnonzero(split != Split.LEFT_OUT)
    n_left_out = len(data) - len(used)
    dropped = data.dropped | ({"formula or prototype of a test set": n_left_out} if n_left_out else {})
    return replace(data, split=split, dropped=dropped).take(used)


def _crystals_of(data: LabelledSpectra) -> Crystals:
    if data.crystals is None:
        raise DataError(f"The crystals of {data.name} are missing, so their prototypes are unknown.")
    return data.crystals


def _load_edos_table(path: Path, graph_settings: GraphSettings, level: Level) -> LabelledSpectra:
    """Unpolarised labels; but for test materials those that can be magnetic are left out at any other level."""
    table = read_table(path)
    if level is Level.MP:
        split = _old_split(table)
        numbers = table["atomic_numbers"].to_pylist()
        same_level = [not can_be_magnetic(np.asarray(of_crystal)) for of_crystal in numbers]
        table = table.filter(pa.array(np.array(same_level) | (split == Split.TEST)))
    crystals = Crystals.from_arrow(table)
    formulas, split = reduced_formulas(crystals), _old_split(table)
    spectra = stack_column(table, "edos", EDOS_GRID) / crystals.n_sites[:, None]
    return assemble_spectra(
        "GPAW PBE eDOS", crystals, formulas, spectra, split, EDOS_GRID, graph_settings, hash_of(path)
    )


def _load_store(
    path: Path, graph_settings: GraphSettings, test_split: str, level: Level, structures: Path | None
) -> LabelledSpectra:
    """The labels of one store at the level of theory of the training."""
    store = read_edos_store(path)
    table, without_crystal = with_crystals(store, structures)
    own = training_level(store)
    if own is None:
        unpolarised = rows_at_level(table, Level.UNPOLARISED)
        same_level = rows_at_level(table, level) | (unpolarised & (_old_split(table) == Split.TEST))
    else:
        same_level = np.logical_and.reduce([pc.equal(table[name], value) for name, value in own.items()])
    chosen = table.filter(pa.array(same_level, type=pa.bool_()))
    if not len(chosen):
        wanted = level if own is None else ", ".join(f"{name} {value}" for name, value in own.items())
        raise DataError(
            f"The eDOS store {path} contains no label at the level of this training ({wanted}); leave it out."
        )
    crystals = Crystals.from_arrow(chosen)
    formulas = reduced_formulas(crystals)
    spectra = stack_column(chosen, "edos", EDOS_GRID) / chosen["nsites"].to_numpy()[:, None]
    split = _old_split(chosen)
    split = np.where(split == Split.TEST, test_split, split)
    data = assemble_spectra(
        f"labels of {path.name}", crystals, formulas, spectra, split, EDOS_GRID, graph_settings, hash_of(path)
    )
    dropped = {**data.dropped, **without_crystal, "another level of theory": len(table) - len(chosen)}
    return replace(data, dropped={reason: n for reason, n in dropped.items() if n})


def _old_split(table: pa.Table) -> NDArray[np.object_]:
    """Split of each crystal of a table by its formula, shape (n,)."""
    formulas = reduced_formulas(Crystals.from_arrow(table))
    return np.array([split_of_formula(str(formula)) for formula in formulas], dtype=object)


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


def _load_dfpt(data_dir: Path, graph_settings: GraphSettings) -> LabelledSpectra:
    path = data_file(data_dir, DFPT_FILE)
    table = read_table(path, columns=[*CRYSTAL_COLUMNS, "phdos_51", "split"])
    crystals = Crystals.from_arrow(table)
    spectra = scale_to_modes(stack_column(table, "phdos_51", PHDOS_GRID), PHDOS_GRID)
    split = np.array(table["split"].to_pylist(), dtype=object)
    formulas = reduced_formulas(crystals)
    return assemble_spectra(
        "DFPT phonons", crystals, formulas, spectra, split, PHDOS_GRID, graph_settings, hash_of(path)
    )


def _load_finite_displacement(data_dir: Path, graph_settings: GraphSettings) -> LabelledSpectra:
    path = data_file(data_dir, FINITE_DISPLACEMENT_FILE)
    table = read_table(path, columns=[*CRYSTAL_COLUMNS, "phdos_4cm1", "imaginary_fraction"])
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
