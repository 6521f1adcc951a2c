"""Graphs of many crystals in one PyTorch Geometric object, used for data sets, batches and single crystals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.utils import cumsum

NODE_ATTRIBUTES = ("atomic_numbers", "multiplicity", "descriptors")
NODE_PREFIX, EDGE_PREFIX = "node_", "edge_"

Indices = NDArray[np.integer] | NDArray[np.bool_] | Tensor | Sequence[int]


class CrystalGraphs(Data):
    """Crystal graphs concatenated in flat tensors, without a Python object per crystal.

    It behaves like the `Batch` of PyTorch Geometric: `len` and `num_graphs` count crystals, an index gives one crystal,
    a slice, mask or list of indices several. `take` and `concatenate` work on whole tensors; a `DataLoader` of
    PyTorch Geometric collects single crystals.

    Parameters
    ----------
    atomic_numbers
        Element of each node, shape (n_nodes,).
    multiplicity
        Atoms of the cell that a node represents, shape (n_nodes,).
    descriptors
        Pretrained vectors of the nodes, means over merged atoms, shape (n_nodes, width); None without.
    edge_index
        An `EdgeIndex` of shape (2, n_edges), ordered by its second row: from the neighbours (first row) to the
        centres (second row).
    edge_length
        Edge lengths in Angstrom, shape (n_edges,).
    edge_multiplicity
        Equal links (same neighbour, same length) that an edge represents, shape (n_edges,).
    edge_vector
        From the centre to the neighbour of each edge, in Angstrom, shape (n_edges, 3); None if sites were merged, as
        equivalent atoms have neighbours in different directions.
    n_atoms
        Atoms in each cell, shape (n_crystals,).
    batch
        Crystal of each node, shape (n_nodes,); nodes are ordered by crystal.
    ptr
        First node of each crystal and one past the last, shape (n_crystals + 1,).

    Notes
    -----
    Custom attributes follow their crystals: those whose name begins with `node_` have one row per node, with `edge_` one
    per edge, all others one per crystal, for example a target `y`.
    """

    atomic_numbers: Tensor
    multiplicity: Tensor
    edge_index: EdgeIndex
    edge_length: Tensor
    edge_multiplicity: Tensor
    n_atoms: Tensor
    batch: Tensor
    ptr: Tensor

    @classmethod
    def join(cls, ptr: Tensor, edges: Tensor, **attributes: Tensor) -> CrystalGraphs:
        """Graphs from flat tensors.

        Parameters
        ----------
        ptr
            First node of each crystal and one past the last, shape (n_crystals + 1,).
        edges
            Neighbours and centres of the edges as indices of nodes, shape (2, n_edges), ordered by centre.
        attributes
            All others but `batch`.
        """
        n_nodes = int(ptr[-1])
        batch = torch.repeat_interleave(ptr.diff(), output_size=n_nodes)
        rows = {"batch": batch, "ptr": ptr, "edge_index": _ordered_by_centre(edges, n_nodes)}
        return CrystalGraphs().update(rows | attributes)

    @classmethod
    def concatenate(cls, parts: Sequence[CrystalGraphs]) -> CrystalGraphs:
        """All graphs of all parts, with the attributes that every part has."""
        attributes = [part.own_attributes() for part in parts]
        shared = [key for key in attributes[0] if all(key in others for others in attributes)]
        first_node = np.cumsum([0, *(int(part.ptr[-1]) for part in parts)]).tolist()
        return cls.join(
            cumsum(torch.cat([part.n_nodes for part in parts])),
            torch.cat([part.edges + first for part, first in zip(parts, first_node, strict=False)], dim=1),
            **{key: torch.cat([own[key] for own in attributes]) for key in shared},
        )

    @property
    def num_graphs(self) -> int:
        """Number of crystals."""
        return len(self.ptr) - 1

    @property
    def n_nodes(self) -> Tensor:
        """Nodes of each crystal, shape (n_crystals,)."""
        return self.ptr.diff()

    @property
    def n_edges(self) -> Tensor:
        """Edges of each crystal, shape (n_crystals,)."""
        return self.edge_ptr[self.ptr].diff()

    @property
    def edges(self) -> Tensor:
        """Neighbours and centres of the edges as a plain tensor, shape (2, n_edges)."""
        return self.edge_index.as_tensor()

    @property
    def edge_ptr(self) -> Tensor:
        """First edge of each node and one past the last, shape (n_nodes + 1,)."""
        return self.edge_index.get_indptr()

    def own_attributes(self) -> dict[str, Tensor]:
        """All tensors except those that define which rows belong together: `batch`, `ptr` and `edge_index`."""
        return {
            key: value
            for key, value in self.to_dict().items()
            if value is not None and key not in {"batch", "ptr", "edge_index"}
        }

    def take(self, indices: Indices) -> CrystalGraphs:
        """The graphs at `indices` from 0 on, in that order, or those of a mask.

        Raises
        ------
        TypeError, ValueError
            If an attribute is not a tensor, or does not have one row per crystal.
        """
        chosen = torch.as_tensor(indices, device=self.ptr.device)
        chosen = chosen.nonzero().flatten() if chosen.dtype == torch.bool else chosen.long()
        start, stop = self.ptr[chosen], self.ptr[chosen + 1]
        edge_ptr = self.edge_ptr
        nodes, ptr = rows_between(start, stop)
        edges, first_edge = rows_between(edge_ptr[start], edge_ptr[stop])
        moved = torch.repeat_interleave(ptr[:-1] - start, first_edge.diff(), output_size=len(edges))
        rows = {"node": nodes, "edge": edges, "crystal": chosen}
        return self.join(
            ptr,
            self.edges.index_select(1, edges) + moved,
            **{
                key: torch.index_select(value, 0, rows[self._kind(key, value)])
                for key, value in self.own_attributes().items()
            },
        )

    def apply(self, func: Callable[[Tensor], Tensor], *keys: str) -> CrystalGraphs:
        """Change all tensors in place, as PyTorch Geometric does, and keep the `EdgeIndex`."""
        super().apply(func, *keys)
        if not isinstance(self.edge_index, EdgeIndex):  # in inference mode torch turns it into a plain tensor
            self.edge_index = _ordered_by_centre(self.edge_index, len(self.atomic_numbers))
        return self

    def to(self, device: torch.device | str, *keys: str, non_blocking: bool = False) -> CrystalGraphs:
        """The same graphs on a device; nothing is copied if they are already there."""
        target = torch.device(device)
        if all(getattr(value, "device", target) == target for value in self.to_dict().values()):
            return self
        return super().to(device, *keys, non_blocking=non_blocking)

    def to_data_list(self) -> list[CrystalGraphs]:
        """One object for each crystal."""
        return [self[index] for index in range(self.num_graphs)]

    def __getattr__(self, key: str) -> Any:
        try:
            return super().__getattr__(key)
        except AttributeError:
            if key != "ptr" or "batch" not in self:
                raise
            # PyTorch Geometric leaves it out when it takes one item from a batch.
            self.ptr = cumsum(torch.bincount(self.batch))
            return self.ptr

    def __len__(self) -> int:
        return self.num_graphs

    def __getitem__(self, key: int | slice | str | Indices) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        every = torch.arange(self.num_graphs, device=self.ptr.device)
        return self.take(every[key].reshape(-1))

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        n_crystals = len(self.ptr) - 1
        if key == "batch" and n_crystals != 1:
            raise ValueError(
                f"A batch is collected from single crystals, but one item holds {n_crystals}; "
                "join many with CrystalGraphs.concatenate."
            )
        return super().__inc__(key, value, *args, **kwargs)

    def _kind(self, key: str, value: Any) -> str:
        n_crystals = len(self.ptr) - 1
        if not isinstance(value, Tensor):
            raise TypeError(f"The attribute '{key}' is a {type(value).__name__}; only tensors can follow a crystal.")
        if key in NODE_ATTRIBUTES or key.startswith(NODE_PREFIX):
            return "node"
        if key.startswith(EDGE_PREFIX):
            return "edge"
        if value.dim() == 0 or len(value) != n_crystals:
            raise ValueError(f"The attribute '{key}' of {n_crystals} crystals has the shape {tuple(value.shape)}.")
        return "crystal"


def _ordered_by_centre(edges: Tensor, n_nodes: int) -> EdgeIndex:
    # The cache is filled here because inference mode would fill it with tensors unusable for gradients.
    ordered = EdgeIndex(edges, sparse_size=(n_nodes, n_nodes), sort_order="col")
    return ordered.fill_cache_(no_transpose=True)


def rows_between(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """All rows from `start[i]` to `stop[i] - 1`, range by range.

    Returns
    -------
    Tensor
        The rows, shape (n_rows,).
    Tensor
        Where each range begins among them and one past the last, shape (n_ranges + 1,).
    """
    count = stop - start
    first = cumsum(count)
    total = int(first[-1])
    shift = torch.repeat_interleave(start - first[:-1], count, output_size=total)
    return torch.arange(total, device=start.device) + shift, first


def split_by_edges(
    indices: NDArray[np.int64], n_edges: NDArray[np.int64], max_edges: int
) -> Iterator[NDArray[np.int64]]:
    """Split crystals into batches of at most `max_edges` edges; order is kept.

    A crystal with more edges forms its own batch.
    """
    start, total = 0, 0
    for position, size in enumerate(n_edges[indices].tolist()):
        if position > start and total + size > max_edges:
            yield indices[start:position]
            start, total = position, 0
        total += size
    if start < len(indices):
        yield indices[start:]
