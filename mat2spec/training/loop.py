"""The training loop: resumable after every epoch, the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.models import SpectrumModel
from mat2spec.spectra.normalisation import prediction_loss
from mat2spec.training.batching import load_batches, with_targets
from mat2spec.training.curves import Line, draw_curves, read_curves, write_curves
from mat2spec.training.folders import TrainingError, load_checkpoint, save_checkpoint
from mat2spec.training.settings import TrainingSettings

EpochReport = Callable[[Line], None]
CHECKPOINT_FILE = "last.ckpt"
# Of the free memory of a GPU, for the graphs of a training; models and their gradients need the rest.
_LARGEST_SHARE_OF_MEMORY = 0.3


@dataclass
class TrainingState:
    """State of a training; part of its checkpoint."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    seconds: float = 0.0
    history: list[Line] = field(default_factory=list)

    def is_finished(self, settings: TrainingSettings) -> bool:
        """Whether all epochs are done, or enough of them without improvement for early stopping."""
        return self.epoch >= settings.epochs or self.epoch - self.best_epoch >= settings.patience

    def add_epoch(self, terms: Mapping[str, float], valid_loss: float, seconds: float, folder: Path) -> Line:
        """Record an epoch and return its line of the curves; raises a `TrainingError` if the loss is not finite."""
        if not math.isfinite(valid_loss):
            raise TrainingError(
                f"The validation loss of epoch {self.epoch + 1} is {valid_loss}; lower the learning rate. "
                f"{folder} holds the epochs before."
            )
        self.epoch += 1
        self.seconds += seconds
        if valid_loss < self.best_loss:
            self.best_loss, self.best_epoch = valid_loss, self.epoch
        line = {"epoch": self.epoch, **terms, "valid": valid_loss, "seconds": self.seconds}
        self.history.append(line)
        return line


def train_model(
    model: SpectrumModel,
    data: LabelledSpectra,
    settings: TrainingSettings,
    folder: Path,
    fingerprint: str,
    on_epoch: EpochReport | None = None,
    *,
    keep_statistics: bool = False,
) -> TrainingState:
    """Train a model in place and leave it at its best validation epoch.

    After every epoch `folder` holds `last.ckpt`, from which a killed training resumes when called again, and one more
    line of `curves.csv`; at the end also `curves.png`. With several devices each process trains on its share of an epoch.

    Parameters
    ----------
    model
        The model, with its initial weights.
    data
        Spectra with the splits ``"train"`` and ``"valid"``.
    settings
        How to train.
    folder
        Where checkpoint and curves are kept.
    fingerprint
        Identity of data, settings and initial weights; a checkpoint of another one is refused.
    on_epoch
        Called with the figures of every epoch.
    keep_statistics
        Whether the model keeps the statistics of the data it was trained on before: fine-tuning.

    Raises
    ------
    TrainingError
        If a split or a batch is too small, the checkpoint belongs to another training or the loss is not finite.
    """
    train, valid = data.part("train"), data.part("valid")
    _check_sizes(model, len(train), len(valid), settings)
    fabric, trainable, optimizer = _set_up(model, None if keep_statistics else train, settings)
    progress, best = _resume(folder, fingerprint, model, optimizer)
    train_graphs, valid_graphs = (_on_device(with_targets(model, part), fabric.device) for part in (train, valid))
    while not progress.is_finished(settings):
        started = time.monotonic()
        _set_learning_rate(optimizer, settings, progress.epoch)
        terms = _run_epoch(fabric, trainable, optimizer, train_graphs, settings, progress.epoch)
        # Every process has its own batch-norm statistics: the first one evaluates for all.
        valid_loss = fabric.broadcast(validation_loss(model, valid_graphs, settings.batch_size, fabric.device))
        line = progress.add_epoch(terms, valid_loss, time.monotonic() - started, folder)
        if progress.best_epoch == progress.epoch:
            best = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        if fabric.is_global_zero:
            _save_checkpoint(folder, fingerprint, model, optimizer, progress, best)
            write_curves(folder, progress.history)
            if on_epoch:
                on_epoch(line)
    if fabric.is_global_zero and progress.history:
        draw_curves(folder, progress.history, progress.best_epoch)
    model.load_state_dict(best)
    return progress


def _on_device(graphs: CrystalGraphs, device: torch.device) -> CrystalGraphs:
    """The graphs in the memory of the device, if they take only a part of it: batches are then cut there."""
    if device.type != "cuda":
        return graphs
    n_bytes = sum(tensor.nbytes for tensor in graphs.to_dict().values() if isinstance(tensor, Tensor))
    free, _ = torch.cuda.mem_get_info(device)
    return graphs.to(device) if n_bytes < _LARGEST_SHARE_OF_MEMORY * free else graphs


def _check_sizes(model: SpectrumModel, n_train: int, n_valid: int, settings: TrainingSettings) -> None:
    if min(n_train, n_valid) < 2:
        raise TrainingError(
            f"There are {n_train} spectra to train on and {n_valid} to validate; at least two of each are needed."
        )
    if settings.batch_size == 1 and any(isinstance(module, torch.nn.BatchNorm1d) for module in model.modules()):
        raise TrainingError(
            "A batch of one crystal has no statistics for the batch norm of this model; set a batch_size of 2 or more."
        )
    if n_train < settings.devices:
        raise TrainingError(f"There are {n_train} spectra to train on and {settings.devices} devices; use fewer.")


