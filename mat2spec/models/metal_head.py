"""Is it a metal? A probability from composition, volume and the parity of the electrons, learned from known band gaps.

A small ensemble of networks that is evaluated with numpy alone. It knows what thousands of known gaps tell and nothing of
the arrangement of the atoms: it stands beside a predicted spectrum, not in its place
(`screening.classify.metals` joins the two). Other weights of it, or another class with `probability_of_metal` and
`weights_hash`, replace it in `shipped_metal_head`; the calibration beside the spectra is then fitted anew by
`scripts/calibrate_metals.py`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.special import expit

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import N_COLUMNS, ElementCounts
from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER, count_valence_electrons
from mat2spec.crystals.primitive import CellSizes

METAL_HEAD = "metal-head"
METAL_HEAD_FILE = Path(__file__).resolve().parents[1] / "weights" / "heads" / f"{METAL_HEAD}.safetensors"
# Gaps up to this count as metals: what the Materials Project's k-meshes leave of a metal.
METAL_GAP_EV = 0.1
# Materials whose features are in memory at once.
_BLOCK = 16384
_MOLAR_VOLUME_A3 = 1.66053907


@lru_cache(maxsize=1)
def element_properties() -> NDArray[np.float64]:
    """Properties of the elements, shape (MAX_ATOMIC_NUMBER + 1, 14): the mean of all elements where unknown.

    Electronegativity, radius (Angstrom), ionisation energy and electron affinity (eV), molar volume (cm3), Mendeleev
    number, group, period, valence electrons, valence electrons missing to the next noble gas, share of the blocks s, p, d, f.
    """
    rows = np.full((MAX_ATOMIC_NUMBER + 1, 14), np.nan)
    for number in range(1, MAX_ATOMIC_NUMBER + 1):
        element = Element.from_Z(number)
        valence = count_valence_electrons(number)
        known = [element.data.get(name) for name in ("X", "Atomic radius calculated", "Molar volume", "Mendeleev no")]
        x, radius, volume, mendeleev = (float(v) if isinstance(v, int | float) else np.nan for v in known)
        energies = [np.nan if v is None else v for v in (element.ionization_energy, element.electron_affinity)]
        missing = (8 - valence) if element.block == "p" and valence <= 8 else 0
        blocks = [float(element.block == block) for block in "spdf"]
        rows[number] = [x, radius, *energies, volume, mendeleev, element.group, element.row, valence, missing, *blocks]
    return np.where(np.isnan(rows), np.nanmean(rows, axis=0), rows)


def metal_features(elements: ElementCounts, sizes: CellSizes) -> NDArray[np.float32]:
    """What the head sees of materials, shape (n, n_features); the same for every cell of a crystal.

    Shares of the elements, their square roots, mean, mean deviation, smallest and largest of `element_properties`, valence
    electrons and atoms of the primitive cell modulo two, volume per atom, alone and over that of the elements.
    """
    n = len(elements.n_sites)
    share = np.zeros((n, N_COLUMNS))
    np.add.at(share, (elements.crystal, elements.atomic_number), elements.count)
    share = share[:, 1 : MAX_ATOMIC_NUMBER + 1]
    n_atoms = np.maximum(share.sum(axis=1, keepdims=True), 1)
    share /= n_atoms
    table = element_properties()[1:]
    mean = share @ table
    deviation = np.stack(
        [(share * np.abs(table[:, i] - mean[:, i : i + 1])).sum(axis=1) for i in range(table.shape[1])], 1
    )
    present = share > 0
    low = np.stack([np.where(present, table[:, i], np.inf).min(axis=1) for i in range(table.shape[1])], 1)
    high = np.stack([np.where(present, table[:, i], -np.inf).max(axis=1) for i in range(table.shape[1])], 1)
    atomic_numbers = np.arange(1, MAX_ATOMIC_NUMBER + 1)
    electrons = np.rint(share @ atomic_numbers * sizes.n_primitive)
    volume = sizes.volumes_per_site
    further = [
        electrons % 2,
        sizes.n_primitive % 2,
        np.log(sizes.n_primitive),
        np.log(volume),
        np.log(volume / (mean[:, 4] * _MOLAR_VOLUME_A3)),
        present.sum(axis=1),
    ]
    columns = np.concatenate([share, np.sqrt(share), mean, deviation, low, high, np.stack(further, 1)], axis=1)
    return np.where(np.isfinite(columns), columns, 0.0).astype(np.float32)


@dataclass(frozen=True)
class MetalHead:
    """An ensemble of two-layer networks and what turns their mean into a probability.

    Parameters
    ----------
    mean, scale
        Standardise the features, shape (n_features,).
    layers
        Weights and biases of each layer, the members of the ensemble along the first axis.
    slope, intercept
        Of the mean logit: Platt's scaling on materials that were not trained on.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    slope: float = 1.0
    intercept: float = 0.0

    @cached_property
    def weights_hash(self) -> str:
        """Identity of the weights, 16 hexadecimal digits."""
        tensors = [self.mean, self.scale, *(tensor for layer in self.layers for tensor in layer)]
        content = b"".join(np.ascontiguousarray(tensor).tobytes() for tensor in tensors)
        return hashlib.sha256(content + json.dumps([self.slope, self.intercept]).encode()).hexdigest()[:16]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean logit of the members that it is a metal, shape (n,)."""
        values = ((features - self.mean) / self.scale)[None]
        for index, (weight, bias) in enumerate(self.layers):
            values = values @ weight + bias[:, None]
            if index < len(self.layers) - 1:
                values = np.maximum(values, 0)
        return values[:, :, 0].mean(axis=0).astype(np.float64)

    def probability_of_metal(self, crystals: Crystals, sizes: CellSizes | None = None) -> NDArray[np.float64]:
        """Probability that each crystal is a metal (PBE gap of the Materials Project up to 0.1 eV), shape (n,).

        NaN for a crystal that could not be read. The same for every cell of a crystal. `sizes` spare a search for the
        primitive cells where they are known.
        """
        probability = np.full(len(crystals), np.nan)
        is_read = crystals.n_sites > 0
        if crystals.problems is not None:
            is_read &= np.array([problem is None for problem in crystals.problems], dtype=np.bool_)
        rows = np.flatnonzero(is_read)
        for start in range(0, len(rows), _BLOCK):
            chosen = rows[start : start + _BLOCK]
            part = crystals.take(chosen)
            features = metal_features(
                ElementCounts.from_crystals(part), CellSizes.of_crystals(part) if sizes is None else sizes.take(chosen)
            )
            probability[chosen] = expit(self.slope * self.logits(features) + self.intercept)
        return probability

    def save(self, path: Path, card: dict[str, object]) -> None:
        """Write weights and what is known of them."""
        tensors = {"mean": self.mean, "scale": self.scale}
        for index, (weight, bias) in enumerate(self.layers):
            tensors |= {f"weight{index}": weight, f"bias{index}": bias}
        facts = {"slope": self.slope, "intercept": self.intercept, **card}
        # safetensors writes the memory as it lies.
        tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
        save_file(tensors, path, metadata={"card": json.dumps(facts, sort_keys=True)})

    @classmethod
    def load(cls, path: Path = METAL_HEAD_FILE) -> Self:
        """Read weights."""
        with safe_open(path, framework="numpy") as file:
            card = json.loads(file.metadata()["card"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        n_layers = sum(name.startswith("weight") for name in tensors)
        layers = tuple((tensors[f"weight{index}"], tensors[f"bias{index}"]) for index in range(n_layers))
        return cls(tensors["mean"], tensors["scale"], layers, card["slope"], card["intercept"])


@lru_cache(maxsize=1)
def shipped_metal_head() -> MetalHead:
    """The head that ships; its weights are read once."""
    return MetalHead.load()
