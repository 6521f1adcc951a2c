"""A crystal in a file."""

import pytest
from pymatgen.core import Lattice, Structure


@pytest.fixture(scope="session")
def strontium_vanadate_cif():
    sites = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0]]
    return Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.86), ["Sr", "V", "O"], sites).to(fmt="cif")
