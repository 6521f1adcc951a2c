import numpy as np

from scripts.distillation.teacher import Taught, read_taught, write_taught


def test_what_was_taught_is_read_back_in_the_order_of_the_population(tmp_path):
    spectra = np.random.default_rng(0).random((2, 128)).astype(np.float16)
    write_taught(tmp_path / "taught.npz", [Taught(7, spectra[0], 0.5, 0.25), Taught(3, spectra[1], 0.0, 1.0)])
    first, second = read_taught(tmp_path / "taught.npz")
    assert (first.index, first.band_gap_ev, first.metal_share) == (3, 0.0, 1.0)
    assert (second.index, second.band_gap_ev, second.metal_share) == (7, 0.5, 0.25)
    assert np.array_equal(np.stack([second.spectrum, first.spectrum]), spectra)
