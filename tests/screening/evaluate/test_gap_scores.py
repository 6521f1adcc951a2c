import numpy as np

from mat2spec.spectra.grids import EDOS_GRID
from screening.evaluate.gap_scores import find_gapped_metals


def spectrum(gapped, level=2.0):
    """A metal, with or without a gap from -2.0 to -0.5 eV."""
    inside = (EDOS_GRID.centers > -2.0) & (EDOS_GRID.centers < -0.5)
    return np.where(inside & gapped, 0.0, level)


def test_gapped_metals_are_flagged_and_rank_first():
    spectra = np.stack([spectrum(gapped) for gapped in (True, False, True)])
    found = find_gapped_metals(spectra, np.full(3, 5))
    assert found.flags.tolist() == [True, False, True]
    assert found.confidence.argsort()[0] == 1
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


def test_an_invalid_spectrum_is_not_a_gapped_metal():
    found = find_gapped_metals(np.stack([spectrum(gapped=True), np.full(128, np.nan)]), np.full(2, 5))
    assert found.flags.tolist() == [True, False]
    assert found.confidence[1] == 0
