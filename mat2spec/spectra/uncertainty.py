"""How wrong a predicted shape may be: calibrated on held-out crystals, aware of the distance to what was trained on.

Two things are learned from the residuals of the validation set, both with a handful of coefficients. How wrong the
whole spectrum is: log-linear in the distance to the nearest training crystals in the space of the encoder, in how
peaked and how spread out the predicted spectrum is, and in the disagreement of the members of an ensemble. And where
in the spectrum: by maximum likelihood from the predicted density at a bin and around it (a peak at the wrong place
errs beside itself), its slope and the disagreement there. Then all is scaled so that +-1.645 standard deviations
hold 90 % of the validation bins (split-conformal scaling).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Half width of a 90 % interval in standard deviations of a Gaussian; the calibration makes it one of the residuals.
INTERVAL_90 = 1.645
NEIGHBOURS = 5
LARGEST_DIMENSION = 32
CRYSTALS_PER_DIMENSION = 8
# Share of the training crystals that lie, each compared to all others, within the distance that counts as inside.
DOMAIN_QUANTILE = 0.99
_N_TERMS = 5
_N_FEATURES = 4
# Of the regression, in validation crystals: keeps coefficients small where there are few.
_RIDGE = 5.0
# Standardised features further out than this are no guide to the size of an error.
_LARGEST_FEATURE = 4.0
# The sum of absolute differences of two spectra that sum to one.
_LARGEST_ERROR = 2.0
_TINY = 1e-12
# Standard deviation in bins of the smoothing that carries the width of a peak to the bins beside it.
_SMOOTHING_BINS = 2.0
_CHUNK = 64


class Uncertainty(NamedTuple):
    """Uncertainty of predicted shapes of n crystals.

    Parameters
    ----------
    per_bin
        Standard deviation of each bin of the shape that sums to one, shape (n, size).
    per_spectrum
        Expected sum of absolute errors of the shape (between 0 and 2), shape (n,).
    domain_distance
        Distance to the nearest training crystals over the largest usual one, shape (n,); above one
        the crystal is outside what the model knows.
    """

    per_bin: Tensor
    per_spectrum: Tensor
    domain_distance: Tensor


class ErrorModel(nn.Module):
    """Uncertainty of a shape model; part of its weights, NaN until `fit` was called."""

    log_weights: Tensor
    bin_factor: Tensor
    feature_mean: Tensor
    feature_std: Tensor
    coefficients: Tensor
    centre: Tensor
    projection: Tensor
    reference: Tensor
    distance_limit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_weights", torch.zeros(_N_TERMS))
        self.register_buffer("bin_factor", torch.full((), torch.nan))
        self.register_buffer("feature_mean", torch.zeros(_N_FEATURES))
        self.register_buffer("feature_std", torch.ones(_N_FEATURES))
        self.register_buffer("coefficients", torch.zeros(_N_FEATURES + 1))
        self.register_buffer("distance_limit", torch.full((), torch.nan))
        self.register_buffer("centre", torch.empty(0))
        self.register_buffer("projection", torch.empty(0, 0))
        self.register_buffer("reference", torch.empty(0, 0, dtype=torch.float16))

    @property
    def is_fitted(self) -> bool:
        """Whether the model was calibrated."""
        return bool(torch.isfinite(self.bin_factor))

    def forward(self, shapes: Tensor, spread: Tensor, vectors: Tensor) -> Uncertainty:
        """Uncertainty of predicted shapes.

        Parameters
        ----------
        shapes
            Predicted spectra that sum to one, shape (n, size).
        spread
            Standard deviation among the members of an ensemble, shape (n, size); zeros without.
        vectors
            The crystals in the space of the encoder, shape (n, width).
        """
        if not self.is_fitted:
            unknown = shapes.new_full((len(shapes),), torch.nan)
            return Uncertainty(torch.full_like(shapes, torch.nan), unknown, unknown)
        distance = self.distances(vectors)
        per_spectrum = self._expected_error(_features(shapes, spread, distance))
        per_bin = self.bin_factor * per_spectrum[:, None] * _profile(shapes, spread, self.log_weights)
        return Uncertainty(per_bin, per_spectrum, distance)

    def distances(self, vectors: Tensor) -> Tensor:
        """Mean distance to the nearest training crystals over the largest usual one, shape (n,)."""
        return self._nearest(self._project(vectors), skip_itself=False) / self.distance_limit

    @torch.no_grad()
    def fit(self, train_vectors: Tensor, valid: ValidationSet) -> None:
        """Learn the domain from training crystals, size and place of errors from validation residuals.

        Raises
        ------
        ValueError
            If there are fewer than two crystals in either set.
        """
        if len(train_vectors) < 2 or len(valid.shapes) < 2:
            raise ValueError(
                f"Uncertainty cannot be calibrated on {len(train_vectors)} training and {len(valid.shapes)} validation "
                "crystals; at least two of each are needed."
            )
        self._fit_domain(train_vectors)
        residual = (valid.shapes - valid.true_shapes).abs()
        self._fit_spectra(_features(valid.shapes, valid.spread, self.distances(valid.vectors)), residual.sum(dim=1))
        with torch.enable_grad():
            self.log_weights = _most_likely(valid, residual)
        self.bin_factor = torch.ones(())
        deviation = self(valid.shapes, valid.spread, valid.vectors).per_bin
        self.bin_factor = torch.quantile((residual / deviation).flatten().double(), 0.9).float() / INTERVAL_90

    def _fit_domain(self, vectors: Tensor) -> None:
        """Whitened principal components of the training crystals, and the usual distance between them."""
        dimension = max(1, min(LARGEST_DIMENSION, len(vectors) // CRYSTALS_PER_DIMENSION, vectors.shape[1]))
        self.centre = vectors.mean(dim=0)
        _, scale, directions = torch.linalg.svd(vectors - self.centre, full_matrices=False)
        deviation = (scale[:dimension] / math.sqrt(len(vectors))).clamp_min(_TINY)
        self.projection = directions[:dimension].T / deviation
        self.reference = self._project(vectors).half()
        among_themselves = self._nearest(self._project(vectors), skip_itself=True)
        self.distance_limit = torch.quantile(among_themselves, DOMAIN_QUANTILE).clamp_min(_TINY)

    def _fit_spectra(self, features: Tensor, errors: Tensor) -> None:
        """Ridge regression of the logarithm of the errors of spectra; the mean error is met exactly."""
        self.feature_mean, self.feature_std = features.mean(dim=0), features.std(dim=0) + 1e-6
        standard = self._standardise(features)
        logs = errors.clamp_min(_TINY).log()
        covariance = standard.T @ standard + _RIDGE * torch.eye(_N_FEATURES)
        slopes = torch.linalg.solve(covariance, standard.T @ (logs - logs.mean()))
        # Never more certain of what is further away or more disputed.
        slopes[[0, 3]] = slopes[[0, 3]].clamp_min(0)
        unscaled = torch.exp(standard @ slopes)
        intercept = torch.log(errors.mean().clamp_min(_TINY) / unscaled.mean())
        self.coefficients = torch.cat([intercept[None], slopes])

    def _standardise(self, features: Tensor) -> Tensor:
        return ((features - self.feature_mean) / self.feature_std).clamp(-_LARGEST_FEATURE, _LARGEST_FEATURE)

    def _expected_error(self, features: Tensor) -> Tensor:
        """Expected sum of absolute errors, shape (n,)."""
        logs = self.coefficients[0] + self._standardise(features) @ self.coefficients[1:]
        return logs.exp().clamp_max(_LARGEST_ERROR)

    def _project(self, vectors: Tensor) -> Tensor:
        return (vectors - self.centre) @ self.projection

    def _nearest(self, points: Tensor, skip_itself: bool) -> Tensor:
        reference = self.reference.float()
        skipped = int(skip_itself)
        k = min(NEIGHBOURS, len(reference) - skipped)
        parts = [
            torch.cdist(part, reference, compute_mode="donot_use_mm_for_euclid_dist")
            .topk(k + skipped, largest=False)
            .values[:, skipped:]
            .mean(dim=1)
            for part in points.split(_CHUNK)
        ]
        return torch.cat(parts) if parts else points.new_empty(0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take the sizes of the domain from the weights: they depend on the training set."""
        for name in ("centre", "projection", "reference"):
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *args)


