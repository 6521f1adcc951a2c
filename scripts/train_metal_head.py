"""Train the metal head that ships, on the known band gaps of `mp_structures.parquet`, and say how good it is.

    OMP_NUM_THREADS=1 python -m scripts.train_metal_head DATA

Formulas are split by hash: 80 % are trained on, 10 % calibrate the probability, 10 % test. Reserved ids and formulas take
no part. Four members of 12 epochs take some four minutes on one core. Nothing is chosen on the test formulas.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from torch import nn

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.primitive import CellSizes
from mat2spec.labels.reserved import reserved_formulas
from mat2spec.labels.splits import split_of_formula
from mat2spec.models.metal_head import METAL_GAP_EV, METAL_HEAD_FILE, MetalHead, metal_features

WIDTH, DROPOUT = 192, 0.2
N_MEMBERS, EPOCHS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 4, 12, 256, 2e-3, 1e-3
WIDE_GAP_EV = 1.0


def main() -> None:
    """Train, calibrate, test, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    start = time.process_time()
    rows, crystals = read_gaps(given.data)
    features = metal_features(ElementCounts.from_crystals(crystals), CellSizes.of_crystals(crystals))
    is_metal = (rows.band_gap <= METAL_GAP_EV).to_numpy()
    parts = {name: (rows.split == name).to_numpy() for name in ("train", "valid", "test")}
    head = train(features[parts["train"]], is_metal[parts["train"]])
    slope, intercept = fit_platt(head.logits(features[parts["valid"]]), is_metal[parts["valid"]])
    head = MetalHead(head.mean, head.scale, head.layers, slope, intercept)
    probability = expit(slope * head.logits(features[parts["test"]]) + intercept)
    figures = judge(probability, rows.band_gap[parts["test"]].to_numpy())
    card = {
        "trained_on": int(parts["train"].sum()),
        "metal_gap_ev": METAL_GAP_EV,
        "test": figures,
        "cpu_seconds": round(time.process_time() - start),
    }
    head.save(METAL_HEAD_FILE, card)
    print(json.dumps(card, indent=1))


def read_gaps(data: Path) -> tuple[pd.DataFrame, Crystals]:
    """Materials with a known gap, without reserved formulas: `formula`, `band_gap`, `split`; and their crystals."""
    columns = ["material_id", "formula", "band_gap", "lattice", "frac_coords", "atomic_numbers"]
    table = pq.read_table(data / "mp_structures.parquet", columns=columns)
    table = table.filter(pc.is_valid(table["band_gap"]))
    reserved = reserved_formulas(data)
    crystals = Crystals.from_arrow(table)
    rows = table.select(["formula", "band_gap"]).to_pandas()
    rows["formula"] = ElementCounts.from_crystals(crystals).reduced_formulas()
    kept = np.flatnonzero(~rows.formula.isin(reserved))
    rows = rows.iloc[kept].reset_index(drop=True)
    rows["split"] = [split_of_formula(formula) for formula in rows.formula]
    return rows, crystals.take(kept)


def train(features: NDArray[np.float32], is_metal: NDArray[np.bool_]) -> MetalHead:
    """Train the members one after the other."""
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-3)
    inputs = torch.from_numpy((features - mean) / scale)
    targets = torch.from_numpy(is_metal.astype(np.float32))
    members = [train_member(inputs, targets, seed) for seed in range(N_MEMBERS)]
    layers = tuple(
        (
            np.stack([layers[index].weight.detach().numpy().T for layers in members]).astype(np.float32),
            np.stack([layers[index].bias.detach().numpy() for layers in members]).astype(np.float32),
        )
        for index in range(3)
    )
    return MetalHead(mean, scale, layers)


def train_member(inputs: torch.Tensor, targets: torch.Tensor, seed: int) -> list[nn.Linear]:
    """The linear layers of one trained network."""
    torch.manual_seed(seed)
    sizes = [inputs.shape[1], WIDTH, WIDTH, 1]
    linear = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    network = nn.Sequential(
        linear[0], nn.ReLU(), nn.Dropout(DROPOUT), linear[1], nn.ReLU(), nn.Dropout(DROPOUT), linear[2]
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    n_steps = EPOCHS * -(-len(inputs) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=n_steps)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss(network(inputs[batch])[:, 0], targets[batch]).backward()
            optimizer.step()
            schedule.step()
    return linear


def fit_platt(logits: NDArray[np.float64], is_metal: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept that make probabilities of logits (Platt, Advances in Large Margin Classifiers, 61, 1999)."""
    sign = np.where(is_metal, 1.0, -1.0)
    found = minimize(lambda p: np.logaddexp(0, -sign * (p[0] * logits + p[1])).mean(), [1.0, 0.0])
    return float(found.x[0]), float(found.x[1])


def judge(probability: NDArray[np.float64], gaps: NDArray[np.float64]) -> dict[str, object]:
    """Figures on held-out formulas."""
    metal, wide = gaps <= METAL_GAP_EV, gaps > WIDE_GAP_EV
    bins = np.minimum((probability * 10).astype(int), 9)
    reliability = [
        [
            round(float(probability[bins == i].mean()), 3),
            round(float(metal[bins == i].mean()), 3),
            int((bins == i).sum()),
        ]
        for i in range(10)
        if (bins == i).any()
    ]
    return {
        "n": len(gaps),
        "roc_auc": round(float(roc_auc_score(metal, probability)), 4),
        "insulators_above_1_ev_called_metal": round(float((probability[wide] > 0.5).mean()), 4),
        "metals_called_insulators": round(float((probability[metal] < 0.5).mean()), 4),
        "brier_score": round(float(np.mean((probability - metal) ** 2)), 4),
        "reliability_predicted_true_n": reliability,
    }


if __name__ == "__main__":
    main()
