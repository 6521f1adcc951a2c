import pytest

from dft_validation.engines import gpaw_worker

pytest.importorskip("gpaw")


def steps(*energies):
    """Electrons below an energy beyond two, of levels that hold one each: as of bands without any width."""
    return lambda at: (sum(energy < at for energy in energies) - 2.0, 0.0)


def test_the_search_ends_where_too_few_electrons_become_too_many():
    search = gpaw_worker._FermiEnergySearch()
    found, _ = search(steps(-1.0, 0.5, 0.5, 2.0), 0.1)
    assert found == pytest.approx(0.5, abs=1e-9)
    assert search.excess == 1
    with pytest.raises(ValueError, match="No Fermi energy gives the number of electrons"):
        search.check()


def test_only_the_last_search_counts():
    search = gpaw_worker._FermiEnergySearch()
    search(steps(-1.0, 0.5, 0.5, 2.0), 0.1)
    found, _ = search(lambda at: (at - 3.0, 1.0), 0.1)
    search.check()
    assert found == pytest.approx(3.0)
