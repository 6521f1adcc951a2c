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
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mat2spec.models.site_metal_head import DESCRIPTORS
from mat2spec.tight_binding.cells import PrimitiveCell
from mat2spec.tight_binding.pairs import find_neighbours
from mat2spec.tight_binding.predictor import find_problems
from mat2spec.tight_binding.sevennet import SCALARS, potential
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


class _Graph(NamedTuple):
    """Neighbours within the cutoff of the potential."""

    cell: PrimitiveCell
    edges: NDArray[np.int16]
    vectors: NDArray[np.float32]


def prepare(population: Population, cutoff_a: float) -> list[_Graph | None]:
    """Primitive cells and neighbours; None for a crystal that tight binding cannot solve."""
    problems = find_problems(population.crystals, DESCRIPTORS)
    graphs: list[_Graph | None] = []
    for index, problem in enumerate(problems):
        if problem is not None:
            graphs.append(None)
            continue
        cell = PrimitiveCell.of_crystal(population.crystals, index)
        first, second, offsets, _ = find_neighbours(cell.lattice, cell.frac_coords, cutoff_a)
        coordinates = cell.frac_coords @ cell.lattice
        vectors = coordinates[second] + offsets @ cell.lattice - coordinates[first]
        graphs.append(_Graph(cell, np.stack([first, second]).astype(np.int16), vectors.astype(np.float32)))
    return graphs


def describe(graphs: list[_Graph], device: torch.device) -> list[NDArray[np.float32]]:
    """Descriptors of the sites of each cell, all in one pass."""
    network = potential(DESCRIPTORS)
    ends = np.cumsum([graph.cell.n_atoms for graph in graphs])
    starts = ends - [graph.cell.n_atoms for graph in graphs]
    edges = np.concatenate([graph.edges + start for graph, start in zip(graphs, starts, strict=True)], axis=1)
    numbers = torch.from_numpy(np.concatenate([graph.cell.atomic_numbers for graph in graphs])).to(device)
    data = {
        "x": numbers.clone(),
        "atomic_numbers": numbers,
        "edge_index": torch.from_numpy(edges.astype(np.int64)).to(device),
        "edge_vec": torch.from_numpy(np.concatenate([graph.vectors for graph in graphs])).to(device),
        "num_atoms": torch.tensor(len(numbers), device=device),
    }
    with torch.inference_mode():
        network.outputs.clear()
        network.model.to(device)(data)
        scalars = torch.cat([output[:, :SCALARS] for output in network.outputs], dim=1).double().cpu().numpy()
    network.outputs.clear()
    parts = np.split(scalars, ends[:-1])
    return [graph.cell.average_equivalent(part).astype(np.float32) for graph, part in zip(graphs, parts, strict=True)]


def _batches(graphs: Iterator[_Graph]) -> Iterator[list[_Graph]]:
    batch: list[_Graph] = []
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
    cutoffs = [potential(DESCRIPTORS).cutoff_a] * len(parts)
    cells: list[PrimitiveCell | None] = []

    def solvable(results: Iterator[list[_Graph | None]]) -> Iterator[_Graph]:
        for graphs in results:
            cells.extend(None if graph is None else graph.cell for graph in graphs)
            yield from (graph for graph in graphs if graph is not None)

    with ProcessPoolExecutor(given.processes) as pool:
        found = [
            one for batch in _batches(solvable(pool.map(prepare, parts, cutoffs))) for one in describe(batch, device)
        ]
    offsets = np.concatenate([[0], np.cumsum([0 if cell is None else cell.n_atoms for cell in cells])])
    given.folder.mkdir(parents=True, exist_ok=True)
    np.save(given.folder / "descriptors.npy", np.concatenate(found))
    with (given.folder / "cells.pkl").open("wb") as file:
        pickle.dump((cells, offsets), file)
    print(f"{len(found)} of {len(cells)} crystals, {offsets[-1]} sites, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
