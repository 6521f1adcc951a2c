"""Select a class of materials to train on: by elements, number of elements or space group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import spglib
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pymatgen.core import Composition, Element

from mat2spec.labels.labelled import DataError, LabelledSpectra

SYMMETRY_TOLERANCE_A = 0.01


class Subclass(BaseModel):
    """A class of materials; all materials if no condition is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    elements: tuple[str, ...] = Field(default=(), description="Elements that every material contains.")
    exclude_elements: tuple[str, ...] = Field(default=(), description="Elements that no material contains.")
    n_elements: int | None = Field(default=None, ge=1, description="Number of different elements.")
    space_group: int | None = Field(default=None, ge=1, le=230, description="International number of the space group.")

    @field_validator("elements", "exclude_elements")
    @classmethod
    def _known(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [symbol for symbol in symbols if not Element.is_valid_symbol(symbol)]
        if unknown:
            raise ValueError(f"unknown element {', '.join(unknown)}")
        return symbols

    @property
    def is_everything(self) -> bool:
        """Whether no condition is set."""
        return self == Subclass()


def select(data: LabelledSpectra, subclass: Subclass) -> LabelledSpectra:
    """The materials of a class, in all splits.

    Raises
    ------
    DataError
        If no material is of that class, or the space groups cannot be known.
    """
    if subclass.is_everything:
        return data
    chosen = np.flatnonzero([_has_composition(str(formula), subclass) for formula in data.formulas])
    if subclass.space_group is not None:
        chosen = chosen[space_groups(data, chosen) == subclass.space_group]
    conditions = subclass.model_dump(mode="json", exclude_defaults=True)
    if len(chosen) == 0:
        raise DataError(f"None of the {len(data)} materials of {data.name} is in the class {conditions}.")
    return replace(data.take(chosen), name=f"{data.name}, class {conditions}")


def space_groups(data: LabelledSpectra, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """International number of the space group of some materials, 0 where spglib finds none; shape (n,)."""
    if data.crystals is None:
        raise DataError(f"The crystals of {data.name} are missing, so their space groups are unknown.")
    crystals = data.crystals
    return np.array(
        [
            _space_group(crystals.lattices[index], crystals.frac_coords[sites], crystals.atomic_numbers[sites])
            for index in indices
            for sites in [crystals.sites(int(index))]
        ],
        dtype=np.int64,
    )


def _space_group(lattice: NDArray[np.float64], frac_coords: NDArray[np.float64], numbers: NDArray[np.integer]) -> int:
    try:
        cell = (lattice.tolist(), frac_coords.tolist(), numbers.tolist())
        found = spglib.get_symmetry_dataset(cell, symprec=SYMMETRY_TOLERANCE_A)
    except spglib.SpglibError:
        return 0
    return 0 if found is None else int(found.number)


def _has_composition(formula: str, subclass: Subclass) -> bool:
    elements = {element.symbol for element in Composition(formula).elements}
    return (
        elements.issuperset(subclass.elements)
        and elements.isdisjoint(subclass.exclude_elements)
        and (subclass.n_elements is None or len(elements) == subclass.n_elements)
    )
