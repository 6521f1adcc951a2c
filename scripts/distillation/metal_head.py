"""Train the site metal head on the known PBE band gaps of a population, and say how good it is.

Tenths 0 and 2 of the formulas, those of all test sets of labels, test; tenth 1 makes probabilities of logits; the others
are trained on. Nothing is chosen on the test formulas.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.special import expit
from torch import Tensor, nn

from mat2spec.crystals.elements import element_features
from mat2spec.labels.splits import tenth_of_formula
from mat2spec.models.metal_head import METAL_GAP_EV
from mat2spec.tight_binding.metal_head import DESCRIPTORS, LARGEST_INPUT, SiteNetwork, further_inputs
from scripts.distillation.population import Population
from scripts.distillation.sites import Sites
from scripts.train_metal_head import fit_platt, judge

MEMBERS, EPOCHS, BATCH_SIZE, WIDTH, HIDDEN = 6, 30, 512, 128, 192
LEARNING_RATE, WEIGHT_DECAY, GAP_WEIGHT, LARGEST_GRADIENT = 1.5e-3, 2e-2, 0.3, 5.0
_TEST_TENTHS, _CALIBRATION_TENTH = (0, 2), 1


@dataclass(frozen=True)
class Examples:
    """Crystals with known gaps, on one device."""

    inputs: Tensor
    offsets: Tensor
    further: Tensor
    gaps_ev: Tensor

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Arguments of `SiteNetwork` for some of them."""
        size = self.offsets[chosen + 1] - self.offsets[chosen]
        crystal = torch.repeat_interleave(torch.arange(len(chosen), device=size.device), size)
        before = torch.cumsum(size, 0) - size
        sites = torch.arange(len(crystal), device=size.device) - before[crystal] + self.offsets[chosen][crystal]
        return self.inputs[sites].float(), crystal, self.further[chosen]


def read_examples(
    population: Population, sites: Sites, chosen: NDArray[np.int64], device: torch.device
) -> tuple[Examples, dict[str, Tensor]]:
    """Examples, and mean and deviation of the raw inputs."""
    cells = [cell for cell in (sites.cells[index] for index in chosen) if cell is not None]
    numbers = torch.from_numpy(np.concatenate([cell.atomic_numbers for cell in cells])).to(device)
    descriptors = np.concatenate([sites.descriptors_of(index) for index in chosen])
    elements = torch.from_numpy(element_features()).to(device)
    raw = torch.cat([torch.from_numpy(descriptors).to(device), elements[numbers]], dim=1)
    mean, std = raw.mean(dim=0), raw.std(dim=0) + 1e-3
    examples = Examples(
        ((raw - mean) / std).clamp(-LARGEST_INPUT, LARGEST_INPUT).half(),
        torch.from_numpy(np.concatenate([[0], np.cumsum([cell.n_atoms for cell in cells])])).to(device),
        torch.from_numpy(np.stack([further_inputs(cell) for cell in cells])).to(device),
        torch.from_numpy(population.band_gaps_ev[chosen].astype(np.float32)).to(device),
    )
    return examples, {"mean": mean, "std": std}


def train_member(examples: Examples, train: Tensor, seed: int) -> SiteNetwork:
    """One network: is it a metal, and if not, how wide is the gap."""
    device = train.device
    torch.manual_seed(seed)
    network = SiteNetwork(examples.inputs.shape[1], WIDTH, HIDDEN).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    n_steps = EPOCHS * -(-len(train) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=n_steps, pct_start=0.1)
    for _ in range(EPOCHS):
        for chosen in train[torch.randperm(len(train), device=device)].split(BATCH_SIZE):
            answer, gap = network(*examples.batch(chosen)), examples.gaps_ev[chosen]
            metal = (gap <= METAL_GAP_EV).float()
            loss = nn.functional.binary_cross_entropy_with_logits(answer[:, 0], metal)
            width = nn.functional.softplus(answer[:, 1]) * (1 - metal)
            loss = loss + GAP_WEIGHT * nn.functional.huber_loss(width, gap * (1 - metal))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def logits(network: SiteNetwork, examples: Examples) -> NDArray[np.float64]:
    """Of all examples, shape (n,)."""
    every = torch.arange(len(examples.gaps_ev), device=examples.gaps_ev.device)
    answers = [network(*examples.batch(chosen))[:, 0] for chosen in every.split(2048)]
    return torch.cat(answers).double().cpu().numpy()


def main() -> None:
    """Train, calibrate, test, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("population", type=Path)
    parser.add_argument("folder", type=Path, help="with the described sites")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    start = time.time()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    population, sites = Population.load(given.population), Sites.load(given.folder)
    is_described = np.array([cell is not None for cell in sites.cells])
    chosen = np.flatnonzero(is_described & np.isfinite(population.band_gaps_ev))
    tenth = np.array([tenth_of_formula(formula) for formula in population.formulas[chosen]])
    test, held_out = np.isin(tenth, _TEST_TENTHS), tenth == _CALIBRATION_TENTH
    examples, statistics = read_examples(population, sites, chosen, device)
    train = torch.from_numpy(np.flatnonzero(~test & ~held_out)).to(device)
    members = [train_member(examples, train, seed) for seed in range(MEMBERS)]
    mean = np.mean([logits(member, examples) for member in members], axis=0)
    gaps = population.band_gaps_ev[chosen].astype(np.float64)
    slope, intercept = fit_platt(mean[held_out], gaps[held_out] <= METAL_GAP_EV)
    figures = judge(expit(slope * mean + intercept)[test], gaps[test])
    card = {
        "slope": slope,
        "intercept": intercept,
        "members": MEMBERS,
        "width": WIDTH,
        "hidden": HIDDEN,
        "descriptors": str(DESCRIPTORS),
        "epochs": EPOCHS,
        "trained_on": len(train),
        "n_test": figures.pop("n"),
        **figures,
        "seconds": round(time.time() - start),
    }
    weights = {f"members.{seed}.{name}": t for seed, one in enumerate(members) for name, t in one.state_dict().items()}
    tensors = {name: tensor.float().contiguous().cpu() for name, tensor in (statistics | weights).items()}
    save_file(tensors, given.out, metadata={"card": json.dumps(card)})
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main()
