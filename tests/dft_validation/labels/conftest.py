"""A source of small crystals, a fake engine and a factory that labels them into a temporary store."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation.labels.factory import LabelFactory
from dft_validation.labels.reserved import Reserved
from dft_validation.settings import LabelSettings
from screening.sources.parquet import ParquetSource

ELEMENTS = ("Na", "Mg", "Al", "K", "Ca", "Ti")


def crystal_table(structures):
    return pa.table(
        {
            "material_id": list(structures),
            "lattice": [s.lattice.matrix.ravel().tolist() for s in structures.values()],
            "frac_coords": [s.frac_coords.ravel().tolist() for s in structures.values()],
            "atomic_numbers": [list(s.atomic_numbers) for s in structures.values()],
        }
    )


@pytest.fixture
def source(tmp_path):
    """Six elements, a second crystal of sodium, one whose cell is flat, and one of a magnetic element."""
    structures = {e.lower(): Structure(Lattice.cubic(3.0 + 0.1 * i), [e], [[0, 0, 0]]) for i, e in enumerate(ELEMENTS)}
    structures["na-2"] = Structure(Lattice.cubic(4.0), ["Na"], [[0, 0, 0]])
    structures["flat"] = Structure(Lattice.orthorhombic(3, 3, 1e-4), ["Sr"], [[0, 0, 0]])
    structures["fe"] = Structure(Lattice.cubic(2.8), ["Fe"], [[0, 0, 0]])
    pq.write_table(crystal_table(structures), tmp_path / "crystals.parquet")
    return ParquetSource(tmp_path / "crystals.parquet")


@pytest.fixture
def make_factory(source, settings, tmp_path):
    """A factory with some settings changed; `dft` replaces those of the engine."""

    def make(reserved=None, dft=None, uncertainty=None, **changes):
        label = LabelSettings(**{"store": tmp_path / "store.parquet", "n": 2, "choice": "random", **changes})
        return LabelFactory(source, label, dft or settings, reserved or Reserved(), uncertainty)

    return make


def no_progress(*_):
    """Ignore progress."""
