"""Make the file by which `mat2spec.crystals.plausibility` tells real crystals from spoilt ones.

    python scripts/crystal_statistics.py DATA

Reads `mp_structures.parquet` of the folder DATA. Tables are made of seven tenths of the formulas, the network is taught
with two tenths (real crystals against the four ways to spoil them), and what is printed is of the last tenth.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from torch import nn

from mat2spec.crystals import checks
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.crystals.contacts import covalent_radii
from mat2spec.crystals.elements import common_charges, electronegativities
from mat2spec.crystals.environments import Environments
from mat2spec.crystals.plausibility import N_ELEMENTS, STATISTICS_FILE, Floats, Plausibility, Statistics
from mat2spec.crystals.spoilt import WAYS_TO_SPOIL
from mat2spec.labels.splits import tenth_of_formula
from mat2spec.tables.columns import CRYSTAL_COLUMNS

N_CRYSTALS = 130_000
MAX_SITES = 40
SEED = 0
# Tenths of the formulas before the first are for the tables, before the second for the network, the others for the test.
TABLES, NETWORK = 7, 9
# Share of real crystals that may lie beyond the limit.
FALSE_ALARMS = 0.03
# Crystals' worth of what is generally usual in the statistics of a pair or an element.
PRIOR = 4.0
WIDTHS = (32, 16)
EPOCHS, BATCH, RATE = 16, 256, 6e-3
_SMALLEST_VOLUME_A3 = 2.0


def read_crystals(data_dir: Path) -> list[Crystals]:
    """Random crystals for tables, network and test, split by formula."""
    table = pq.read_table(data_dir / "mp_structures.parquet", columns=[str(name) for name in CRYSTAL_COLUMNS])
    rows = np.random.default_rng(SEED).choice(len(table), min(N_CRYSTALS, len(table)), replace=False)
    crystals = Crystals.from_arrow(table.take(np.sort(rows)))
    crystals = usable(crystals.take(np.flatnonzero(crystals.n_sites <= MAX_SITES)))
    tenths = np.array([tenth_of_formula(str(formula), seed=7) for formula in reduced_formulas(crystals)])
    bounds = (-1, TABLES - 1, NETWORK - 1, 9)
    return [crystals.take(np.flatnonzero((tenths > low) & (tenths <= high))) for low, high in pairwise(bounds)]


def usable(crystals: Crystals) -> Crystals:
    """Those of which contacts can be searched, in compact cells."""
    rows = np.flatnonzero([problem is None for problem in checks.find_problems(crystals)])
    return reduce_skewed_cells(crystals).take(rows)


def make_statistics(crystals: Crystals) -> Statistics:
    """Tables of what is usual; each crystal counts the same, whatever its cell."""
    around = Environments.of(crystals)
    weight = (1 / crystals.n_sites)[around.site_crystal]
    centre, other, ratio = around.pairs
    nearest = around.nearest()
    nearest = nearest[nearest >= 0]
    pair = centre[nearest], other[nearest]
    nearest_mean, nearest_std, counts = _by_pair(*pair, ratio[nearest], weight[around.near_site[nearest]])
    first_mean, first_std, _ = _by_pair(centre, other, ratio, weight[around.near_site])
    chance = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    bonds = around.bond_sums(nearest_mean)
    bond_mean, bond_std = _by_element(around.site_element, bonds, weight)
    shares = np.zeros((len(crystals), N_ELEMENTS))
    np.add.at(shares, (around.site_crystal, around.site_element), weight)
    present = (shares > 0).astype(float)
    often = present.mean(axis=0)
    together = np.log((present.T @ present + 1) / (len(crystals) * often[:, None] * often + 1))
    return Statistics(
        nearest_mean,
        nearest_std,
        np.log((counts + 1) / (chance + 1)),
        first_mean,
        first_std,
        together,
        bond_mean,
        bond_std,
        _atomic_volumes(shares, crystals.volumes / crystals.n_sites),
        electronegativities(),
        *common_charges(),
    )


def _by_pair(
    first: NDArray[np.int64], second: NDArray[np.int64], values: Floats, weight: Floats
) -> tuple[Floats, Floats, Floats]:
    """Mean, standard deviation and count by pair of elements; a rare pair has those of its elements together."""
    usual, size = _sum_of_two(first, second, values, weight), N_ELEMENTS**2
    key = first * N_ELEMENTS + second
    counts = np.bincount(key, weight, size).reshape(N_ELEMENTS, -1)
    residual = values - usual[first, second]
    mean = usual + np.bincount(key, weight * residual, size).reshape(N_ELEMENTS, -1) / (counts + PRIOR)
    residual = values - mean[first, second]
    general = np.average(residual**2, weights=weight)
    squares = np.bincount(key, weight * residual**2, size).reshape(N_ELEMENTS, -1)
    return mean, np.sqrt((squares + PRIOR * general) / (counts + PRIOR)), counts


def _sum_of_two(first: NDArray[np.int64], second: NDArray[np.int64], values: Floats, weight: Floats) -> Floats:
    """Least-squares values of pairs that are a sum of one number for each element, shape (N_ELEMENTS, N_ELEMENTS)."""
    general, own = np.average(values, weights=weight), np.zeros(N_ELEMENTS)
    count = np.bincount(first, weight, N_ELEMENTS) + np.bincount(second, weight, N_ELEMENTS) + PRIOR
    for _ in range(10):
        rest = values - general
        sums = np.bincount(first, weight * (rest - own[second]), N_ELEMENTS)
        own = (sums + np.bincount(second, weight * (rest - own[first]), N_ELEMENTS)) / count
    return np.asarray(general + own[:, None] + own)


def _by_element(elements: NDArray[np.int64], values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    general, counts = np.average(values, weights=weight), np.bincount(elements, weight, N_ELEMENTS)
    mean = (np.bincount(elements, weight * values, N_ELEMENTS) + PRIOR * general) / (counts + PRIOR)
    squares = weight * (values - mean[elements]) ** 2
    spread = squares.sum() / weight.sum()
    return mean, np.sqrt((np.bincount(elements, squares, N_ELEMENTS) + PRIOR * spread) / (counts + PRIOR))


def _atomic_volumes(shares: Floats, volumes: Floats) -> Floats:
    """Least squares of relative errors, from seven cubes of the covalent radius for elements that are not there."""
    start = 7 * covalent_radii() ** 3
    weight = np.minimum(1 / volumes, 1 / (shares @ start))[:, None]
    weighted = shares * weight
    change = np.linalg.solve(
        weighted.T @ weighted + 1e-3 * np.eye(N_ELEMENTS), weighted.T @ ((volumes - shares @ start) * weight[:, 0])
    )
    return np.maximum(start + change, _SMALLEST_VOLUME_A3)


def teach(statistics: Statistics, real: Environments, spoilt: list[Environments]) -> dict[str, Floats]:
    """The network by name of tensor.

    Its first output tells real crystals from spoilt ones, its second a crystal from itself with two elements exchanged.
    """
    features = statistics.describe(real)
    values = np.concatenate([features, *map(statistics.describe, spoilt)])
    mean, deviation = values.mean(axis=0), values.std(axis=0) + 1e-6
    exchanged, owner = statistics.describe_exchanged(real, features)
    given = features[owner]
    inputs, given, exchanged = (
        torch.from_numpy((part - mean) / deviation).float().clamp(-5, 5) for part in (values, given, exchanged)
    )
    target = torch.arange(len(values)).ge(len(real)).float()
    weight = torch.where(target > 0, 1.0, float(len(spoilt)))
    torch.manual_seed(SEED)
    widths = (inputs.shape[1], *WIDTHS, 2)
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    network = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-3)
    n_batches = -(-len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * n_batches)
    for _ in range(EPOCHS):
        batches = torch.randperm(len(inputs)).tensor_split(n_batches)
        comparisons = torch.randperm(len(given)).tensor_split(n_batches)
        for batch, compared in zip(batches, comparisons, strict=True):
            optimizer.zero_grad()
            spoilt_or_not = nn.functional.binary_cross_entropy_with_logits(
                network(inputs[batch])[:, 0], target[batch], weight[batch]
            )
            # As Bradley and Terry rank two by what each is worth.
            gain = network(given[compared])[:, 1] - network(exchanged[compared])[:, 1]
            (spoilt_or_not + nn.functional.softplus(gain).mean()).backward()
            optimizer.step()
            schedule.step()
    tensors = {"mean": mean, "std": deviation}
    for index, layer in enumerate(layers):
        tensors |= {f"weight{index}": layer.weight.detach().numpy(), f"bias{index}": layer.bias.detach().numpy()}
    return tensors


def weigh_opinions(real: Floats, spoilt: list[Floats]) -> Floats:
    """Logistic regression of the two opinions, every way to spoil and the real crystals in equal parts; shape (2,)."""
    values = np.concatenate([real, *spoilt])
    is_spoilt = np.arange(len(values)) >= len(real)
    weight = np.concatenate([np.full(len(part), 1 / len(part)) for part in (real, *spoilt)])
    weight[~is_spoilt] *= len(spoilt)
    fitted = LogisticRegression(C=1e6).fit(values, is_spoilt, weight * len(values))
    return np.asarray(fitted.coef_[0])


def main() -> None:
    """Make the file and print what it tells apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, default=STATISTICS_FILE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for_tables, for_network, for_test = read_crystals(given.data)
    statistics = make_statistics(for_tables)
    real = Environments.of(for_network)
    spoilt = [Environments.of(usable(spoil(for_network, 1))) for spoil in WAYS_TO_SPOIL.values()]
    tensors = {**vars(statistics), **teach(statistics, real, spoilt)}
    opinions = [Plausibility.from_tensors(tensors).opinions(around) for around in (real, *spoilt)]
    tensors["opinion_weights"] = weigh_opinions(opinions[0], opinions[1:])
    limit = np.quantile(opinions[0] @ tensors["opinion_weights"], 1 - FALSE_ALARMS)
    tensors = {name: np.asarray(tensor, dtype=np.float32) for name, tensor in {**tensors, "limit": limit}.items()}
    save_file(tensors, given.output)
    judge = Plausibility.from_tensors(tensors)
    print(f"real: {(judge.implausibility(for_test) > 1).mean():.3f} of {len(for_test)} above one")
    for name, spoil in WAYS_TO_SPOIL.items():
        crystals = spoil(for_test, 2)
        found = judge.implausibility(crystals)
        refused = np.isnan(found)
        print(f"{name}: {(refused | (found > 1)).mean():.3f} of {len(crystals)}, {refused.mean():.3f} refused")


if __name__ == "__main__":
    main()
