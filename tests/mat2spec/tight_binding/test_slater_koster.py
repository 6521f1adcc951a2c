import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mat2spec.tight_binding.channels import N_CHANNELS
from mat2spec.tight_binding.slater_koster import slater_koster_blocks

RNG = np.random.default_rng(7)


def orbitals(points):
    """Real harmonics of the nine orbitals at points on the unit sphere, up to a factor per shell, shape (n, 9)."""
    x, y, z = points.T
    root = np.sqrt(3)
    s = np.ones_like(x)
    d = [root * x * y, root * y * z, (3 * z**2 - 1) / 2, root * x * z, root * (x**2 - y**2) / 2]
    return np.stack([s, x, y, z, *d], axis=1)


def rotation_of_orbitals(rotation):
    """Matrix D with orbitals(R p) = orbitals(p) D, found from the orbitals themselves."""
    points = RNG.normal(size=(60, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return np.linalg.lstsq(orbitals(points), orbitals(points @ rotation.T), rcond=None)[0]


def test_blocks_along_z_are_the_channels():
    channels = np.arange(1.0, N_CHANNELS + 1)[None]
    ss, sp, sd, pp_sigma, pp_pi, pd_sigma, pd_pi, dd_sigma, dd_pi, dd_delta = channels[0]
    block = slater_koster_blocks(channels, channels, np.array([[0.0, 0.0, 1.0]]))[0]
    expected = np.zeros((9, 9))
    expected[0, 0], expected[0, 3], expected[3, 0] = ss, sp, -sp
    expected[0, 6], expected[6, 0] = sd, sd
    expected[[1, 2], [1, 2]], expected[3, 3] = pp_pi, pp_sigma
    expected[1, 7] = expected[2, 5] = pd_pi
    expected[7, 1] = expected[5, 2] = -pd_pi
    expected[3, 6], expected[6, 3] = pd_sigma, -pd_sigma
    expected[6, 6] = dd_sigma
    expected[[5, 7], [5, 7]] = dd_pi
    expected[[4, 8], [4, 8]] = dd_delta
    assert block == pytest.approx(expected)


def test_blocks_turn_with_the_pair():
    forward, backward = RNG.normal(size=(2, 1, N_CHANNELS))
    direction = RNG.normal(size=(1, 3))
    direction /= np.linalg.norm(direction)
    rotation = Rotation.random(random_state=3).as_matrix()
    turned = slater_koster_blocks(forward, backward, direction @ rotation.T)[0]
    turning = rotation_of_orbitals(rotation.T)
    # An orbital of the turned crystal along a turned axis is a combination of orbitals along the old ones.
    assert turning.T @ turned @ turning == pytest.approx(slater_koster_blocks(forward, backward, direction)[0])


def test_a_pair_read_from_the_other_end_is_the_transpose():
    forward, backward = RNG.normal(size=(2, 5, N_CHANNELS))
    symmetric = [0, 3, 4, 7, 8, 9]
    backward[:, symmetric] = forward[:, symmetric]
    directions = RNG.normal(size=(5, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    there = slater_koster_blocks(forward, backward, directions)
    back = slater_koster_blocks(backward, forward, -directions)
    assert back == pytest.approx(there.transpose(0, 2, 1))
