"""Train learned tight binding member by member and crystal by crystal; resumable after every epoch.

The crystals are solved on their mesh once per epoch; gradients flow through the energies (Hellmann-Feynman) and the
zero of the spectrum. The learning rate falls to zero in the last epoch, whose weights are kept: the validation set is
used only to calibrate the uncertainty.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.sevennet import site_scalars
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.uncertainty import ValidationSet
from mat2spec.tight_binding.model import TightBinding, TightBindingSettings, predicted_spectrum
from mat2spec.tight_binding.network import CorrectionNetwork
from mat2spec.tight_binding.problem import PreparationSettings, Problem, prepare
from mat2spec.training.folders import TrainingError, load_checkpoint, save_checkpoint

_LOG = logging.getLogger(__name__)
# Share of a flat spectrum mixed into the prediction before its logarithm is taken.
_FLAT_SHARE = 0.03
_TINY = 1e-8
MemberReport = Callable[[dict[str, float]], None]


class TightBindingTraining(BaseModel):
    """How to train."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: TightBindingSettings = Field(default_factory=TightBindingSettings, description="Sizes of the model.")
    seed: int = Field(default=0, description="Seed of the first member; the others follow.")
    epochs: int = Field(default=13, ge=1, description="Passes over the training crystals.")
    batch_size: int = Field(default=16, ge=1, description="Crystals per optimiser step.")
    table_rate: float = Field(default=2e-2, gt=0, description="Maximum learning rate of the element table.")
    network_rate: float = Field(default=1.5e-3, gt=0, description="Maximum learning rate of the networks.")
    weight_decay: float = Field(default=1e-2, ge=0, description="Weight decay; three times as much for the head.")
    kpoints_per_atom: float = Field(default=250.0, gt=0, description="Density of the meshes in training.")
    cumulative_weight: float = Field(
        default=0.3, ge=0, description="Weight of the Wasserstein distance in bins, added to the divergence."
    )
    integral_weight: float = Field(
        default=0.1, ge=0, description="Weight of the squared logarithm of predicted over true integral."
    )


@dataclass(frozen=True)
class SolvableCrystal:
    """A crystal prepared for training.

    Parameters
    ----------
    problem
        Its matrices.
    descriptors
        Of its sites, shape (n_atoms, width).
    target
        Spectrum per atom, shape (size,); zeros where unknown.
    """

    problem: Problem
    descriptors: Tensor
    target: Tensor

    @property
    def atomic_numbers(self) -> Tensor:
        """Of the sites of the primitive cell."""
        return torch.from_numpy(self.problem.cell.atomic_numbers)


def make_solvable(
    crystals: Crystals,
    spectra: NDArray[np.floating],
    settings: TightBindingSettings,
    kpoints_per_atom: float,
    *,
    spin: bool = False,
) -> list[SolvableCrystal]:
    """Primitive cells, matrices and descriptors of crystals.

    Parameters
    ----------
    crystals
        n crystals of elements supported by tables and descriptors.
    spectra
        Per atom, shape (n, size).
    settings
        Which descriptors.
    kpoints_per_atom
        Density of the mesh.
    spin
        Whether the spectra are from spin-polarised calculations if a crystal can be magnetic.
    """
    cells = [PrimitiveCell.of_crystal(crystals, index) for index in range(len(crystals))]
    descriptors = site_scalars(cells, settings.descriptors)
    preparation = PreparationSettings(kpoints_per_atom, spin=spin)
    return [
        SolvableCrystal(prepare(cell, preparation), torch.from_numpy(values), torch.from_numpy(spectrum).float())
        for cell, values, spectrum in zip(cells, descriptors, np.asarray(spectra, dtype=np.float32), strict=True)
    ]


def spectrum_loss(spectrum: Tensor, target: Tensor, settings: TightBindingTraining) -> Tensor:
    """Divergence of the shapes, their Wasserstein distance, and the error of the integral.

    Parameters
    ----------
    spectrum, target
        Per atom, shape (size,).
    settings
        Weights of the terms.
    """
    total = spectrum.sum().clamp_min(1e-6)
    shape, true = spectrum / total, target / target.sum()
    mixed = (1 - _FLAT_SHARE) * shape + _FLAT_SHARE / len(shape)
    divergence = (true * ((true + _TINY).log() - mixed.log())).sum()
    cumulative = torch.cumsum(shape - true, dim=0).abs().sum()
    integral = torch.log(total / target.sum()) ** 2
    return divergence + settings.cumulative_weight * cumulative + settings.integral_weight * integral


