"""Mixtures of Gaussians: the divergence is that of the mixtures, and equal components count once."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mat2spec.models.mixtures import Mixture, effective_components, mixture_divergence, pairwise_divergence

COPIES = 40_000
FIRST = ([0.2, 0.5, 0.3], [-1.5, 0.4, 2.0], [0.3, 1.0, 0.5])
SECOND = ([0.6, 0.4], [-0.5, 1.2], [0.8, 1.5])


def one_dimensional(parameters, copies=COPIES, shared=False):
    weights, means, variances = (torch.as_tensor(values, dtype=torch.float64) for values in parameters)
    rows = (means[:, None], variances[:, None])
    if not shared:
        rows = tuple(values.expand(copies, -1, -1) for values in rows)
    return Mixture(weights.expand(copies, -1), *rows)


def density(parameters, points):
    weights, means, variances = parameters
    return sum(w * norm.pdf(points, m, np.sqrt(v)) for w, m, v in zip(weights, means, variances, strict=True))


def integral(first, second):
    points = np.linspace(-15, 15, 60_001)
    p, q = density(first, points), density(second, points)
    return 0.5 * np.trapezoid((p - q) * (np.log(p) - np.log(q)), points)


def test_divergence_is_the_numeric_integral_in_one_dimension():
    found = mixture_divergence(one_dimensional(FIRST), one_dimensional(SECOND, shared=True))
    assert found.item() == pytest.approx(integral(FIRST, SECOND), rel=0.02)


def test_divergence_is_symmetric():
    first, second = one_dimensional(FIRST), one_dimensional(SECOND)
    there, back = mixture_divergence(first, second).item(), mixture_divergence(second, first).item()
    assert there == pytest.approx(back, rel=0.03)


def test_divergence_of_equal_mixtures_is_zero_whatever_is_drawn_and_theirs_alone():
    assert mixture_divergence(one_dimensional(FIRST, 3), one_dimensional(FIRST, 3)).item() == pytest.approx(
        0, abs=1e-12
    )
    reordered = tuple(values[::-1] for values in FIRST)
    assert mixture_divergence(one_dimensional(FIRST, 3), one_dimensional(reordered, 3)).item() == pytest.approx(
        0, abs=1e-12
    )
    split = ([0.2, 0.25, 0.25, 0.3], [-1.5, 0.4, 0.4, 2.0], [0.3, 1.0, 1.0, 0.5])
    assert mixture_divergence(one_dimensional(FIRST, 3), one_dimensional(split, 3)).item() == pytest.approx(
        0, abs=1e-12
    )
    assert mixture_divergence(one_dimensional(FIRST), one_dimensional(SECOND)).item() > 0.05


def test_pairwise_divergence_of_equal_mixtures_is_not_zero_unless_they_are_one_gaussian():
    equal = one_dimensional(FIRST, 2)
    assert pairwise_divergence(equal, one_dimensional(FIRST, 2, shared=True)).item() > 1
    single = ([0.5, 0.5], [0.7, 0.7], [0.9, 0.9])
    assert pairwise_divergence(
        one_dimensional(single, 2), one_dimensional(single, 2, shared=True)
    ).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_gradient_is_that_of_the_integral(which):
    values = [torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in FIRST]
    mixture_divergence(one_dimensional(values), one_dimensional(SECOND, shared=True)).backward()
    step = 1e-4
    for index in range(3):
        moved = [[list(part) for part in FIRST] for _ in range(2)]
        moved[0][which][index] += step
        moved[1][which][index] -= step
        expected = (integral(moved[0], SECOND) - integral(moved[1], SECOND)) / (2 * step)
        assert values[which].grad[index].item() == pytest.approx(expected, rel=0.08, abs=0.02)


def test_averaged_draws_have_the_mean_of_the_mixture_and_the_variance_of_an_average():
    mixture = one_dimensional(FIRST)
    drawn = mixture.averaged_draw()
    weights, _, variances = (np.array(part) for part in FIRST)
    assert drawn.mean().item() == pytest.approx(mixture.mean()[0].item(), abs=0.02)
    assert drawn.var().item() == pytest.approx((weights**2 * variances).sum(), rel=0.05)


def test_draws_by_component_have_the_moments_of_the_mixture():
    mixture = one_dimensional(FIRST)
    drawn = mixture.draws_by_component()[..., 0]
    weights, means, variances = (np.array(part) for part in FIRST)
    second = (mixture.weights * drawn**2).sum(dim=1).mean().item()
    assert second == pytest.approx((weights * (means**2 + variances)).sum(), rel=0.02)


def test_components_count_by_weight_and_by_difference():
    far = torch.arange(4.0)[:, None] * 100 + torch.zeros(4, 6)
    equal = torch.full((1, 4), 0.25)
    variances = torch.ones(4, 6)
    assert effective_components(Mixture(equal, far, variances)).item() == pytest.approx(4)
    assert effective_components(Mixture(equal, 0 * far, variances)).item() == pytest.approx(1)
    pairs = far * torch.tensor([0.0, 0, 1, 1])[:, None] / far.clamp_min(1)
    assert effective_components(Mixture(equal, pairs * 100, variances)).item() == pytest.approx(2)
    single = torch.tensor([[1.0, 0, 0, 0]])
    assert effective_components(Mixture(single, far, variances)).item() == pytest.approx(1)
    per_crystal = Mixture(equal.expand(2, -1), torch.stack([far, 0 * far]), variances.expand(2, -1, -1))
    assert effective_components(per_crystal).tolist() == pytest.approx([4, 1])
    # Gaussians at one place that differ in width differ too.
    widths = torch.tensor([1e-3, 1e-1, 1e1, 1e3])[:, None].expand(4, 6)
    assert effective_components(Mixture(equal, 0 * far, widths)).item() > 3.5
