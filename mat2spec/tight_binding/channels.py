"""Order of orbitals and of two-centre channels, fixed in one place.

Orbitals: s; x, y, z; xy, yz, 3z2-r2, xz, x2-y2. A shell is an angular momentum of an atom.
"""

from __future__ import annotations

import numpy as np

# Angular momentum on the first and on the second atom, and |m| about the axis between them.
CHANNELS = (
    (0, 0, 0),
    (0, 1, 0),
    (0, 2, 0),
    (1, 1, 0),
    (1, 1, 1),
    (1, 2, 0),
    (1, 2, 1),
    (2, 2, 0),
    (2, 2, 1),
    (2, 2, 2),
)
N_CHANNELS = len(CHANNELS)
N_SHELLS = 3
N_ORBITALS = 9
SHELL_NAMES = ("s", "p", "d")
ORBITAL_NAMES = ("s", "px", "py", "pz", "dxy", "dyz", "dz2", "dxz", "dx2_y2")
SHELL_OF_ORBITAL = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
# The same for a pair read from either end, up to the sign (-1)^(l_a + l_b) that is one for these.
SYMMETRIC_CHANNELS = tuple(index for index, (la, lb, _) in enumerate(CHANNELS) if la == lb)
DIRECTED_CHANNELS = tuple(index for index, (la, lb, _) in enumerate(CHANNELS) if la != lb)
