"""Sentences that say why a crystal cannot be used, or what to know about one that can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.compact import MAX_SKEWNESS, reduce_skewed_cells, skewness
from mat2spec.crystals.contacts import (
    HIGH_CONTACT_RATIO,
    LOW_CONTACT_RATIO,
    REACH,
    Contact,
    closest_contact,
    closest_contacts,
)
from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER
from mat2spec.crystals.spheres import Spheres, crystal_of_atoms, search_spheres

MIN_VOLUME_PER_ATOM_A3 = 1.0
MAX_VOLUME_PER_ATOM_A3 = 2000.0
MIN_DISTANCE_A = 0.5
# Limits the cost of neighbour search and models. The largest crystal of the Materials Project has 444 sites.
MAX_SITES = 5000
TOO_EMPTY = (
    f"The cell has more than {MAX_VOLUME_PER_ATOM_A3:g} cubic Angstrom per atom: isolated atoms rather than a crystal."
)
# No crystal of the Materials Project has fractional coordinates beyond 1.02.
MAX_FRACTION = 1.5
# A molecule may reach over some cells; in a file no atom is as many lattice vectors away from the origin.
MAX_CELLS = 100.0
# In a skewed cell it may be; beyond this the digits of a place within the cell are lost.
_MOST_CELLS = 1e6
# Crystals searched together, whose neighbours are in memory at once.
BLOCK = 256
# Elements whose crystals are not held together by covalent bonds.
_UNBOUND = (1, 2, 10, 18, 36, 54, 86)


class Examination(NamedTuple):
    """What is wrong with crystals, or remarkable about them: a sentence each.

    Parameters
    ----------
    problems
        Why no graph can be made from it, or None, length n_crystals.
    notes
        A remark for readers of its results, empty if there is none; that of a crystal with a problem may be empty or repeat it.
    """

    problems: list[str | None]
    notes: list[str]

    def take(self, rows: NDArray[np.integer]) -> Examination:
        """Those at `rows`."""
        return Examination([self.problems[row] for row in rows], [self.notes[row] for row in rows])


class Searched(NamedTuple):
    """Crystals whose neighbours were searched.

    Parameters
    ----------
    crystals
        With compact cells.
    problems
        Why one was not searched, or None.
    spheres
        What was found in the others.
    """

    crystals: Crystals
    problems: list[str | None]
    spheres: Spheres


def examine(crystals: Crystals) -> Examination:
    """Problems and notes of crystals by one search for their closest contacts.

    Checked are sites, finite numbers, known elements, a lattice with a volume and no side too short for an atom, and the
    closest contact of its atoms (`mat2spec.crystals.contacts`), which shows wrong units and Cartesian coordinates among
    the fractional ones. Problems found on reading (`Crystals.problems`) come first.
    """
    return join_examinations([examine_searched(search_neighbours(block)) for block in blocks_of(crystals)])


def blocks_of(crystals: Crystals) -> list[Crystals]:
    """The crystals in pieces that are searched together."""
    starts = range(0, len(crystals), BLOCK)
    return [crystals.take(np.arange(start, min(start + BLOCK, len(crystals)))) for start in starts]


def search_neighbours(crystals: Crystals) -> Searched:
    """Search the neighbours in all crystals whose numbers make sense, at most some hundred at a time."""
    problems = _known_problems(crystals)
    compact = reduce_skewed_cells(crystals)
    whole = np.flatnonzero([problem is None for problem in problems])
    for index, problem in zip(whole.tolist(), _problems_of_cells(compact.lattices[whole]), strict=True):
        problems[index] = problem
    usable = whole[[problems[index] is None for index in whole.tolist()]] if len(whole) else whole
    return Searched(compact, problems, search_spheres(compact, usable))


def examine_searched(searched: Searched) -> Examination:
    """What the neighbours say beside the problems that were known before the search."""
    crystals, problems, notes = searched.crystals, list(searched.problems), [""] * len(searched.problems)
    usable = np.flatnonzero([problem is None for problem in problems])
    far = np.asarray((np.abs(crystals.frac_coords) > MAX_FRACTION).any(axis=1))
    beyond = _any_per_crystal(far, crystal_of_atoms(crystals), len(crystals))
    for index, contact in zip(usable.tolist(), closest_contacts(crystals, usable, searched.spheres), strict=True):
        usual = LOW_CONTACT_RATIO <= contact.ratio <= HIGH_CONTACT_RATIO and contact.distance_a >= MIN_DISTANCE_A
        if not usual or beyond[index]:
            problems[index] = _problem_of_contacts(crystals, index, contact)
            notes[index] = _note_of_contacts(crystals, index, contact)
    return Examination(problems, notes)


def join_examinations(parts: Sequence[Examination]) -> Examination:
    """Those of all parts, in order."""
    return Examination(
        [problem for part in parts for problem in part.problems], [note for part in parts for note in part.notes]
    )


def find_problems(crystals: Crystals) -> list[str | None]:
    """For each crystal the reason why no graph can be made from it, or None: see `examine`."""
    return examine(crystals).problems


def find_notes(crystals: Crystals) -> list[str]:
    """A remark on each crystal for readers of its results, as a sentence; empty if there is none: see `examine`."""
    return examine(crystals).notes


def _known_problems(crystals: Crystals) -> list[str | None]:
    """Problems found on reading, else those found in the arrays."""
    problems = _problems_of_arrays(crystals)
    if crystals.problems is None:
        return problems
    return [known or problem for known, problem in zip(crystals.problems, problems, strict=True)]


def _problems_of_arrays(crystals: Crystals) -> list[str | None]:
    n_sites = crystals.n_sites
    atom_crystal = crystal_of_atoms(crystals)
    nan_atoms = _any_per_crystal(
        np.asarray(~np.isfinite(crystals.frac_coords).all(axis=1)), atom_crystal, len(crystals)
    )
    outside = _any_per_crystal(
        np.asarray((np.abs(crystals.frac_coords) > _MOST_CELLS).any(axis=1)), atom_crystal, len(crystals)
    )
    unknown = (crystals.atomic_numbers < 1) | (crystals.atomic_numbers > MAX_ATOMIC_NUMBER)
    unknown_element = _any_per_crystal(unknown, atom_crystal, len(crystals))
    nan_lattice = np.asarray(~np.isfinite(crystals.lattices).all(axis=(1, 2)))
    volumes = np.abs(np.linalg.det(np.where(nan_lattice[:, None, None], np.eye(3), crystals.lattices)))
    per_atom = volumes / np.maximum(n_sites, 1)

    checks: list[tuple[NDArray[np.bool_], str]] = [
        (
            nan_lattice & (n_sites == 0),
            "The row does not hold nine lattice numbers and three coordinates for every atomic number.",
        ),
        (n_sites == 0, "The crystal has no sites."),
        (
            n_sites > MAX_SITES,
            f"The cell has more than {MAX_SITES} sites; give a smaller cell of the crystal.",
        ),
        (nan_lattice, "The lattice contains non-finite numbers."),
        (nan_atoms, "The coordinates contain non-finite numbers."),
        (
            outside,
            f"An atom is more than {_MOST_CELLS:g} lattice vectors away from the origin: no fractional coordinates.",
        ),
        (unknown_element, f"An atomic number is outside 1..{MAX_ATOMIC_NUMBER}: unknown element."),
        (
            ~(per_atom >= MIN_VOLUME_PER_ATOM_A3),
            f"The cell has less than {MIN_VOLUME_PER_ATOM_A3:g} cubic Angstrom per atom: flat lattice or wrong unit.",
        ),
        (
            per_atom > MAX_VOLUME_PER_ATOM_A3,
            TOO_EMPTY,
        ),
    ]
    problems: list[str | None] = [None] * len(crystals)
    for failed, sentence in reversed(checks):
        for index in np.flatnonzero(failed):
            problems[index] = sentence
    return problems


def problem_of_cell(lattice: NDArray[np.float64]) -> str | None:
    """Why a neighbour search is unaffordable for a cell of `mat2spec.crystals.compact`, or None."""
    return _problems_of_cells(lattice[None])[0]


def _problems_of_cells(lattices: NDArray[np.float64]) -> list[str | None]:
    skewed = skewness(lattices) > MAX_SKEWNESS
    shortest = np.linalg.norm(lattices, axis=2).min(axis=1, initial=np.inf)
    problems: list[str | None] = [None] * len(lattices)
    for index in np.flatnonzero(shortest < MIN_DISTANCE_A).tolist():
        problems[index] = (
            f"A lattice vector is {shortest[index]:.3g} Angstrom long: atoms overlap with their own images."
        )
    for index in np.flatnonzero(skewed).tolist():
        problems[index] = "The lattice vectors are almost coplanar for any choice of cell: wrong numbers or unit."
    return problems


def _problem_of_contacts(crystals: Crystals, index: int, contact: Contact) -> str | None:
    """The problem revealed by the closest contact of a crystal, or None."""
    if contact.distance_a < MIN_DISTANCE_A:
        return (
            f"Two atoms overlap: they are {contact.distance_a:.3f} Angstrom apart, closer than {MIN_DISTANCE_A:g} Angstrom "
            f"({contact.elements}).{_hint(crystals, index)}"
        )
    if _looks_cartesian(crystals, index, contact):
        return _cartesian_words(crystals, index)
    return None


def _note_of_contacts(crystals: Crystals, index: int, contact: Contact) -> str:
    if contact.ratio < LOW_CONTACT_RATIO:
        return (
            f"The closest atoms, {contact.elements}, are {contact.distance_a:.2f} Angstrom apart, {contact.ratio:.2f} of the "
            "sum of their radii: unusually near, as if lengths were in another unit."
        )
    if contact.ratio > HIGH_CONTACT_RATIO and not np.isin(_numbers(crystals, index), _UNBOUND).all():
        return f"{_far_words(contact)} unusually far, as if lengths were in another unit, such as Bohr."
    if (
        np.abs(crystals.frac_coords[crystals.sites(index)]).max() > MAX_FRACTION
        and _cartesian_contact(crystals, index).ratio > LOW_CONTACT_RATIO
    ):
        return "The fractional coordinates could be Cartesian ones: some are larger than 1."
    return ""


def _cartesian_contact(crystals: Crystals, index: int) -> Contact:
    """The closest contact if the coordinates are taken as Cartesian."""
    sites = crystals.sites(index)
    fractions = np.linalg.solve(crystals.lattices[index].T, crystals.frac_coords[sites].T).T
    return closest_contact(crystals.lattices[index], fractions, crystals.atomic_numbers[sites])


def _looks_cartesian(crystals: Crystals, index: int, contact: Contact) -> bool:
    """Whether coordinates beyond 1 give a more usual crystal if taken as Cartesian."""
    if np.abs(crystals.frac_coords[crystals.sites(index)]).max() <= MAX_FRACTION:
        return False
    other = _cartesian_contact(crystals, index)
    usual = LOW_CONTACT_RATIO < other.ratio < HIGH_CONTACT_RATIO
    return usual and abs(np.log(other.ratio)) < abs(np.log(min(contact.ratio, REACH)))


def _hint(crystals: Crystals, index: int) -> str:
    if _looks_cartesian(crystals, index, Contact(1e-9, 0.0, 1, 1)):
        return f" {_cartesian_words(crystals, index)}"
    return ""


def _cartesian_words(crystals: Crystals, index: int) -> str:
    largest = np.abs(crystals.frac_coords[crystals.sites(index)]).max()
    return f"The fractional coordinates go up to {largest:.3g} and look like Cartesian ones; divide by the lattice."


def _far_words(contact: Contact) -> str:
    if np.isfinite(contact.ratio):
        return (
            f"The closest atoms, {contact.elements}, are {contact.distance_a:.2f} Angstrom apart, {contact.ratio:.2f} of the "
            "sum of their radii:"
        )
    return f"No two atoms are within {REACH:g} sums of their radii:"


def _numbers(crystals: Crystals, index: int) -> NDArray[np.int64]:
    return crystals.atomic_numbers[crystals.sites(index)]


def _any_per_crystal(flags: NDArray[np.bool_], crystal: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(crystal[flags], minlength=size) > 0)
