"""From relaxed candidates to the crystals of the catalogue: what is dropped, why, and how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Element, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from scripts.catalogue.candidates import covalent_radii
from scripts.catalogue.hull import elemental_references, energies_above_hull, formation_energies
from scripts.catalogue.settings import CatalogueSettings

SAME_ENERGY, SAME_VOLUME = 0.01, 0.03
"""Crystals of one formula closer than this, in eV/atom and as a fraction, are compared as structures."""

TIED_ENERGY = 0.005
"""Energy difference in eV/atom below which the more symmetric of two equal crystals is preferred."""

Report = Callable[[str], None]


@dataclass
class Selection:
    """Relaxed candidates on their way into the catalogue.

    Attributes
    ----------
    rows
        One row per crystal still in.
    dropped
        How many crystals were dropped, by reason.
    """

    rows: pd.DataFrame
    dropped: Counter[str] = field(default_factory=Counter)

    def drop(self, mask: NDArray[np.bool_], reason: str) -> None:
        """Drop the rows of the mask for a reason."""
        self.dropped[reason] += int(mask.sum())
        self.rows = self.rows[~mask].reset_index(drop=True)


def select(rows: pd.DataFrame, settings: CatalogueSettings, report: Report) -> Selection:
    """Choose the crystals of the catalogue among all relaxed candidates.

    Parameters
    ----------
    rows
        What the shards hold, one row per candidate.
    settings
        Limits.
    report
        Told what is being done.
    """
    selection = Selection(rows)
    compositions = [_composition(numbers) for numbers in rows["atomic_numbers"]]
    selection.rows["composition"] = pd.Series(compositions, dtype=object)
    selection.rows["formula"] = [c.reduced_formula for c in selection.rows["composition"]]
    _drop_unrelaxed(selection, settings)
    report(f"{len(selection.rows)} crystals relaxed; comparing structures.")
    selection.rows["structure"] = pd.Series([structure_of(row) for row in selection.rows.itertuples()], dtype=object)
    _drop_fallen_apart(selection, settings)
    selection.rows = selection.rows.sort_values(["formula", "origin", "energy_per_atom", "material_id"])
    selection.rows = selection.rows.reset_index(drop=True)
    selection.drop(_duplicates(selection.rows), "duplicate of another crystal")
    report(f"{len(selection.rows)} different crystals; building phase diagrams.")
    _place_on_hull(selection, settings)
    selection.drop((selection.rows["energy_above_hull"] > settings.max_energy_above_hull).to_numpy(), "above the hull")
    selection.drop(_further_polymorphs(selection.rows, settings.max_polymorphs), "further polymorph of a formula")
    return selection


def _composition(numbers: Any) -> Composition:
    return Composition(Counter(Element.from_Z(int(z)) for z in numbers))


def _drop_unrelaxed(selection: Selection, settings: CatalogueSettings) -> None:
    """Drop collapsed crystals and those whose forces or stresses are still large."""
    selection.drop(selection.rows["collapsed"].to_numpy(dtype=bool), "collapsed")
    rows = selection.rows
    tense = (rows["max_force_ev_per_a"] > settings.loose_force_ev_per_a) | (
        rows["max_stress_gpa"] > settings.loose_stress_gpa
    )
    selection.drop(tense.to_numpy(), "not relaxed")
    close = selection.rows["contact"].to_numpy() < settings.min_final_contact
    selection.drop(close, "atoms too close")


def _place_on_hull(selection: Selection, settings: CatalogueSettings) -> None:
    """Add formation energies and energies above hull; drop what has none or unphysical ones."""
    compositions = list(selection.rows["composition"])
    energies = selection.rows["energy_per_atom"].to_numpy(dtype=float)
    formation = formation_energies(compositions, energies, elemental_references(compositions, energies))
    selection.rows["formation_energy_per_atom"] = formation
    selection.drop(np.isnan(formation), "element without a reference")
    unphysical = selection.rows["formation_energy_per_atom"] < settings.min_formation_energy
    selection.drop(unphysical.to_numpy(), "unphysical energy")
    formation = selection.rows["formation_energy_per_atom"].to_numpy(dtype=float)
    selection.rows["energy_above_hull"] = energies_above_hull(list(selection.rows["composition"]), formation)


def structure_of(row: Any) -> Structure:
    """Return the structure of a row with `lattice`, `atomic_numbers` and `frac_coords`."""
    lattice = Lattice(np.reshape(np.asarray(row.lattice, dtype=float), (3, 3)))
    coordinates = np.reshape(np.asarray(row.frac_coords, dtype=float), (-1, 3))
    return Structure(lattice, [Element.from_Z(int(z)) for z in row.atomic_numbers], coordinates)


def _drop_fallen_apart(selection: Selection, settings: CatalogueSettings) -> None:
    """Drop crystals in which some atom has no neighbour within reach of a bond."""
    farthest = np.array([_farthest_contact(structure) for structure in selection.rows["structure"]])
    selection.drop(farthest > settings.max_contact, "fallen apart")


def _farthest_contact(structure: Structure) -> float:
    """Largest over the atoms of the nearest bond in sums of covalent radii; infinite for an isolated atom."""
    radii = covalent_radii()[[site.specie.Z for site in structure]]
    centers, sites, _, lengths = structure.get_neighbor_list(r=2.0 * 2.0 * float(radii.max()))
    nearest = np.full(len(structure), np.inf)
    np.minimum.at(nearest, centers, lengths / (radii[centers] + radii[sites]))
    return float(nearest.max())


def _duplicates(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Mark all but one of every set of equal crystals, (M,).

    Known compounds stay, else the lowest energy; a crystal of a more symmetric prototype replaces one that is
    lower by less than `TIED_ENERGY`. The rows are sorted in that order within each formula.
    """
    mask = np.zeros(len(rows), dtype=bool)
    energies = rows["energy_per_atom"].to_numpy()
    structures = rows["structure"].to_list()
    symmetry = [int(label.split("_")[2]) for label in rows["prototype"]]
    substituted = (rows["origin"] == "substitution").to_numpy()
    volumes = np.array([structure.volume / len(structure) for structure in structures])
    for members in rows.groupby("formula").indices.values():
        kept: list[int] = []
        for index in map(int, members):
            twin = _twin(index, kept, energies, volumes, structures)
            if twin is None:
                kept.append(index)
                continue
            tied = substituted[twin] and energies[index] - energies[twin] < TIED_ENERGY
            better = tied and symmetry[index] > symmetry[twin]
            mask[twin if better else index] = True
            kept = [index if better and other == twin else other for other in kept]
    return mask


def _twin(
    index: int,
    kept: list[int],
    energies: NDArray[np.float64],
    volumes: NDArray[np.float64],
    structures: list[Structure],
) -> int | None:
    """Return the kept crystal that equals crystal `index`, if there is one."""
    matcher = StructureMatcher(ltol=0.1, stol=0.15, angle_tol=3, scale=False)
    for other in kept:
        near = abs(energies[index] - energies[other]) < SAME_ENERGY
        near = near and abs(volumes[index] / volumes[other] - 1) < SAME_VOLUME
        if near and matcher.fit(structures[index], structures[other]):
            return other
    return None


def _further_polymorphs(rows: pd.DataFrame, limit: int) -> NDArray[np.bool_]:
    """Mark substituted crystals beyond the `limit` lowest of their formula; required and known ones stay."""
    rank = rows.groupby("formula")["energy_per_atom"].rank(method="first")
    return ((rank > limit) & (rows["origin"] == "substitution")).to_numpy()


def space_group_number(structure: Structure, symprec: float = 0.01) -> int:
    """Return the number of the space group."""
    return int(SpacegroupAnalyzer(structure, symprec=symprec).get_space_group_number())
