"""Crystals of one s orbital per atom, whose bands are known."""

from __future__ import annotations

import numpy as np
import torch

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.tight_binding.bloch import Basis, TightBindingCrystal
from mat2spec.tight_binding.eigenproblem import orthogonalise
from mat2spec.tight_binding.problem import Problem
from mat2spec.tight_binding.velocities import CorrectedCrystal


def one_orbital(lattice, hoppings_ev, levels_ev=(0.0,), pairs=None, n_electrons=1, sites=None):
    """Atoms with one orbital each.

    `pairs` are (first, second, offset) of the hoppings; by default each atom hops along the lattice vectors, with
    `hoppings_ev` of shape (n_atoms, 3): its energy is level + 2 sum_i t_i cos(2 pi k_i). The atoms
    stand evenly along the diagonal, or at the fractional coordinates `sites`.
    """
    n = len(levels_ev)
    if pairs is None:
        pairs = [(atom, atom, offset) for atom in range(n) for offset in np.eye(3, dtype=int)]
    pairs, hoppings = zip(
        *sorted(zip(pairs, np.ravel(hoppings_ev), strict=True), key=lambda pair: pair[0][:2]), strict=True
    )
    first, second, offsets = (np.array(values) for values in zip(*pairs, strict=True))
    blocks = np.zeros((len(pairs), 2, 9, 9))
    blocks[:, 1, 0, 0] = hoppings
    places = np.zeros((n, 3)) + (np.arange(n) / n)[:, None] if sites is None else np.array(sites)
    # Different elements keep atoms of different levels apart.
    elements = 1 + np.unique(levels_ev, return_inverse=True)[1]
    cell = PrimitiveCell.as_given(np.asarray(lattice, dtype=float), places, elements)
    orbitals = np.arange(n)
    basis = Basis(
        np.arange(n + 1), orbitals, np.zeros(n, dtype=int), np.asarray(levels_ev, float), np.ones(n, dtype=int)
    )
    crystal = TightBindingCrystal(cell, basis, first, second, offsets, blocks, np.ones(n))
    unit = torch.eye(n, dtype=torch.complex128)[None]
    shells = torch.zeros(n, 3 * n, dtype=torch.float64)
    shells[orbitals, 3 * orbitals] = 1
    problem = Problem(
        cell,
        unit,
        0 * unit,
        orthogonalise(unit),
        torch.tensor(levels_ev, dtype=torch.float64),
        torch.zeros(n),
        shells,
        torch.ones(1),
        n_electrons,
        (),
    )
    return CorrectedCrystal(crystal, problem, torch.zeros(1, 3 * n), torch.zeros(3 * n))
