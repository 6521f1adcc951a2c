"""Primitive cells of a population and the SevenNet scalars of their sites."""

from __future__ import annotations

import argparse
import os
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.sevennet import potential, scalars_of_graphs
from mat2spec.descriptors.site_graph import SiteGraph, site_graph
from mat2spec.tight_binding.metal_head import DESCRIPTORS
from mat2spec.tight_binding.predictor import find_problems
from scripts.distillation.population import Population

_PER_TASK = 200
# Enough to fill a GPU; the features of so many edges take some gigabytes.
_EDGES_PER_BATCH = 400_000


@dataclass(frozen=True)
class Sites:
    """Described sites in the order of the population.

    Parameters
    ----------
    cells
        Primitive cells; None where a crystal cannot be solved.
    offsets
        First site of each cell and one past the last, shape (n + 1,).
    descriptors
        Shape (n_sites, width).
    """

    cells: list[PrimitiveCell | None]
    offsets: NDArray[np.int64]
    descriptors: NDArray[np.float32]

    def descriptors_of(self, index: int) -> NDArray[np.float32]:
        """Of the sites of one cell."""
        return np.array(self.descriptors[self.offsets[index] : self.offsets[index + 1]])

    @classmethod
    def load(cls, folder: Path) -> Sites:
        """What `main` wrote; the descriptors stay on disk."""
        with (folder / "cells.pkl").open("rb") as file:
            cells, offsets = pickle.load(file)  # noqa: S301  written by the step before
        return cls(cells, offsets, np.load(folder / "descriptors.npy", mmap_mode="r"))


def prepare(population: Population, cutoff_a: float) -> list[SiteGraph | None]:
    """Primitive cells and neighbours; None for a crystal that tight binding cannot solve."""
    crystals = population.crystals
    return [
        site_graph(PrimitiveCell.of_crystal(crystals, index), cutoff_a) if problem is None else None
        for index, problem in enumerate(find_problems(crystals, DESCRIPTORS))
    ]


def _batches(graphs: Iterator[SiteGraph]) -> Iterator[list[SiteGraph]]:
    batch: list[SiteGraph] = []
    n_edges = 0
    for graph in graphs:
        batch.append(graph)
        n_edges += graph.edges.shape[1]
        if n_edges > _EDGES_PER_BATCH:
            yield batch
            batch, n_edges = [], 0
    if batch:
        yield batch


def main() -> None:
    """Describe a population."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("population", type=Path)
    parser.add_argument("folder", type=Path, help="where cells and descriptors go")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    start = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    population = Population.load(given.population)
    parts = [population.take(slice(i, i + _PER_TASK)) for i in range(0, len(population.formulas), _PER_TASK)]
    network = potential(DESCRIPTORS)
    cutoffs = [network.cutoff_a] * len(parts)
    cells: list[PrimitiveCell | None] = []

    def solvable(results: Iterator[list[SiteGraph | None]]) -> Iterator[SiteGraph]:
        for graphs in results:
            cells.extend(None if graph is None else graph.cell for graph in graphs)
            yield from (graph for graph in graphs if graph is not None)

    with ProcessPoolExecutor(given.processes) as pool:
        batches = _batches(solvable(pool.map(prepare, parts, cutoffs)))
        found = [one for batch in batches for one in scalars_of_graphs(network, batch, device)]
    offsets = np.concatenate([[0], np.cumsum([0 if cell is None else cell.n_atoms for cell in cells])])
    given.folder.mkdir(parents=True, exist_ok=True)
    np.save(given.folder / "descriptors.npy", np.concatenate(found))
    with (given.folder / "cells.pkl").open("wb") as file:
        pickle.dump((cells, offsets), file)
    print(f"{len(found)} of {len(cells)} crystals, {offsets[-1]} sites, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