def train_tight_binding(
    train: Sequence[SolvableCrystal],
    calibration: Sequence[SolvableCrystal],
    settings: TightBindingTraining,
    folder: Path,
    on_epoch: MemberReport | None = None,
) -> TightBinding:
    """Train all members and calibrate the uncertainty.

    Parameters
    ----------
    train, calibration
        Crystals with targets; the uncertainty is fitted to the second.
    settings
        How to train.
    folder
        Where the state of each member is kept after every epoch; training resumes from there.
    on_epoch
        Called with the numbers of every epoch.
    """
    model = TightBinding(settings.model, EDOS_GRID)
    model.inputs.fit(torch.cat([one.descriptors for one in train]), torch.cat([one.atomic_numbers for one in train]))
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(settings.model.n_members):
        member = _MemberTraining(model, settings, settings.seed + index, len(train))
        member.run(train, folder / f"member-{settings.seed + index}.pt", on_epoch)
        model.members[index].load_state_dict(member.network.state_dict())
    model.eval()
    calibrate(model, train, calibration)
    return model


@torch.no_grad()
def calibrate(model: TightBinding, train: Sequence[SolvableCrystal], calibration: Sequence[SolvableCrystal]) -> None:
    """Fit the uncertainty: its domain on the training crystals, its errors on the calibration crystals."""
    vectors = torch.stack([model.hidden_vector(one.descriptors, one.atomic_numbers) for one in train])
    answers = [model(one.problem, one.descriptors) for one in calibration]
    means = [predicted_spectrum(answer, model.grid) for answer in answers]
    true = torch.stack([one.target for one in calibration])
    totals = true.sum(dim=1)
    ratios = torch.log(torch.stack([mean.total for mean in means]) / totals)
    model.log_integral_std.fill_(float(ratios.square().mean().sqrt()))
    known = ValidationSet(
        torch.stack([mean.shape for mean in means]),
        torch.stack([mean.spread for mean in means]),
        torch.stack([answer.vector for answer in answers]),
        true / totals[:, None],
    )
    model.error_model.fit(vectors, known)


class _MemberTraining:
    """One member with its optimiser; the same crystals, seed and settings give the same weights."""

    def __init__(self, model: TightBinding, settings: TightBindingTraining, seed: int, n_train: int) -> None:
        torch.manual_seed(seed)
        self.inputs, self.settings, self.seed = model.inputs, settings, seed
        self.epoch, self.seconds = 0, 0.0
        sizes = settings.model
        self.network = CorrectionNetwork(
            model.inputs.width, EDOS_GRID.size, sizes.width, sizes.head_width, spin=sizes.spin
        )
        corrections = [*self.network.hidden.parameters(), *self.network.corrections.parameters()]
        decay, rates = settings.weight_decay, [settings.table_rate, settings.network_rate, settings.network_rate]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(self.network.table.parameters()), "weight_decay": decay},
                {"params": corrections, "weight_decay": decay},
                {"params": list(self.network.head.parameters()), "weight_decay": 3 * decay},
            ],
            lr=settings.network_rate,
        )
        steps = settings.epochs * -(-n_train // settings.batch_size)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=rates, total_steps=steps + 1, pct_start=0.15
        )

    def run(self, train: Sequence[SolvableCrystal], checkpoint: Path, on_epoch: MemberReport | None) -> None:
        """Train the remaining epochs."""
        if checkpoint.is_file():
            self._load(checkpoint)
        self.network.train()
        inputs = [self.inputs(one.descriptors, one.atomic_numbers) for one in train]
        while self.epoch < self.settings.epochs:
            start = time.perf_counter()
            loss = self._train_epoch(train, inputs)
            self.epoch += 1
            self.seconds += time.perf_counter() - start
            save_checkpoint(checkpoint, self._state())
            numbers = {"seed": self.seed, "epoch": self.epoch, "loss": loss, "seconds": self.seconds}
            _LOG.info("member %d epoch %d loss %.4f, %.0f s", *numbers.values())
            if on_epoch:
                on_epoch(numbers)
        self.network.eval()

    def _train_epoch(self, train: Sequence[SolvableCrystal], inputs: Sequence[Tensor]) -> float:
        # Order and dropout depend only on seed and epoch, so that a resumed training equals an uninterrupted one.
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(train))
        torch.manual_seed(self.seed * 10_007 + self.epoch)
        total, size = 0.0, self.settings.batch_size
        for batch in np.array_split(order, range(size, len(order), size)):
            self.optimizer.zero_grad()
            for index in batch:
                crystal = train[index]
                answer = self.network(crystal.problem, inputs[index], EDOS_GRID)
                spectrum = answer.spectra.sum(dim=0) / crystal.problem.n_atoms
                loss = spectrum_loss(spectrum, crystal.target, self.settings) / len(batch)
                loss.backward()
                total += float(loss.detach()) * len(batch)
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimizer.step()
            self.schedule.step()
        return total / len(train)

    def _state(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump_json(exclude={"seed": True, "model": {"n_members": True}}),
            "steps": self.schedule.total_steps,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def _load(self, path: Path) -> None:
        own, state = self._state(), load_checkpoint(path)
        if [state.get(name) for name in ("settings", "steps")] != [own["settings"], own["steps"]]:
            raise TrainingError(f"{path} belongs to a training with other settings or data; choose another folder.")
        self.epoch, self.seconds = int(state["epoch"]), float(state["seconds"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
