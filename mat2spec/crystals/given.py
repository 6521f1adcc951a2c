"""Crystals given in Python: one or many pymatgen structures or ASE Atoms, some of them possibly unusable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike

import numpy as np
from ase import Atoms
from pymatgen.core import IStructure, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.ase_files import AseFileError, structure_of
from mat2spec.crystals.readers import why_unusable
from mat2spec.crystals.species import isotopes

CrystalLike = Structure | IStructure | Atoms


def crystals_given(
    given: CrystalLike | Iterable[object], material_ids: Sequence[str] | None = None
) -> tuple[Crystals, list[list[str]]]:
    """Arrays of the given crystals; anything unusable becomes a crystal without sites and with a problem.

    Parameters
    ----------
    given
        A structure, Atoms, or any mixture of them.
    material_ids
        A name for each; ``crystal-0``, ``crystal-1``, ... if not given.

    Returns
    -------
    crystals : Crystals
        In the given order.
    isotopes : list of list of str
        Isotopes in each, which phonon models ignore.

    Raises
    ------
    ValueError
        If there are not as many names as crystals.
    """
    entries = [given] if isinstance(given, CrystalLike) else list(given)
    ids = [f"crystal-{number}" for number in range(len(entries))] if material_ids is None else list(material_ids)
    if len(ids) != len(entries):
        raise ValueError(f"{len(ids)} material_ids were given for {len(entries)} crystals; give one for each.")
    read = [_read(entry) for entry in entries]
    structures = [structure for structure, _ in read]
    found = [[] if structure is None else isotopes(structure) for structure in structures]
    return crystals_with_problems(ids, structures, [problem for _, problem in read]), found


def crystals_with_problems(
    material_ids: Sequence[str], structures: Sequence[Structure | None], problems: Sequence[str]
) -> Crystals:
    """Arrays of structures; one that is missing becomes a crystal without sites.

    Parameters
    ----------
    material_ids
        A name for each.
    structures
        None where there is none.
    problems
        Why it is missing, for `Crystals.problems`; else empty.
    """
    crystals = Crystals.from_lists(
        material_ids,
        [[] if structure is None else structure.atomic_numbers for structure in structures],
        [np.empty((0, 3)) if structure is None else structure.frac_coords for structure in structures],
        [np.full((3, 3), np.nan) if structure is None else structure.lattice.matrix for structure in structures],
    )
    if not any(problems):
        return crystals
    return replace(crystals, problems=np.array([problem or None for problem in problems], dtype=object))


def _read(entry: object) -> tuple[Structure | None, str]:
    """The structure of one entry, or the reason for its absence."""
    if isinstance(entry, Atoms):
        try:
            entry = structure_of(entry)
        except AseFileError as error:
            return None, str(error)
    if not isinstance(entry, IStructure):
        kind = type(entry).__name__
        how = " Read a file with Structure.from_file(NAME)." if isinstance(entry, str | PathLike) else ""
        return None, f"An object of type {kind} is not a crystal; give a pymatgen Structure or ASE Atoms.{how}"
    structure = entry if isinstance(entry, Structure) else Structure.from_sites(entry.sites)
    problem = why_unusable(structure)
    return (None, problem) if problem else (structure, "")
