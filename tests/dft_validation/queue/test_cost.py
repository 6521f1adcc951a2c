"""The cost model recovers the costs that it is fitted to."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation import CostModel, DftSettings
from dft_validation.engines.gpaw import GpawEngine
from dft_validation.queue.cost import JobSize, fitted_cost_model, measure_job
from dft_validation.results.cache import DocumentCache
from dft_validation.results.document import EdosDocument
from mat2spec.crystals.cell import cell_of


def finished(model, rng, n_jobs, noise):
    documents = []
    for index in range(n_jobs):
        size = JobSize(int(rng.integers(4, 60)), int(rng.integers(8, 60)), float(rng.uniform(15, 150)))
        documents.append(
            EdosDocument(
                material_id=str(index), formula="X", n_sites=1, edos=np.zeros(128), efermi=0.0, energy_zero_ev=0.0,
                band_gap=0.0, is_metal=True, covered_to_ev=5.0, n_electrons=1.0, engine="gpaw", engine_version="1",
                functional="PBE", spin="unpolarised", u_values={}, kpoints=(1, 1, 1),
                n_irreducible_kpoints=size.n_irreducible_kpoints, n_bands=size.n_bands,
                cpu_seconds=model.estimate(size) * float(np.exp(rng.normal(scale=noise))),
                wall_seconds=1.0, peak_memory_mib=1.0, settings_hash="", computed_n_sites=1,
                computed_volume_a3=size.volume_a3,
            )
        )  # fmt: skip
    return documents


def test_many_jobs_refit_the_exponents(rng):
    truth = CostModel(3.0, 1e-3, 1.0, 1.3, 0.9)
    fitted = CostModel().refit(finished(truth, rng, 200, noise=0.05))
    assert fitted.band_exponent == pytest.approx(1.3, abs=0.05)
    assert fitted.volume_exponent == pytest.approx(0.9, abs=0.05)


def test_few_jobs_only_rescale(rng):
    slower = CostModel(scale=CostModel().scale * 2.5)
    fitted = CostModel().refit(finished(slower, rng, 5, noise=0.0))
    assert fitted.scale == pytest.approx(slower.scale)
    assert fitted.band_exponent == CostModel().band_exponent
    assert CostModel().refit([]) == CostModel()


def test_denser_meshes_and_higher_cutoffs_cost_more():
    cell = cell_of(
        Structure(
            Lattice.cubic(3.85),
            ["Sr", "V", "O", "O", "O"],
            [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        )
    )
    estimate = {
        name: CostModel().estimate(measure_job(cell, GpawEngine(), DftSettings(**change)))
        for name, change in {
            "default": {},
            "dense": {"kpoint_density": 1000},
            "cutoff": {"plane_wave_cutoff_ev": 600},
        }.items()
    }
    assert 2 < estimate["default"] < 60
    assert estimate["dense"] > 1.3 * estimate["default"]
    assert estimate["cutoff"] > 1.2 * estimate["default"]


def test_the_estimate_is_fitted_to_finished_jobs_of_the_same_engine_and_spin(tmp_path, rng):
    settings = DftSettings(cache_dir=tmp_path, cost_factor=2.0)
    size = JobSize(20, 20, 60.0)
    assert fitted_cost_model(settings).estimate(size) == pytest.approx(2 * CostModel().estimate(size))
    cache = DocumentCache(tmp_path)
    slower = CostModel(scale=CostModel().scale * 3)
    for document in finished(slower, rng, 4, noise=0.0):
        cache.store(f"few{document.material_id}", document)
    # Four jobs may have met a busy machine.
    assert fitted_cost_model(settings).estimate(size) == pytest.approx(2 * CostModel().estimate(size))
    for document in finished(slower, rng, 20, noise=0.0):
        cache.store(f"more{document.material_id}", document)
    assert fitted_cost_model(settings).estimate(size) == pytest.approx(slower.estimate(size), rel=1e-6)
    assert fitted_cost_model(DftSettings(cache_dir=tmp_path, engine="elk")) == CostModel()
