"""GPAW itself on crystals whose answer is known; the short ones run wherever GPAW is installed."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation import DftSettings, calculate_edos
from dft_validation.bands.mesh import FINE_EDOS_GRID
from dft_validation.engines.gpaw import GpawEngine
from dft_validation.engines.gpaw_setups import VALENCE_ELECTRONS
from dft_validation.engines.gpaw_worker import standard_orientation
from dft_validation.engines.processes import ChildGroup, member_of
from mat2spec.spectra.grids import EDOS_GRID
from screening.classify.gaps import classify_spectra
from screening.settings import GapSettings

ROOT = Path(__file__).resolve().parents[3]
WORKER = "dft_validation.engines.gpaw_worker"
has_gpaw = importlib.util.find_spec("gpaw") is not None
dft = [pytest.mark.dft, pytest.mark.skipif(not has_gpaw, reason="GPAW is not installed; `make setup` compiles it")]


def compute(structure, tmp_path, **changes):
    return calculate_edos(structure, "x", DftSettings(cache_dir=tmp_path, **changes))


def silicon():
    return Structure(
        Lattice([[0, 2.7155, 2.7155], [2.7155, 0, 2.7155], [2.7155, 2.7155, 0]]), ["Si", "Si"], [[0] * 3, [0.25] * 3]
    )


def iron():
    return Structure(2.86 / 2 * (1 - 2 * np.eye(3)), ["Fe"], [[0, 0, 0]])


def perovskite(a, large, small):
    positions = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(a), [large, small, "O", "O", "O"], positions)


def classify(document):
    n_sites = np.array([document.n_sites])
    return classify_spectra(document.edos[None], EDOS_GRID, GapSettings(), n_sites=n_sites).iloc[0]


class TestTruth:
    pytestmark = dft

    def test_silicon_has_its_pbe_gap(self, tmp_path):
        document = compute(silicon(), tmp_path, kpoint_density=1024)
        assert document.kpoints == (8, 8, 8)
        assert 0.5 < document.band_gap < 0.65
        # Interpolation overshoots by 0.1-0.2 eV at the edges of the gap; between them the density is exactly zero.
        in_gap = (EDOS_GRID.edges[:-1] > 0.15) & (EDOS_GRID.edges[1:] < 0.38)
        assert in_gap.sum() >= 3
        assert (document.edos[in_gap] == 0.0).all()
        assert document.edos[EDOS_GRID.centers > 0.7].min() > 0
        assert document.n_electrons == 8

    def test_aluminium_is_a_free_electron_metal(self, tmp_path):
        structure = Structure(Lattice([[0, 2.025, 2.025], [2.025, 0, 2.025], [2.025, 2.025, 0]]), ["Al"], [[0, 0, 0]])
        document = compute(structure, tmp_path, kpoint_density=1000)
        assert document.is_metal
        # Three free electrons in 16.6 cubic Angstrom: 1.5 n / E_F = 0.386 states/eV at an E_F of 11.65 eV.
        near_efermi = np.abs(EDOS_GRID.centers) < 0.5
        assert document.edos[near_efermi].mean() == pytest.approx(0.386, rel=0.2)
        occupied = EDOS_GRID.centers < 0
        free = 0.386 * np.sqrt(1 + EDOS_GRID.centers[occupied] / 11.65)
        assert np.abs(document.edos[occupied] - free).mean() < 0.1 * 0.386 * 1.5

    def test_sodium_chloride_has_its_pbe_gap(self, tmp_path):
        structure = Structure(
            Lattice([[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]]), ["Na", "Cl"], [[0] * 3, [0.5] * 3]
        )
        document = compute(structure, tmp_path, kpoint_density=128)
        assert not document.is_metal
        assert 4.9 < document.band_gap < 5.3
        assert (document.edos[(EDOS_GRID.centers > 0.3) & (EDOS_GRID.centers < 4.0)] == 0.0).all()

    def test_iron_has_its_moment_and_both_spins_are_in_the_bins(self, tmp_path):
        document = compute(iron(), tmp_path, spin="polarised", kpoint_density=216)
        assert document.magnetization == pytest.approx(2.2, abs=0.15)
        np.testing.assert_allclose(document.edos_by_spin.sum(axis=0), document.edos)
        below = EDOS_GRID.centers < 0
        up, down = (EDOS_GRID.width * channel[below].sum() for channel in document.edos_by_spin)
        # Less than the moment: the bins start within the majority band.
        assert 1.2 < up - down < 2.3
        assert document.notes == []

    @pytest.mark.slow
    def test_u_of_the_materials_project_opens_the_gap_of_ferromagnetic_nickel_oxide(self, tmp_path):
        structure = Structure(
            Lattice([[0, 2.085, 2.085], [2.085, 0, 2.085], [2.085, 2.085, 0]]), ["Ni", "O"], [[0] * 3, [0.5] * 3]
        )
        alone, with_u = (
            compute(structure, tmp_path, spin="polarised", hubbard_u=u, kpoint_density=60) for u in ("none", "mp")
        )
        assert (alone.u_values, with_u.u_values) == ({}, {"Ni": 6.2})
        assert with_u.magnetization == pytest.approx(2.0, abs=0.05)
        assert with_u.band_gap > alone.band_gap + 0.8

    @pytest.mark.slow
    def test_potassium_tantalate_is_an_insulator(self, tmp_path):
        document = compute(perovskite(4.03, "K", "Ta"), tmp_path)
        assert document.band_gap == pytest.approx(2.06, abs=0.2)
        assert not classify(document)["is_gapped_metal"]

    @pytest.mark.slow
    def test_lanthanum_nickelate_is_a_metal_without_gap(self, tmp_path):
        document = compute(perovskite(3.84, "La", "Ni"), tmp_path)
        assert document.is_metal
        assert not classify(document)["has_vb_gap"]

    @pytest.mark.slow
    def test_strontium_vanadate_is_a_gapped_metal_for_the_screens_classifier(self, tmp_path):
        document = compute(perovskite(3.85, "Sr", "V"), tmp_path)
        row = classify(document)
        assert document.is_metal
        assert row["is_gapped_metal"]
        assert row["gap_top_ev"] == pytest.approx(-0.9, abs=0.15)
        assert row["gap_bottom_ev"] == pytest.approx(-2.0, abs=0.15)


class TestLevelOfTheMaterialsProject:
    pytestmark = dft

    def test_without_a_moment_it_is_the_unpolarised_spectrum(self, tmp_path):
        aluminium = Structure(Lattice([[0, 2.02, 2.02], [2.02, 0, 2.02], [2.02, 2.02, 0]]), ["Al"], [[0, 0, 0]])
        level = {"fermi_energy": "tetrahedra", "occupations": "tetrahedra", "kpoint_density": 200, "even_mesh": True}
        spin = compute(aluminium, tmp_path, **{**level, "level": "mp"})
        plain = compute(aluminium, tmp_path, **level)
        assert (spin.spin, plain.spin) == ("polarised", "unpolarised")
        assert abs(spin.magnetization) < 0.01
        assert np.abs(spin.edos - plain.edos).sum() < 0.01 * plain.edos.sum()

    def test_projections_part_the_bins_and_the_fine_density_holds_the_same_states(self, tmp_path):
        document = compute(silicon(), tmp_path, level="mp", kpoint_density=64)
        assert set(document.projections) == {"Si-s", "Si-p"}
        assert 0.7 < document.projected_share < 1.5
        below = FINE_EDOS_GRID.centers < -7.0
        assert document.projections["Si-s"][:40].sum() > 0
        assert document.fine_edos.shape == (1, 700)
        inside = (FINE_EDOS_GRID.centers > EDOS_GRID.edges[0]) & (FINE_EDOS_GRID.centers < EDOS_GRID.edges[-1])
        states = document.fine_edos[0, inside].sum() * FINE_EDOS_GRID.width
        assert states == pytest.approx(EDOS_GRID.integrate(document.edos), rel=0.02)
        assert document.fine_edos[0, below].sum() > 0
        assert document.cbm - document.vbm == pytest.approx(document.band_gap)

    def test_one_server_computes_crystal_after_crystal_and_a_limit_costs_one(self, tmp_path):
        group = ChildGroup()
        with member_of(group):
            first = compute(silicon(), tmp_path, kpoint_density=16)
            (server,) = group._children
            stopped = compute(silicon(), tmp_path, kpoint_density=900, time_limit_s=1)
            second = compute(silicon(), tmp_path, kpoint_density=16)
            assert group._children == {server}
        group.close()
        assert server.poll() is not None
        assert stopped.status == "time_limit"
        np.testing.assert_array_equal(first.edos, second.edos)


class TestLimits:
    pytestmark = dft

    @pytest.mark.parametrize("limit_mib", [256, 400])
    def test_too_little_memory_is_a_row(self, tmp_path, limit_mib):
        started = time.perf_counter()
        outcome = compute(silicon(), tmp_path, memory_limit_mib=limit_mib, plane_wave_cutoff_ev=3000, kpoint_density=16)
        assert outcome.status == "memory_limit"
        assert f"memory limit of {limit_mib} MiB" in outcome.reason
        assert time.perf_counter() - started < 60

    def test_too_few_steps_are_unconverged(self, tmp_path):
        outcome = compute(silicon(), tmp_path, kpoint_density=20, max_scf_iterations=5)
        assert outcome.status == "unconverged"
        assert "in 5 steps" in outcome.reason

    def test_an_element_without_data_set_is_a_row_even_when_the_plan_is_skipped(self, tmp_path):
        outcome = compute(Structure(Lattice.cubic(3.0), ["Tc"], [[0, 0, 0]]), tmp_path, kpoint_density=8)
        assert outcome.status == "unsupported_element"
        assert "Tc" in outcome.reason

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
    def test_the_worker_ends_with_a_killed_parent(self, tmp_path):
        code = (
            "import sys; from pymatgen.core import Lattice, Structure; from dft_validation import *;"
            "s = Structure(Lattice.cubic(6), ['Pt'] * 4, [[0, 0, 0], [.5, .5, .02], [.5, 0, .5], [0, .5, .5]]);"
            f"calculate_edos(s, 'x', DftSettings(cache_dir={str(tmp_path)!r}))"
        )
        parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        children = wait_for_worker(parent.pid)
        assert children
        time.sleep(1.0)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert not psutil.wait_procs(children, timeout=10)[1]


def wait_for_worker(pid):
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        children = [c for c in psutil.Process(pid).children(recursive=True) if WORKER in " ".join(c.cmdline())]
        if children:
            return children
        time.sleep(0.1)
    return []


def test_the_elements_gpaw_lacks_are_refused_before_a_job_starts():
    lacking = [43, 84, 85, 87, 88, 89, 90, 91, 92, 93, 94]
    assert len(GpawEngine().find_unsupported(lacking)) == len(lacking)
    assert GpawEngine().find_unsupported([1, 8, 26, 57, 83]) == []
    assert len(VALENCE_ELECTRONS) == 83
    assert GpawEngine().count_electrons([38, 23, 8, 8, 8]) == 41


def test_gpaw_is_imported_by_the_worker_alone():
    code = "import sys; import dft_validation.engines.gpaw, dft_validation.queue.plan; sys.exit('gpaw' in sys.modules or 'jobflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    importing = [
        path.name
        for path in (ROOT / "dft_validation").rglob("*.py")
        if any(line.strip().startswith(("import gpaw", "from gpaw")) for line in path.read_text().splitlines())
    ]
    assert importing == ["gpaw_worker.py"]


@pytest.mark.skipif(not has_gpaw, reason="ASE comes with GPAW")
@pytest.mark.parametrize("lattice", [np.diag([-4.9, -4.9, 4.9]), np.diag([3.0, -4.0, -5.0]), 2.0 * (1 - np.eye(3))])
def test_cells_are_turned_to_where_gpaw_can_draw_them(lattice):
    turned = np.array(standard_orientation(lattice.tolist())[:])
    np.testing.assert_allclose(turned @ turned.T, lattice @ lattice.T, atol=1e-12)
    assert (np.diag(turned) > 0).all()
    np.testing.assert_allclose(np.triu(turned, 1), 0, atol=1e-12)
