"""The local density approximation, spin-unpolarised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SLATER = 0.6108870577  # (9 pi / 4)^(1/3) / pi, Hartree Bohr


def lda_potential(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exchange-correlation potential in Hartree of a density in electrons per cubic Bohr.

    Correlation after Perdew and Wang, Phys. Rev. B 45, 13244 (1992), equation 10 with the first row of table I.
    """
    radius = (3 / (4 * np.pi * np.maximum(density, 1e-30))) ** (1 / 3)
    root = np.sqrt(radius)
    a, alpha = 0.0310907, 0.21370
    beta = (7.5957, 3.5876, 1.6382, 0.49294)
    series = 2 * a * (beta[0] * root + beta[1] * radius + beta[2] * radius * root + beta[3] * radius**2)
    slope = 2 * a * (0.5 * beta[0] / root + beta[1] + 1.5 * beta[2] * root + 2 * beta[3] * radius)
    logarithm = np.log1p(1 / series)
    energy = -2 * a * (1 + alpha * radius) * logarithm
    derivative = -2 * a * alpha * logarithm + 2 * a * (1 + alpha * radius) * slope / (series**2 + series)
    return energy - radius / 3 * derivative - _SLATER / radius
