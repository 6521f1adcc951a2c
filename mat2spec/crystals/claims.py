"""Consistency of the crystal that was read with the other data in its file.

Hydrogens without coordinates, lost symmetry operations and wrong units leave a crystal that looks sound: only the
formula, the number of formula units, the volume or the density given beside it reveal them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import gcd

from pymatgen.core import Composition, Element, Structure

from mat2spec.crystals.species import ISOTOPES, symbol_of

# Tolerance for shares of elements: formulas are written with two digits or more.
COMPOSITION_TOLERANCE = 0.01
VOLUME_TOLERANCE = 0.01
# Densities are measured or rounded; one more hydrogen atom in brucite is 1.7 %.
DENSITY_TOLERANCE = 0.10
_HEAVIEST_DENSITY = 30.0


@dataclass(frozen=True)
class Claims:
    """What a file states about a crystal; None where it states nothing.

    Parameters
    ----------
    formula
        Atoms of each element, in a formula unit or in the cell.
    elements
        The elements of the crystal, where a file lists them without numbers that can be relied on.
    n_units
        Formula units in the cell, Z.
    n_sites
        Atoms in the cell.
    volume
        Volume of the cell in cubic Angstrom.
    density
        Density in g/cm3.
    """

    formula: Mapping[str, float] = field(default_factory=dict)
    elements: Collection[str] = ()
    n_units: float | None = None
    n_sites: int | None = None
    volume: float | None = None
    density: float | None = None

    def contradiction(self, structure: Structure) -> str | None:
        """Sentence on how the crystal that was read contradicts its file, or None."""
        return (
            self._of_elements(structure)
            or self._of_shares(structure)
            or self._of_number(structure)
            or self._of_volume(structure)
            or self._of_density(structure)
        )

    @property
    def count_atoms(self) -> bool:
        """Whether they give the number of atoms in the cell, so that lost symmetry would be noticed."""
        return self.n_sites is not None or bool(self.formula and self.n_units) or self.density is not None

    def _of_elements(self, structure: Structure) -> str | None:
        read = counted(structure.composition)
        unlisted = sorted(set(self.elements) ^ set(read)) if self.elements else []
        if unlisted:
            return (
                f"The file lists the elements {', '.join(sorted(self.elements))}, but the sites give {_written(read)}: "
                f"{' and '.join(unlisted)} {'is' if len(unlisted) == 1 else 'are'} in only one of them."
            )
        if not self.formula:
            return None
        missing, added = sorted(set(self.formula) - set(read)), sorted(set(read) - set(self.formula))
        if missing:
            return (
                f"The formula in the file, {_written(self.formula)}, has {' and '.join(missing)}, but no site does: the "
                f"sites give {_written(read)}. Add the missing atoms."
            )
        if added:
            return (
                f"The sites hold {' and '.join(added)}, which the formula in the file, {_written(self.formula)}, does not "
                "have. Correct one of them."
            )
        return None

    def _of_shares(self, structure: Structure) -> str | None:
        if not self.formula:
            return None
        read = counted(structure.composition)
        total, total_read = sum(self.formula.values()), sum(read.values())
        if any(abs(read[name] / total_read - self.formula[name] / total) > COMPOSITION_TOLERANCE for name in read):
            return (
                f"The formula in the file is {_written(self.formula)}, but the sites give {_written(read)}: atoms are missing "
                "or doubled, or the symmetry operations are not those of the crystal."
            )
        return None

    def _of_number(self, structure: Structure) -> str | None:
        n_atoms = structure.composition.num_atoms
        if self.n_sites is not None and self.n_sites != len(structure):
            return f"The file says that the cell has {self.n_sites} sites, but lists {len(structure)}."
        if not self.formula or not self.n_units:
            return None
        in_unit = sum(self.formula.values())
        expected = {in_unit * self.n_units}
        if self._is_of_the_whole_cell():
            expected.add(in_unit)
        if all(abs(n_atoms - number) > COMPOSITION_TOLERANCE * number for number in expected):
            return (
                f"The file says that the cell holds {self.n_units:g} formula units of {_written(self.formula)}, "
                f"{in_unit * self.n_units:g} atoms, but its sites and symmetry operations give {n_atoms:g}: symmetry "
                "operations or sites are missing, or there are too many of them."
            )
        return None

    def _is_of_the_whole_cell(self) -> bool:
        """Whether the formula refers to the cell instead of a formula unit, as written by pymatgen."""
        counts = [round(count) for count in self.formula.values()]
        whole = all(abs(count - given) < 1e-6 for count, given in zip(counts, self.formula.values(), strict=True))
        # For some elements pymatgen counts molecules: H10 is 5 H2.
        return whole and self.n_units in {
            gcd(*counts),
            Composition(dict(self.formula)).get_reduced_formula_and_factor()[1],
        }

    def _of_volume(self, structure: Structure) -> str | None:
        if self.volume is None or abs(structure.volume / self.volume - 1) <= VOLUME_TOLERANCE:
            return None
        return (
            f"The file says that the cell has {self.volume:.6g} cubic Angstrom, but its lattice has "
            f"{structure.volume:.6g}: a length, an angle or a unit is wrong."
        )

    def _of_density(self, structure: Structure) -> str | None:
        if self.density is None:
            return None
        # Some files give kg/m3.
        density = self.density / 1000 if self.density > _HEAVIEST_DENSITY else self.density
        if abs(structure.density / density - 1) <= DENSITY_TOLERANCE:
            return None
        return (
            f"The file says that the crystal has {density:.4g} g/cm3, but cell and sites give {structure.density:.4g}: "
            "atoms or symmetry operations are missing, or a length is wrong."
        )


def counted(composition: Composition) -> dict[str, float]:
    """Atoms of each element, ignoring charges and isotopes."""
    counts: dict[str, float] = {}
    for species, amount in composition.items():
        symbol = symbol_of(species)
        name = "H" if symbol in ISOTOPES else symbol
        counts[name] = counts.get(name, 0.0) + amount
    return counts


def read_elements(text: str) -> frozenset[str]:
    """Elements named in a formula of moieties, such as "C2 H4 2+, 2(Cl 1-)"; none if any word is not an element."""
    return elements_among(re.findall(r"[A-Za-z]+", text))


def elements_among(names: Iterable[object]) -> frozenset[str]:
    """These elements, with isotopes of hydrogen as H; none if any of the names is not an element."""
    symbols = [str(name) for name in names]
    if not all(map(Element.is_valid_symbol, symbols)):
        return frozenset()
    return frozenset("H" if symbol in ISOTOPES else symbol for symbol in symbols)


def read_formula(text: str) -> dict[str, float]:
    """Atoms of each element in a formula; empty if the text is not a formula."""
    words = text.split()
    if len(words) > 1 and text.isupper():
        # In capitals: NA CL is sodium chloride, for each word is one element.
        text = " ".join(word.capitalize() for word in words)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {name: amount for name, amount in counted(Composition(text)).items() if amount > 0}
    except (ValueError, KeyError, IndexError, TypeError):
        return {}


def _written(counts: Mapping[str, float]) -> str:
    with warnings.catch_warnings():
        # pymatgen warns that noble gases have no electronegativity.
        warnings.simplefilter("ignore", UserWarning)
        return str(Composition(dict(counts)).reduced_formula)
