"""CHGNet energies and gradients of many crystals of one prototype, on orbits instead of atoms.

CHGNet's own layers are applied to one representative of every symmetry orbit, each message weighted by the
orbit's multiplicity. The energy is the same as CHGNet's to rounding, the gradient with respect to the free
parameters is exact, and a cubic cell costs ten to forty times less than the full graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from chgnet.model import CHGNet
from numpy.typing import NDArray
from torch import Tensor

from scripts.catalogue.symmetry import OrbitTable, SymmetricCell

BOND_CUTOFF = 6.0
ANGLE_CUTOFF = 3.0
MAX_ROWS = 200_000


@dataclass(frozen=True)
class Evaluation:
    """Energies and gradients of B crystals.

    Attributes
    ----------
    energy
        eV per cell, (B,).
    strain_gradient
        Derivative with respect to the strains of the basis, eV, (B, S).
    displacement_gradient
        Derivative with respect to the displacement amplitudes, eV/Angstrom, (B, D).
    min_distance_ratio
        Shortest bond over the sum of both covalent radii, (B,).
    """

    energy: NDArray[np.float64]
    strain_gradient: NDArray[np.float64]
    displacement_gradient: NDArray[np.float64]
    min_distance_ratio: NDArray[np.float64]


class PrototypeEnergy:
    """CHGNet energy of crystals that share a prototype.

    Parameters
    ----------
    model
        A frozen CHGNet.
    cell
        The prototype with its symmetry.
    table
        Its orbits of bonds and angles.
    radii
        Covalent radius by atomic number in Angstrom, (Z_max + 1,).
    """

    def __init__(self, model: CHGNet, cell: SymmetricCell, table: OrbitTable, radii: NDArray[np.float64]) -> None:
        self.model, self.cell, self.table, self.radii = model, cell, table, radii
        self.atom_reference: Tensor = cast("Any", model.composition_model).fc.weight[0]
        self.frac = torch.tensor(cell.frac_coords)
        self.strain_basis = torch.tensor(cell.strain_basis)
        self.displacement_basis = torch.tensor(cell.displacement_basis)
        self.orbit_slots = cell.slots[cell.representatives]
        self.orbit_sizes = torch.tensor(np.bincount(cell.site_orbits), dtype=torch.float32)
        self.index: dict[str, Tensor] = {
            name: torch.from_numpy(value) for name, value in vars(table).items() if isinstance(value, np.ndarray)
        }

    def covers(self, lattices: NDArray[np.float64], amplitudes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for which geometries, (B, 3, 3) and (B, D), the table holds every bond within the cutoffs."""
        deformation = np.linalg.inv(self.cell.lattice) @ lattices
        smallest = np.linalg.svd(deformation, compute_uv=False)[:, -1]
        slack = np.zeros(len(lattices))
        if amplitudes.shape[1]:
            moves = np.tensordot(amplitudes, self.cell.displacement_basis, axes=1) @ lattices
            slack = 2 * np.linalg.norm(moves, axis=-1).max(axis=1)
        enough = smallest * self.table.reach - slack > BOND_CUTOFF
        return enough & (smallest * self.table.angle_reach - slack > ANGLE_CUTOFF)

    def evaluate(
        self,
        elements: NDArray[np.int64],
        lattices: NDArray[np.float64],
        amplitudes: NDArray[np.float64],
        *,
        gradients: bool = True,
    ) -> Evaluation:
        """Evaluate crystals in batches that bound the memory.

        Parameters
        ----------
        elements
            Atomic number of each slot, (B, n_slots).
        lattices
            Row vectors in Angstrom, (B, 3, 3).
        amplitudes
            Amplitudes of the displacement basis in Angstrom, (B, D).
        gradients
            False leaves the gradients zero.
        """
        rows = max(len(self.table.angle_center), len(self.table.edge_center), 1)
        size = max(1, MAX_ROWS // rows)
        parts = [
            self._evaluate(elements[i : i + size], lattices[i : i + size], amplitudes[i : i + size], gradients)
            for i in range(0, len(elements), size)
        ]
        columns = zip(*parts, strict=True)
        return Evaluation(*(np.concatenate(column).astype(np.float64) for column in columns))

    def _evaluate(
        self, elements: NDArray[Any], lattices: NDArray[Any], amplitudes: NDArray[Any], gradients: bool
    ) -> tuple[NDArray[Any], ...]:
        orbit_elements = torch.from_numpy(elements[:, self.orbit_slots])
        strain = torch.zeros(len(elements), len(self.strain_basis), dtype=torch.float64, requires_grad=gradients)
        amplitude = torch.from_numpy(amplitudes).requires_grad_(gradients)
        with torch.set_grad_enabled(gradients):
            deformation = torch.eye(3, dtype=torch.float64) + torch.tensordot(strain, self.strain_basis, dims=1)
            vectors = self._vectors(torch.from_numpy(lattices) @ deformation, amplitude)
            lengths = vectors.norm(dim=-1)
            energy = self._energy(orbit_elements, vectors, lengths)
        ratio = self._distance_ratio(orbit_elements, lengths.detach())
        if not gradients:
            zeros = np.zeros((len(elements), 0))
            return energy.numpy(), zeros, zeros, ratio
        leaves = [leaf for leaf in (strain, amplitude) if leaf.shape[1]]
        computed = iter(torch.autograd.grad(energy.sum(), leaves))
        strain_gradient, amplitude_gradient = (
            next(computed).numpy() if leaf.shape[1] else np.zeros(leaf.shape) for leaf in (strain, amplitude)
        )
        return energy.detach().numpy(), strain_gradient, amplitude_gradient, ratio

    def _vectors(self, lattices: Tensor, amplitudes: Tensor) -> Tensor:
        """Cartesian bond vectors from centre to neighbour, (B, V, 3)."""
        frac = self.frac + torch.tensordot(amplitudes, self.displacement_basis, dims=1)
        centers, neighbors = self.index["vector_sites"].T
        return (frac[:, neighbors] + self.index["vector_images"] - frac[:, centers]) @ lattices

    def _distance_ratio(self, orbit_elements: Tensor, lengths: Tensor) -> NDArray[np.float64]:
        radii = torch.from_numpy(self.radii)[orbit_elements]
        sums = radii[:, self.index["edge_center"]] + radii[:, self.index["edge_neighbor"]]
        bonds = lengths[:, self.index["bond_vector"]][:, self.index["edge_bond"]]
        return (bonds / sums).min(dim=1).values.numpy()

    def _energy(self, orbit_elements: Tensor, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Energy of each crystal in eV per cell, (B,)."""
        graph = self._graph(vectors, lengths)
        site_energy = _site_energies(self.model, orbit_elements.reshape(-1), graph)
        site_energy = site_energy + self.atom_reference[orbit_elements.reshape(-1) - 1]
        return (site_energy.reshape(orbit_elements.shape) * self.orbit_sizes).sum(dim=1)

    def _graph(self, vectors: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Flatten the orbits that lie within the cutoffs into rows over all crystals."""
        index, n_orbits = self.index, len(self.orbit_slots)
        bond_lengths = lengths[:, index["bond_vector"]]
        bonded = bond_lengths.detach() < BOND_CUTOFF
        row = (torch.cumsum(bonded.reshape(-1), 0) - 1).reshape(bonded.shape)
        crystal, edge = torch.nonzero(bonded[:, index["edge_bond"]], as_tuple=True)
        close = bond_lengths.detach() < ANGLE_CUTOFF
        angular = close[:, index["angle_bond_i"]] & close[:, index["angle_bond_j"]]
        holder, angle = torch.nonzero(angular, as_tuple=True)
        unit = vectors / lengths[..., None]
        return {
            "bond_length": bond_lengths[bonded].float(),
            "edge_center": crystal * n_orbits + index["edge_center"][edge],
            "edge_neighbor": crystal * n_orbits + index["edge_neighbor"][edge],
            "edge_bond": row[crystal, index["edge_bond"][edge]],
            "edge_weight": index["edge_multiplicity"][edge, None].float(),
            "angle_center": holder * n_orbits + index["angle_center"][angle],
            "angle_bond_i": row[holder, index["angle_bond_i"][angle]],
            "angle_bond_j": row[holder, index["angle_bond_j"][angle]],
            "angle_weight": index["angle_multiplicity"][angle, None].float(),
            "unit_i": unit[holder, index["angle_vector_i"][angle]].float(),
            "unit_j": unit[holder, index["angle_vector_j"][angle]].float(),
        }


def _site_energies(model: CHGNet, elements: Tensor, graph: dict[str, Tensor]) -> Tensor:
    """Run CHGNet's layers over the orbit graph; energies in eV of each orbit's atom, without the reference."""
    atoms = model.atom_embedding(elements - 1)
    long_basis = model.bond_basis_expansion.rbf_expansion_ag(graph["bond_length"])
    short_basis = model.bond_basis_expansion.rbf_expansion_bg(graph["bond_length"])
    bonds = model.bond_embedding(long_basis)
    edge_weight = model.bond_weights_ag(long_basis)[graph["edge_bond"]] * graph["edge_weight"]
    short_weights = model.bond_weights_bg(short_basis)
    angle_weight = short_weights[graph["angle_bond_i"]] * short_weights[graph["angle_bond_j"]] * graph["angle_weight"]
    angles = model.angle_embedding(model.angle_basis_expansion(graph["unit_i"], graph["unit_j"]))
    *inner, last = cast("Any", model.atom_conv_layers)
    for atom_layer, bond_layer, angle_layer in zip(
        inner, cast("Any", model.bond_conv_layers), cast("Any", model.angle_layers), strict=True
    ):
        atoms = _update_atoms(atom_layer, atoms, bonds, edge_weight, graph)
        bonds = _update_bonds(bond_layer, atoms, bonds, angles, angle_weight, graph)
        angles = angles + _gated(angle_layer.twoBody_bond, _angle_parts(atoms, bonds, angles, graph))
    atoms = _update_atoms(last, atoms, bonds, edge_weight, graph)
    normalised = cast("Any", model.readout_norm)(atoms)
    return model.mlp(normalised)[:, 0]


def _update_atoms(layer: Any, atoms: Tensor, bonds: Tensor, weight: Tensor, graph: dict[str, Tensor]) -> Tensor:
    center = graph["edge_center"]
    parts = [(atoms, center), (bonds, graph["edge_bond"]), (atoms, graph["edge_neighbor"])]
    messages = _gated(layer.twoBody_atom, parts) * weight
    return atoms + layer.mlp_out(torch.zeros_like(atoms).index_add(0, center, messages))


def _update_bonds(
    layer: Any, atoms: Tensor, bonds: Tensor, angles: Tensor, weight: Tensor, graph: dict[str, Tensor]
) -> Tensor:
    messages = _gated(layer.twoBody_bond, _angle_parts(atoms, bonds, angles, graph)) * weight
    return bonds + layer.mlp_out(torch.zeros_like(bonds).index_add(0, graph["angle_bond_i"], messages))


def _angle_parts(
    atoms: Tensor, bonds: Tensor, angles: Tensor, graph: dict[str, Tensor]
) -> list[tuple[Tensor, Tensor | None]]:
    return [
        (bonds, graph["angle_bond_i"]),
        (bonds, graph["angle_bond_j"]),
        (angles, None),
        (atoms, graph["angle_center"]),
    ]


def _gated(layer: Any, parts: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Apply a gated MLP to concatenated features without concatenating them.

    The first matrix multiplies atoms and bonds before they are spread over edges and angles, which is the same
    sum in another order and a third of the work; core and gate share it.

    Parameters
    ----------
    layer
        CHGNet's GatedMLP.
    parts
        Features, (n, 64), and the row of each message among them, or None for one row per message.
    """
    first_core, *later_core = (module for module in layer.mlp_core.layers if not isinstance(module, torch.nn.Dropout))
    first_gate, *later_gate = (module for module in layer.mlp_gate.layers if not isinstance(module, torch.nn.Dropout))
    weight = torch.cat([first_core.weight, first_gate.weight])
    hidden: Tensor = torch.cat([first_core.bias, first_gate.bias])
    for (features, rows), block in zip(parts, torch.split(weight, [f.shape[1] for f, _ in parts], dim=1), strict=True):
        product = features @ block.T
        hidden = hidden + (product if rows is None else product[rows])
    core, gate = hidden.chunk(2, dim=1)
    for core_module, gate_module in zip(later_core, later_gate, strict=True):
        core, gate = core_module(core), gate_module(gate)
    return layer.activation(layer.bn1(core)) * layer.sigmoid(layer.bn2(gate))