def _set_up(
    model: SpectrumModel, statistics_of: LabelledSpectra | None, settings: TrainingSettings
) -> tuple[Fabric, Any, Any]:
    """Fabric, the model as it trains it, and the optimizer; statistics are fitted to data where they are given."""
    fabric = _launch(settings)
    fabric.seed_everything(settings.seed, verbose=False)
    if statistics_of is not None:
        set_target_statistics(model, statistics_of)
        model.fit_inputs(statistics_of.graphs)
    trainable, optimizer = fabric.setup(model, _make_optimizer(model, settings))
    trainable.mark_forward_method("losses")
    return fabric, trainable, optimizer


def _launch(settings: TrainingSettings) -> Fabric:
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
        precision=settings.precision,
    )
    fabric.launch()
    return fabric


def set_target_statistics(model: SpectrumModel, train: LabelledSpectra) -> None:
    """Store mean per bin and overall standard deviation of the training spectra in the model."""
    spectra = torch.from_numpy(train.spectra)
    model.target_mean.copy_(spectra.mean(dim=0))
    model.target_std.copy_(spectra.std().clamp_min(torch.finfo(spectra.dtype).tiny))


@torch.no_grad()
def validation_loss(model: SpectrumModel, graphs: CrystalGraphs, batch_size: int, device: torch.device) -> float:
    """Mean prediction loss of the deterministic model on graphs with targets."""
    model.eval()
    total = 0.0
    for batch in load_batches(graphs, np.arange(len(graphs)), batch_size):
        graph = batch.to(device)
        total += float(prediction_loss(model(graph), graph.y, model.setting)) * len(graph)
    return total / len(graphs)


def _run_epoch(
    fabric: Fabric,
    model: Any,
    optimizer: Any,
    train: CrystalGraphs,
    settings: TrainingSettings,
    epoch: int,
) -> dict[str, float]:
    model.train()
    if settings.encoder_learning_rate_factor == 0:
        model.module.encoder.eval()  # a kept encoder keeps the statistics of its batch norm too
    # Order and noise depend only on the epoch, so that a resumed training equals an uninterrupted one.
    torch.manual_seed(settings.seed * 1_000_003 + epoch)
    order = np.random.default_rng([settings.seed, epoch]).permutation(len(train))
    share = _share_of(order, fabric.global_rank, fabric.world_size)
    totals: dict[str, float] = {}
    for batch in load_batches(train, share, settings.batch_size):
        graph = batch.to(fabric.device)
        with fabric.autocast():  # called through forward, as `losses` alone would not run in the precision of Fabric
            terms = model.losses(graph, graph.y)
        optimizer.zero_grad()
        fabric.backward(torch.stack(list(terms.values())).sum())
        fabric.clip_gradients(model, optimizer, max_norm=settings.gradient_clip)
        optimizer.step()
        for name, value in terms.items():
            totals[name] = totals.get(name, 0.0) + value.item() * len(graph) / len(share)
    means: Any = fabric.all_reduce(torch.tensor(list(totals.values()), device=fabric.device), reduce_op="mean")
    return dict(zip(totals, means.tolist(), strict=True))


def _share_of(order: NDArray[np.integer], rank: int, world_size: int) -> NDArray[np.integer]:
    """What one process trains on; all get equally many, or they would wait for each other forever."""
    return np.resize(order, -(-len(order) // world_size) * world_size)[rank::world_size]


def _make_optimizer(model: SpectrumModel, settings: TrainingSettings) -> torch.optim.Optimizer:
    encoder = list(model.encoder.parameters())
    known = {id(parameter) for parameter in encoder}
    head = [parameter for parameter in model.parameters() if id(parameter) not in known]
    for parameter in encoder:
        parameter.requires_grad_(settings.encoder_learning_rate_factor > 0)
    groups = [{"params": head, "factor": 1.0}, {"params": encoder, "factor": settings.encoder_learning_rate_factor}]
    used = [group for group in groups if group["factor"]]
    return torch.optim.AdamW(used, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def _set_learning_rate(optimizer: Any, settings: TrainingSettings, epoch: int) -> None:
    if settings.schedule == "halving":
        share = 0.5 ** (4 * epoch // settings.epochs)
    else:
        share = 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs))
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * group["factor"] * share


def _resume(
    folder: Path, fingerprint: str, model: SpectrumModel, optimizer: Any
) -> tuple[TrainingState, dict[str, Tensor]]:
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return TrainingState(), {}
    state = load_checkpoint(path)
    if state.get("fingerprint") != fingerprint:
        raise TrainingError(
            f"{folder} holds the checkpoint of another training (other data, settings or initial weights); "
            "give another folder or remove it."
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    progress = TrainingState(**state["progress"])
    progress.history = progress.history or [line for line in read_curves(folder) if line["epoch"] <= progress.epoch]
    return progress, state["best"]


def _save_checkpoint(
    folder: Path,
    fingerprint: str,
    model: SpectrumModel,
    optimizer: Any,
    progress: TrainingState,
    best: dict[str, Tensor],
) -> None:
    state = {
        "fingerprint": fingerprint,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
        "best": best,
    }
    save_checkpoint(folder / CHECKPOINT_FILE, state)
