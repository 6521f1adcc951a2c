"""Is it a metal? A probability from what a potential knows of the sites, learned from known band gaps.

It stands beside a spectrum of tight binding, whose site descriptors it reads, and takes the place of the composition head
(`mat2spec.models.metal_head`) there: it sees how the atoms are arranged and tells diamond from graphite.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn
from torch_geometric.utils import scatter

from mat2spec.crystals.elements import element_features
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.models.checkpoints import tensors_hash

SITE_METAL_HEAD = "site-metal-head"
SITE_METAL_HEAD_FILE = Path(__file__).resolve().parents[1] / "weights" / "heads" / f"{SITE_METAL_HEAD}.safetensors"
# Whose scalars the weights were trained on.
DESCRIPTORS = SevenNetVersion.SEVENNET_0
N_FURTHER = 4
# Standardised inputs beyond it are drawn back.
LARGEST_INPUT = 6.0
_SMALLEST_VARIANCE = 1e-6


class SiteNetwork(nn.Module):
    """One member: sites to vectors; their mean, deviation and largest values to the logit of a metal and a gap in eV.

    Parameters
    ----------
    n_inputs
        Numbers per site.
    width, hidden
        Of the vectors of sites, and of the layers behind the pooling.
    """

    def __init__(self, n_inputs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.width = width
        self.site = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(n_inputs, width), nn.SiLU(), nn.Dropout(0.1), nn.Linear(width, width), nn.SiLU()
        )
        self.crystal = nn.Sequential(
            nn.Linear(3 * width + N_FURTHER, hidden),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, 2),
        )

    def forward(self, inputs: Tensor, crystal: Tensor, further: Tensor) -> Tensor:
        """Logit of a metal and raw gap, shape (n, 2).

        Parameters
        ----------
        inputs
            Standardised numbers of the sites, shape (n_sites, n_inputs).
        crystal
            Crystal of each site, shape (n_sites,).
        further
            `further_inputs` of the crystals, shape (n, 4).
        """
        sites, n = self.site(inputs), len(further)
        count = torch.bincount(crystal, minlength=n).clamp_min(1)[:, None]
        empty = torch.zeros(n, self.width, device=sites.device)
        mean = empty.index_add(0, crystal, sites) / count
        variance = empty.index_add(0, crystal, sites**2) / count - mean**2
        largest = scatter(sites, crystal, dim_size=n, reduce="max")
        return self.crystal(torch.cat([mean, variance.clamp_min(_SMALLEST_VARIANCE).sqrt(), largest, further], dim=1))


def further_inputs(cell: PrimitiveCell) -> NDArray[np.float32]:
    """What the head sees of a primitive cell beside its sites: parities of electrons and atoms, size, volume per atom."""
    volume = abs(float(np.linalg.det(cell.lattice))) / cell.n_atoms
    electrons = int(cell.atomic_numbers.sum())
    return np.array([electrons % 2, cell.n_atoms % 2, np.log(cell.n_atoms) / 2, np.log(volume) - 3], dtype=np.float32)


class SiteMetalHead(nn.Module):
    """An ensemble of `SiteNetwork` and what turns its mean logit into a probability.

    Parameters
    ----------
    card
        Facts of the weights file: sizes, number of members, slope and intercept of Platt's scaling.
    """

    mean: Tensor
    std: Tensor
    elements: Tensor

    def __init__(self, card: dict[str, Any]) -> None:
        super().__init__()
        self.card = card
        elements = torch.from_numpy(element_features())
        n_inputs = DESCRIPTORS.width + elements.shape[1]
        self.register_buffer("elements", elements, persistent=False)
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("std", torch.ones(n_inputs))
        self.members = nn.ModuleList(
            SiteNetwork(n_inputs, card["width"], card["hidden"]) for _ in range(card["members"])
        )

    @property
    def weights_hash(self) -> str:
        """Identity of the weights, 16 hexadecimal digits."""
        content = json.dumps([tensors_hash(self.state_dict()), self.card["slope"], self.card["intercept"]])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @torch.no_grad()
    def probability_of_metal(
        self, cells: Sequence[PrimitiveCell], descriptors: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float64]:
        """Probability that each crystal is a metal (PBE gap of the Materials Project up to 0.1 eV), shape (n,).

        Parameters
        ----------
        cells
            Primitive cells.
        descriptors
            Of the sites of each, as `mat2spec.descriptors.sevennet.site_scalars` gives them.
        """
        if not cells:
            return np.empty(0)
        numbers = torch.from_numpy(np.concatenate([cell.atomic_numbers for cell in cells]))
        raw = torch.cat([torch.from_numpy(np.concatenate(descriptors)), self.elements.cpu()[numbers]], dim=1)
        crystal = torch.repeat_interleave(torch.tensor([cell.n_atoms for cell in cells]))
        further = torch.from_numpy(np.stack([further_inputs(cell) for cell in cells]))
        device = self.mean.device
        inputs = ((raw.to(device) - self.mean) / self.std).clamp(-LARGEST_INPUT, LARGEST_INPUT)
        answers = self._together(inputs, crystal.to(device), further.to(device))[..., 0]
        logit = answers.mean(dim=0).double()
        return torch.sigmoid(self.card["slope"] * logit + self.card["intercept"]).cpu().numpy()

    def _together(self, inputs: Tensor, crystal: Tensor, further: Tensor) -> Tensor:
        """Answers of all members as `SiteNetwork.forward` gives them, in one product a layer, shape (n_members, n, 2)."""
        to_site, between, *to_crystal, last = self._layers
        activate = nn.functional.silu
        sites = activate(torch.baddbmm(to_site[0], inputs.expand(len(self.members), -1, -1), to_site[1]))
        sites = activate(torch.baddbmm(between[0], sites, between[1]))
        n = len(further)
        count = torch.bincount(crystal, minlength=n).clamp_min(1)[:, None]
        empty = sites.new_zeros(len(sites), n, sites.shape[2])
        mean = empty.index_add(1, crystal, sites) / count
        variance = empty.index_add(1, crystal, sites**2) / count - mean**2
        largest = scatter(sites, crystal, dim=1, dim_size=n, reduce="max")
        deviation = variance.clamp_min(_SMALLEST_VARIANCE).sqrt()
        pooled = torch.cat([mean, deviation, largest, further.expand(len(sites), -1, -1)], dim=2)
        for bias, weights in to_crystal:
            pooled = activate(torch.baddbmm(bias, pooled, weights))
        return torch.baddbmm(last[0], pooled, last[1])

    @cached_property
    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        """Biases and weights of each layer of all members: they do not change any more."""
        members = [[layer for layer in member.modules() if isinstance(layer, nn.Linear)] for member in self.members]
        return [
            (torch.stack([one.bias for one in layers])[:, None], torch.stack([one.weight.T for one in layers]))
            for layers in zip(*members, strict=True)
        ]


@cache
def shipped_site_metal_head() -> SiteMetalHead:
    """The head that ships; its weights are read once."""
    with safe_open(SITE_METAL_HEAD_FILE, framework="pt") as file:
        card = json.loads(file.metadata()["card"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    head = SiteMetalHead(card)
    head.load_state_dict(tensors)
    return head.eval().requires_grad_(requires_grad=False)
