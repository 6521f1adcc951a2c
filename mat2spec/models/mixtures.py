"""Mixtures of diagonal Gaussians: draws, densities, divergences between two of them, and how many components live."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_LOG_TWO_PI = math.log(2 * math.pi)


class Mixture(NamedTuple):
    """A mixture of diagonal Gaussians for each crystal.

    Weights have shape (n, k); means and variances (n, k, d), or (k, d) where all crystals share them.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor

    def mean(self) -> Tensor:
        """Mean of the mixture, shape (n, d)."""
        return _mix(self.weights, self.means)

    def averaged_draw(self) -> Tensor:
        """A draw from every component, averaged with the weights, shape (n, d): no draw from the mixture itself."""
        variance = _mix(self.weights**2, self.variances)
        return self.mean() + torch.sqrt(variance) * torch.randn_like(variance)

    def draws_by_component(self) -> Tensor:
        """A draw from each component, shape (n, k, d).

        A draw from the mixture picks one of them with the probability `weights`, so that a mean over the mixture is the
        mean of these with the weights: no component is missed and the weights have a gradient.
        """
        shape = (*self.weights.shape, self.means.shape[-1])
        noise = torch.randn_like(self.weights[..., None].expand(shape).contiguous())
        return self.means + torch.sqrt(self.variances) * noise

    def log_density(self, points: Tensor) -> Tensor:
        """Logarithm of the density at s points of each crystal, shape (n, s, d) to (n, s)."""
        log_weights = torch.log(self.weights.clamp_min(torch.finfo(self.weights.dtype).tiny))
        return torch.logsumexp(log_weights[:, None, :] + self._component_log_densities(points), dim=-1)

    def _component_log_densities(self, points: Tensor) -> Tensor:
        """Shape (n, s, k), by matrix products: no tensor of all differences (n, s, k, d) is made."""
        precisions = 1 / self.variances
        scaled = self.means * precisions
        squares = points**2 @ precisions.transpose(-1, -2) - 2 * points @ scaled.transpose(-1, -2)
        constants = (self.means * scaled + torch.log(self.variances) + _LOG_TWO_PI).sum(dim=-1)
        return -0.5 * (squares + constants.unsqueeze(-2))


def mixture_divergence(first: Mixture, second: Mixture) -> Tensor:
    """Symmetric Kullback-Leibler divergence of two mixtures per latent dimension, half of each direction, mean over crystals.

    Monte Carlo: the integrand is the difference of the log-sum-exp densities at a draw from every component, weighted with
    its component. The estimate is unbiased and is zero, whatever is drawn, where both mixtures are equal.
    """
    at_first, at_second = first.draws_by_component(), second.draws_by_component()
    forward = (first.weights * (first.log_density(at_first) - second.log_density(at_first))).sum(dim=-1)
    backward = (second.weights * (second.log_density(at_second) - first.log_density(at_second))).sum(dim=-1)
    return 0.5 * (forward + backward).mean() / first.means.shape[-1]


def pairwise_divergence(first: Mixture, second: Mixture) -> Tensor:
    """Expected symmetric KL divergence between components, per latent dimension, mean over crystals.

    The alignment of the published code: every component of the first mixture is paired with every one of the second and
    weighted with the product of their weights. It is not a divergence of the mixtures: it is zero only where all Gaussians
    are equal, so that minimising it makes each mixture a single Gaussian. The sum over pairs of
    ``v/v' + v'/v + (m - m')^2 (1/v + 1/v') - 2`` separates into matrix products, so no tensor of all pairs is made.

    Parameters
    ----------
    first
        Means and variances of shape (n, k, d).
    second
        Means and variances of shape (k', d), shared by all crystals.
    """
    precision, shared_precision = 1 / first.variances, 1 / second.variances
    left = torch.cat(
        [
            first.variances + first.means**2,
            precision,
            -2 * first.means * precision,
            -2 * first.means,
            first.means**2 * precision,
        ],
        dim=-1,
    )
    right = torch.cat(
        [
            shared_precision,
            second.variances + second.means**2,
            second.means,
            second.means * shared_precision,
            torch.ones_like(second.means),
        ],
        dim=-1,
    )
    constant = (second.means**2 * shared_precision).sum(dim=-1)
    mixed_left = _mix(first.weights, left)
    mixed_right = second.weights @ right
    paired = (mixed_left * mixed_right).sum(dim=-1) + second.weights @ constant
    dimension = first.means.shape[-1]
    return 0.5 * (paired / dimension - 2).mean()


def effective_components(mixture: Mixture) -> Tensor:
    """Number of components of each crystal that carry weight and differ from each other, shape (n,); at least 1.

    The diversity of order one of weights w with the similarity S of components: ``exp(-sum_i w_i log sum_j S_ij w_j)``
    (Leinster and Cobbold, Ecology 93, 477 (2012)). S is the Bhattacharyya coefficient of two Gaussians, 1 for equal ones, so
    that ten equal components count as one and ten with equal weights far from each other as ten.
    """
    means, variances = mixture.means, mixture.variances
    average = 0.5 * (variances.unsqueeze(-2) + variances.unsqueeze(-3))
    difference = means.unsqueeze(-2) - means.unsqueeze(-3)
    logs = torch.log(variances).sum(dim=-1)
    overlap = (difference**2 / average).sum(dim=-1) / 8
    spread = 0.5 * (torch.log(average).sum(dim=-1) - 0.5 * (logs.unsqueeze(-1) + logs.unsqueeze(-2)))
    similarity = torch.exp(-overlap - spread)
    ordinariness = (similarity @ mixture.weights.unsqueeze(-1)).squeeze(-1)
    return torch.exp(-(mixture.weights * torch.log(ordinariness.clamp_min(1e-30))).sum(dim=-1))


def _mix(weights: Tensor, values: Tensor) -> Tensor:
    if values.dim() == 2:
        return weights @ values
    return torch.einsum("nk,nkd->nd", weights, values)
