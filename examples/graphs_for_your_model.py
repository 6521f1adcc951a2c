"""Train a graph network of your own on crystal graphs of this package.

    python examples/graphs_for_your_model.py [--epochs 20]

`CrystalGraphs` are data of PyTorch Geometric: they go into its `DataLoader`, and its layers read them. Equivalent atoms
are one node that carries their number, and equal links one edge: a model weights both by their multiplicity, or asks
for all atoms with `GraphSettings(merge_sites=False)`. Here a network of two layers learns the volume per atom.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch_geometric.loader import DataLoader
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import scatter

from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.building import build_graphs
from screening.settings import SourceSettings
from screening.sources.opening import open_source

N_CRYSTALS = 128


class Convolution(MessagePassing):
    """Messages from neighbours, filtered by distance."""

    def __init__(self, width: int) -> None:
        super().__init__(aggr="sum")
        self.filter = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.after = nn.Linear(width, width)

    def forward(self, x: Tensor, graphs: CrystalGraphs) -> Tensor:
        """New vectors of the nodes, shape (n_nodes, width)."""
        weight = self.filter(graphs.edge_length[:, None]) * graphs.edge_multiplicity[:, None]
        return x + self.after(nn.functional.silu(self.propagate(graphs.edges, x=x, weight=weight) / 12))

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        """Vectors of the neighbours times the filter, shape (n_edges, width)."""
        return x_j * weight


class Network(nn.Module):
    """One number per crystal: the mean over its atoms."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(MAX_ATOMIC_NUMBER + 1, width)
        self.layers = nn.ModuleList(Convolution(width) for _ in range(2))
        self.head = nn.Linear(width, 1)

    def forward(self, graphs: CrystalGraphs) -> Tensor:
        """Predictions, shape (n_crystals,)."""
        x = self.embedding(graphs.atomic_numbers)
        for layer in self.layers:
            x = layer(x, graphs)
        per_atom = self.head(x)[:, 0] * graphs.multiplicity
        return scatter(per_atom, graphs.batch, dim_size=graphs.num_graphs) / graphs.n_atoms


def labelled_graphs() -> CrystalGraphs:
    """Graphs of crystals of the embedded catalogue with their volume per atom in cubic Angstrom as target `y`."""
    source = open_source(SourceSettings())
    crystals = source.crystals(source.properties()["material_id"].tolist()[:N_CRYSTALS])
    graphs, problems = build_graphs(crystals)
    graphs.y = torch.from_numpy(crystals.volumes / crystals.n_sites).float()
    return graphs[torch.tensor([problem is None for problem in problems])]


def main() -> None:
    """Train and print the mean absolute error of every tenth epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    epochs = parser.parse_args().epochs
    torch.manual_seed(0)
    graphs = labelled_graphs()
    loader = DataLoader(graphs, batch_size=32, shuffle=True)
    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(1, epochs + 1):
        total = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = (model(batch) - batch.y).abs().mean()
            loss.backward()
            optimizer.step()
            total += loss.item() * batch.num_graphs
        if epoch == 1 or epoch % 10 == 0:
            print(f"epoch {epoch}: mean absolute error {total / len(graphs):.2f} cubic Angstrom per atom")


if __name__ == "__main__":
    main()
