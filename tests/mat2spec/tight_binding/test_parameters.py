import numpy as np
import pytest

from mat2spec.tight_binding.channels import DIRECTED_CHANNELS, SYMMETRIC_CHANNELS
from mat2spec.tight_binding.parameters import (
    CUT_WIDTH_A,
    PARAMETERS_FILE,
    ParametersError,
    cutoff_function,
    load_tables,
    save_tables,
)


@pytest.fixture(scope="module")
def tables():
    return load_tables()


def test_shipped_tables_are_small_and_cover_91_elements(tables):
    assert PARAMETERS_FILE.stat().st_size < 5e6
    assert len(tables.atomic_numbers) == 91
    assert np.isfinite(tables.hamiltonian_ev).all()


def test_packing_loses_nothing(tables, tmp_path):
    save_tables(tmp_path / "again.npz", tables)
    again = load_tables(tmp_path / "again.npz")
    for name in ("overlap", "hamiltonian_ev", "cutoffs_a", "on_site_ev", "hubbard_u_ev"):
        assert np.array_equal(getattr(again, name), getattr(tables, name), equal_nan=True)


def test_channels_of_equal_angular_momentum_are_the_same_from_either_end(tables):
    swapped = tables.overlap.swapaxes(1, 2)
    assert np.array_equal(swapped[..., SYMMETRIC_CHANNELS], tables.overlap[..., SYMMETRIC_CHANNELS])
    assert not np.allclose(swapped[..., DIRECTED_CHANNELS], tables.overlap[..., DIRECTED_CHANNELS], atol=1e-2)


def test_integrals_run_through_the_table_and_end_smoothly(tables):
    silicon = tables.element_indices(np.array([14]))
    tabulated = tables.distances_a[6:8]
    pair = np.repeat(silicon, 2)
    overlap, hamiltonian = tables.integrals(pair, pair, tabulated)
    assert overlap == pytest.approx(tables.overlap[6:8, silicon[0], silicon[0]], abs=1e-6)
    assert hamiltonian == pytest.approx(tables.hamiltonian_ev[6:8, silicon[0], silicon[0]], abs=1e-5)
    cutoff = tables.cutoffs_a[silicon[0], silicon[0]]
    ends = tables.integrals(pair, pair, np.array([cutoff - 1e-3, cutoff + 1.0]))[1]
    assert np.abs(ends).max() < 1e-6


def test_cutoff_function_falls_from_one_to_zero():
    distances = np.array([1.0, 5.0 - CUT_WIDTH_A, 5.0 - CUT_WIDTH_A / 2, 5.0, 6.0])
    assert cutoff_function(distances, np.full(5, 5.0)) == pytest.approx([1, 1, 0.5, 0, 0])


@pytest.mark.parametrize("atomic_number", [87, 95])
def test_an_element_without_parameters_is_named(tables, atomic_number):
    with pytest.raises(ParametersError, match=f"atomic number {atomic_number}"):
        tables.element_indices(np.array([8, atomic_number]))


def test_missing_tables_are_named(tmp_path):
    with pytest.raises(ParametersError, match="no tight-binding parameters"):
        load_tables(tmp_path / "nothing.npz")
