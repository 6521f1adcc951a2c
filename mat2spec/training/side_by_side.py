"""Many trainings of Mat2Spec at once: seeds and ablations as one stack of models on one device.

The published batch of eight small crystals leaves a GPU idle: a step is hundreds of kernels of a few microseconds. Here
a step is taken by all models together (`torch.func.vmap`), each with its own batch, noise and loss, and on a GPU it is
recorded once and replayed (a CUDA graph). What is trained is what `mat2spec.training.loop` trains.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from mat2spec.models.base import LossTerms
from mat2spec.models.mat2spec import VARIANTS, Mat2Spec, Mat2SpecSettings
from mat2spec.models.mixtures import Mixture, mixture_divergence, pairwise_divergence
from mat2spec.spectra.normalisation import Setting, prediction_loss, prepare_targets
from mat2spec.training.dense import DenseCrystals, DenseEncoder

# Floats: parameters begin at multiples of it in the stack, where matrix products read them fastest.
_ALIGNMENT = 64
_WARM_UP_STEPS = 3
_MOMENTUM = 0.1


class VariantRun(NamedTuple):
    """One training: a key of `mat2spec.models.mat2spec.VARIANTS` and a seed."""

    variant: str
    seed: int


class SplitSpectra(NamedTuple):
    """Crystals of one split and their spectra per atom, shape (n, size)."""

    crystals: DenseCrystals
    spectra: Tensor

    def to(self, device: torch.device) -> SplitSpectra:
        """The same on a device."""
        return SplitSpectra(self.crystals.to(device), self.spectra.to(device))


@dataclass(frozen=True)
class Schedule:
    """How all are trained; the defaults are published.

    Parameters
    ----------
    epochs, batch_size, learning_rate, weight_decay, gradient_clip
        As in `mat2spec.training.settings.TrainingSettings`; the rate is halved every quarter of the epochs. A last batch
        that is not full takes crystals of the first.
    time_limit_s
        Seconds after which no further epoch begins. Where the first ones say that not all epochs fit, fewer are planned, so
        that the learning rate still falls to its end.
    sizes
        Fields of `Mat2SpecSettings` that no variant sets.
    """

    epochs: int = 200
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    gradient_clip: float = 5.0
    time_limit_s: float = math.inf
    sizes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Trained:
    """Finished trainings.

    Parameters
    ----------
    models
        One for each run, at its best validation epoch, with the parts that its variant has.
    best_epochs, valid_losses
        Of each run.
    epochs, seconds
        Done, and what they took.
    """

    models: list[Mat2Spec]
    best_epochs: list[int]
    valid_losses: list[float]
    epochs: int
    seconds: float


class _AllTerms(Mat2Spec):
    """A model whose alignment is both divergences, without weights."""

    def _divergence(self, features: Mixture, labels: Mixture) -> Tensor:
        return torch.stack([pairwise_divergence(features, labels), mixture_divergence(features, labels)])


class _Stackable(nn.Module):
    """Terms of the loss of a batch, shape (5,), or predictions, from dense crystals."""

    def __init__(self, model: _AllTerms) -> None:
        super().__init__()
        self.model = model
        self.dense = DenseEncoder(model.encoder)

    def forward(self, crystals: DenseCrystals, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        vectors, statistics = self.dense(crystals)
        if target is None:
            return self.model.predict_from_latent(self.model.feature_generator(vectors).mean(), vectors), statistics
        return _in_order(self.model.losses_from_vectors(vectors, target)), statistics


def train_side_by_side(
    runs: Sequence[VariantRun],
    train: SplitSpectra,
    valid: SplitSpectra,
    setting: Setting,
    schedule: Schedule,
    device: torch.device,
    report: Callable[[str], None] = print,
) -> Trained:
    """Train all runs on one device.

    Parameters
    ----------
    runs
        Variants and seeds.
    train, valid
        The splits.
    setting
        Normalisation and loss of all.
    schedule
        How.
    device
        Where; on a GPU the step is recorded as a CUDA graph.
    report
        Called with a line of text now and then.
    """
    stack = _Stack(runs, train.to(device), valid.to(device), setting, schedule, device)
    step = stack.step
    if device.type == "cuda":
        try:
            step = _recorded(stack)
        except RuntimeError as error:
            report(f"the step cannot be recorded and is run kernel by kernel: {error}")
            stack = _Stack(runs, train.to(device), valid.to(device), setting, schedule, device)
            step = stack.step
    started, planned = time.monotonic(), schedule.epochs
    epoch = 0
    while epoch < planned:
        stack.begin_epoch(epoch, planned)
        for _ in range(stack.n_batches):
            step()
        losses = stack.end_epoch(epoch)
        epoch += 1
        seconds = time.monotonic() - started
        if epoch == 1:
            continue  # the first one is slower than the others
        if epoch == 3 and seconds / epoch * planned > schedule.time_limit_s:
            planned = max(epoch, int(0.97 * schedule.time_limit_s * epoch / seconds))
        if seconds > schedule.time_limit_s:
            break
        if epoch % 10 == 0 or epoch == planned:
            report(f"epoch {epoch} of {planned}, {seconds:.0f} s, validation loss {losses.mean():.4f}")
    return stack.trained(epoch, time.monotonic() - started)


class _Stack:
    """Parameters, optimizer and data of all runs on one device."""

    def __init__(
        self,
        runs: Sequence[VariantRun],
        train: SplitSpectra,
        valid: SplitSpectra,
        setting: Setting,
        schedule: Schedule,
        device: torch.device,
    ) -> None:
        self.runs, self.setting, self.schedule, self.device = list(runs), setting, schedule, device
        self.size = train.spectra.shape[1]
        models = [self._new_model(run.seed, train) for run in runs]
        parameters = torch.stack([_flatten(dict(_Stackable(model).named_parameters())) for model in models])
        statistics = torch.stack([_running_statistics(model) for model in models])
        self.parameters, self.statistics = parameters.to(device), statistics.to(device)
        # Moves the first model itself, so it comes after the stacks.
        self.skeleton = _Stackable(models[0]).to(device)
        self.shapes = {name: parameter.shape for name, parameter in self.skeleton.named_parameters()}
        self.buffers = dict(self.skeleton.named_buffers())
        self.term_weights = torch.tensor([_term_weights(run) for run in runs], device=device)
        self.optimizer = _adamw(self.parameters, schedule, device)
        self.train, self.valid = self._prepare(train, models[0]), self._prepare(valid, models[0])
        n = len(train.spectra)
        self.batch_size = min(schedule.batch_size, n)
        self.n_batches = -(-n // self.batch_size)
        self.order = torch.zeros(len(runs), self.n_batches, self.batch_size, dtype=torch.long, device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.best = (self.parameters.clone(), self.statistics.clone())
        self.best_losses = torch.full((len(runs),), math.inf, device=device)
        self.best_epochs = torch.zeros(len(runs), dtype=torch.long, device=device)

    def begin_epoch(self, epoch: int, planned: int) -> None:
        """Order and learning rate of an epoch; both depend on the epoch alone."""
        n = len(self.train.spectra)
        orders = [np.resize(_order(run.seed, epoch, n), self.n_batches * self.batch_size) for run in self.runs]
        self.order.copy_(torch.from_numpy(np.stack(orders)).view_as(self.order))
        self.position.zero_()
        self._set_rate(self.schedule.learning_rate * 0.5 ** (4 * epoch // planned))
        self.skeleton.train()

    def step(self) -> None:
        """One batch of every run; the same kernels each time."""
        index = self.order.index_select(1, self.position).squeeze(1)
        batch = self.train.crystals.take(index)
        targets = self.train.spectra.index_select(0, index.flatten()).view(*index.shape, -1)
        gradients, statistics = self._gradients(batch, targets)
        norm = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        self.parameters.grad = gradients * (self.schedule.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        self.optimizer.step()
        self.statistics.lerp_(statistics, _MOMENTUM)
        self.position.add_(1)

    def end_epoch(self, epoch: int) -> NDArray[np.float64]:
        """Validate, keep what is best and return the losses."""
        predicted = self.predict(self.valid.crystals, self.parameters, self.statistics)
        losses = torch.stack([prediction_loss(each, self.valid.spectra, self.setting) for each in predicted])
        better = losses < self.best_losses
        for kept, current in zip(self.best, (self.parameters, self.statistics), strict=True):
            kept.copy_(torch.where(better.view(-1, *[1] * (kept.dim() - 1)), current.detach(), kept))
        self.best_losses = torch.where(better, losses, self.best_losses)
        self.best_epochs = torch.where(better, epoch + 1, self.best_epochs)
        return losses.double().cpu().numpy()

    @torch.no_grad()
    def predict(self, crystals: DenseCrystals, parameters: Tensor, statistics: Tensor) -> Tensor:
        """Activated predictions of all runs, shape (n_runs, n, size)."""
        self.skeleton.eval()
        predictions = []
        for flat, kept in zip(parameters, statistics, strict=True):
            given = self._unflatten(flat) | self._with_statistics(kept)
            predictions.append(functional_call(self.skeleton, given, (crystals,))[0])
        return torch.stack(predictions)

    def trained(self, epochs: int, seconds: float) -> Trained:
        """Models of the best epochs, on the CPU."""
        models = [self._model(run, *(kept[index] for kept in self.best)) for index, run in enumerate(self.runs)]
        return Trained(models, self.best_epochs.tolist(), self.best_losses.tolist(), epochs, seconds)

    def state(self) -> list[Tensor]:
        """All tensors that a step changes."""
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        return [self.parameters, self.statistics, self.position, *moments]

    def _gradients(self, batch: DenseCrystals, targets: Tensor) -> tuple[Tensor, Tensor]:
        def loss(flat: Tensor, crystals: DenseCrystals, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
            given = self._unflatten(flat) | self.buffers
            terms, statistics = functional_call(self.skeleton, given, (crystals, target))
            return (terms * weights).sum(), statistics

        of_all = vmap(grad(loss, has_aux=True), randomness="different")
        return of_all(self.parameters.detach(), batch, targets, self.term_weights)

    def _unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        # One split has one concatenation as its gradient; slices would have a tensor of zeros each.
        parts = torch.split(flat, [_padded(shape.numel()) for shape in self.shapes.values()])
        return {
            name: (part if part.shape[0] == shape.numel() else part[: shape.numel()]).view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def _with_statistics(self, statistics: Tensor) -> dict[str, Tensor]:
        changed = dict(self.buffers)
        for layer, (mean, variance) in enumerate(statistics):
            changed[f"model.encoder.norms.{layer}.running_mean"] = mean
            changed[f"model.encoder.norms.{layer}.running_var"] = variance
        return changed

    def _model(self, run: VariantRun, flat: Tensor, statistics: Tensor) -> Mat2Spec:
        model = Mat2Spec(self._settings(**VARIANTS[run.variant]), self.size, self.setting)
        tensors = self._unflatten(flat) | self._with_statistics(statistics)
        ours = {name.removeprefix("model."): value.cpu().clone() for name, value in tensors.items()}
        wanted = model.state_dict()
        model.load_state_dict({name: ours.get(name, wanted[name]) for name in wanted})
        return model.eval()

    def _new_model(self, seed: int, train: SplitSpectra) -> _AllTerms:
        torch.manual_seed(seed)
        settings = self._settings(alignment_weight=1.0, contrastive_weight=1.0, label_sees_crystal=True)
        model = _AllTerms(settings, self.size, self.setting)
        model.target_mean.copy_(train.spectra.mean(dim=0))
        model.target_std.copy_(train.spectra.std())
        return model

    def _settings(self, **given: Any) -> Mat2SpecSettings:
        return Mat2SpecSettings.model_validate({**self.schedule.sizes, **given})

    def _prepare(self, spectra: SplitSpectra, model: Mat2Spec) -> SplitSpectra:
        mean, std = model.target_mean.to(self.device), model.target_std.to(self.device)
        return SplitSpectra(spectra.crystals, prepare_targets(spectra.spectra, self.setting, mean, std))

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # a recorded step reads it where it is
            else:
                group["lr"] = rate


def _recorded(stack: _Stack) -> Callable[[], None]:
    """The step as a CUDA graph; the steps that warm it up leave no trace."""
    stack.begin_epoch(0, 1)
    before = [stack.parameters.clone(), stack.statistics.clone()]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP_STEPS):
            stack.position.zero_()
            stack.step()
        stack.position.zero_()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        stack.step()
    with torch.no_grad():
        for value in stack.state():
            value.zero_()
        stack.parameters.copy_(before[0])
        stack.statistics.copy_(before[1])
    return graph.replay


def _term_weights(run: VariantRun) -> list[float]:
    """Weights of prediction, label prediction, both alignments and contrast."""
    settings = Mat2SpecSettings.model_validate(VARIANTS[run.variant])
    if not settings.label_generator:
        return [1.0, 0.0, 0.0, 0.0, 0.0]
    aligned = settings.alignment_weight
    pairwise, mixture = (aligned, 0.0) if settings.alignment == "published" else (0.0, aligned)
    return [1.0, 1.0, pairwise, mixture, settings.contrastive_weight if settings.projector else 0.0]


def _in_order(terms: LossTerms) -> Tensor:
    names = ("prediction", "label_prediction", "alignment", "contrastive")
    return torch.cat([terms[name].reshape(-1) for name in names])


def _adamw(parameters: Tensor, schedule: Schedule, device: torch.device) -> torch.optim.Optimizer:
    parameters.requires_grad_()
    on_gpu = device.type == "cuda"
    rate = torch.tensor(schedule.learning_rate, device=device) if on_gpu else schedule.learning_rate
    return torch.optim.AdamW([parameters], lr=rate, weight_decay=schedule.weight_decay, capturable=on_gpu, fused=on_gpu)


def _running_statistics(model: Mat2Spec) -> Tensor:
    """Shape (n_layers, 2, width)."""
    names = ("running_mean", "running_var")
    return torch.stack([torch.stack([norm.get_buffer(name) for name in names]) for norm in model.encoder.norms])


def _flatten(parameters: dict[str, Tensor]) -> Tensor:
    rows = [
        nn.functional.pad(value.detach().flatten(), (0, _padded(value.numel()) - value.numel()))
        for value in parameters.values()
    ]
    return torch.cat(rows)


def _padded(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT


def _order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(n)