class ValidationSet(NamedTuple):
    """What the error model is calibrated on; shapes as in `ErrorModel.forward`."""

    shapes: Tensor
    spread: Tensor
    vectors: Tensor
    true_shapes: Tensor


def _features(shapes: Tensor, spread: Tensor, distance: Tensor) -> Tensor:
    """Logarithm of the distance, of the peakedness, entropy, logarithm of the disagreement; shape (n, 4)."""
    # A crystal of the training set itself is no surer than one close to it.
    return torch.stack(
        [
            torch.log(distance.clamp_min(0.05)),
            torch.log(shapes.square().sum(dim=1).clamp_min(_TINY)),
            -torch.xlogy(shapes, shapes).sum(dim=1),
            torch.log(spread.sum(dim=1).clamp_min(1e-4)),
        ],
        dim=1,
    )


def _terms(shapes: Tensor, spread: Tensor) -> Tensor:
    """Squared scales that the error of a bin may follow, shape (n, size, 5)."""
    size = shapes.shape[1]
    bins = torch.arange(size, device=shapes.device, dtype=shapes.dtype)
    kernel = torch.exp(-0.5 * ((bins[:, None] - bins) / _SMOOTHING_BINS) ** 2)
    around = shapes @ (kernel / kernel.sum(dim=0))
    slope = torch.gradient(shapes, dim=1)[0]
    level = torch.full_like(shapes, 0.1 / size)
    return torch.stack([level, shapes, around, slope, spread], dim=-1) ** 2


def _profile(shapes: Tensor, spread: Tensor, log_weights: Tensor) -> Tensor:
    """How the error of a spectrum is distributed over its bins, sums to one, shape (n, size)."""
    deviation = torch.sqrt(_terms(shapes, spread) @ log_weights.exp() + _TINY)
    return deviation / deviation.sum(dim=1, keepdim=True)


def _most_likely(valid: ValidationSet, residual: Tensor) -> Tensor:
    """Weights of the terms with the largest Laplace likelihood: errors of spectra have heavy tails."""
    log_weights = torch.full((_N_TERMS,), -2.0, requires_grad=True)
    optimizer = torch.optim.Adam([log_weights], lr=0.05)
    terms = _terms(valid.shapes, valid.spread)
    for _ in range(300):
        optimizer.zero_grad()
        deviation = torch.sqrt(terms @ log_weights.exp() + _TINY)
        (torch.log(deviation) + residual / deviation).mean().backward()
        optimizer.step()
        with torch.no_grad():
            log_weights.clamp_(-12.0, 6.0)
    return log_weights.detach()
