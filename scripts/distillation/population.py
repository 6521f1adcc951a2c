"""Which crystals of the Materials Project are described, taught and learned from.

The only stage that reads the data folder; what it writes can be carried to a machine that has nothing else.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.prototypes import prototypes
from mat2spec.labels.reserved import RESERVED_FILE, reserved_formulas
from mat2spec.labels.splits import Part, split_of_label

# Sites of the given cell up to which crystals are taken, without and with a known gap.
LARGEST_CELL, LARGEST_CELL_WITH_GAP = 24, 40


@dataclass(frozen=True)
class Population:
    """Crystals with what is known of them.

    Parameters
    ----------
    crystals
        In a fixed random order, so that any first part is a fair sample.
    formulas
        Reduced formulas, shape (n,).
    band_gaps_ev
        Known PBE gaps, NaN where unknown, shape (n,).
    split
        `mat2spec.labels.splits.split_of_label` as for a random label of a plan, shape (n,).
    """

    crystals: Crystals
    formulas: NDArray[np.str_]
    band_gaps_ev: NDArray[np.float32]
    split: NDArray[np.str_]

    def take(self, rows: slice | NDArray[np.integer]) -> Population:
        """Some of the crystals."""
        chosen = np.arange(len(self.formulas))[rows]
        return Population(
            self.crystals.take(chosen), self.formulas[chosen], self.band_gaps_ev[chosen], self.split[chosen]
        )

    def save(self, path: Path) -> None:
        """Write one compressed file."""
        np.savez_compressed(
            path,
            material_ids=self.crystals.material_ids.astype(str),
            atomic_numbers=self.crystals.atomic_numbers.astype(np.uint8),
            frac_coords=self.crystals.frac_coords.astype(np.float32),
            lattices=self.crystals.lattices.astype(np.float32),
            n_sites=self.crystals.n_sites.astype(np.int16),
            formulas=self.formulas,
            band_gaps_ev=self.band_gaps_ev,
            split=self.split,
        )

    @classmethod
    def load(cls, path: Path) -> Population:
        """What `save` wrote."""
        with np.load(path) as file:
            offsets = np.concatenate([[0], np.cumsum(file["n_sites"], dtype=np.int64)])
            crystals = Crystals(
                file["material_ids"].astype(object),
                file["atomic_numbers"].astype(np.int64),
                file["frac_coords"].astype(np.float64),
                file["lattices"].astype(np.float64),
                offsets,
            )
            return cls(crystals, file["formulas"], file["band_gaps_ev"], file["split"])


def choose_population(data: Path, seed: int = 0) -> Population:
    """Read `mp_structures.parquet` and leave out reserved ids and formulas, and large cells."""
    columns = ["material_id", "band_gap", "nsites", "lattice", "frac_coords", "atomic_numbers"]
    table = pq.read_table(data / "mp_structures.parquet", columns=columns)
    gaps, n_sites = table["band_gap"].to_numpy(), table["nsites"].to_numpy()
    small = (n_sites <= LARGEST_CELL) | (np.isfinite(gaps) & (n_sites <= LARGEST_CELL_WITH_GAP))
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(small))
    crystals = Crystals.from_arrow(table.take(chosen))
    formulas = np.array(ElementCounts.from_crystals(crystals).reduced_formulas(), dtype=object)
    reserved_ids = set((data / RESERVED_FILE).read_text().split())
    allowed = ~np.isin(formulas, sorted(reserved_formulas(data))) & ~np.isin(
        crystals.material_ids, sorted(reserved_ids)
    )
    kept = np.flatnonzero(allowed)
    crystals, formulas = crystals.take(kept), formulas[kept]
    split = [
        str(split_of_label(formula, prototype, Part.RANDOM))
        for formula, prototype in zip(formulas, prototypes(crystals), strict=True)
    ]
    return Population(crystals, formulas.astype(str), gaps[chosen][kept].astype(np.float32), np.array(split))


def main() -> None:
    """Write the population of a data folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    population = choose_population(given.data)
    population.save(given.out)
    names, counts = np.unique(population.split, return_counts=True)
    print(len(population.formulas), dict(zip(names.tolist(), counts.tolist(), strict=True)))


if __name__ == "__main__":
    main()
