"""Elk: its input and output files, and Elk itself against GPAW where both are installed."""

import importlib.util
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation import DftSettings, EdosDocument, calculate_edos, engines
from dft_validation.engines import choose_engine
from dft_validation.engines.elk import ElkEngine, elk_input, find_species_folder, read_eigenvalues
from dft_validation.engines.magnetism import SpinAndU
from dft_validation.results.outcomes import JobStatus
from mat2spec.crystals.cell import cell_of
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.metrics import wasserstein_distances

ROOT = Path(__file__).resolve().parents[3]
has_elk = shutil.which("elk-lapw") is not None
dft = [pytest.mark.dft, pytest.mark.skipif(not has_elk, reason="Elk is not installed (Debian: apt install elk-lapw)")]
needs_gpaw = pytest.mark.skipif(importlib.util.find_spec("gpaw") is None, reason="GPAW is not installed")


def silicon():
    return Structure(
        Lattice([[0, 2.7155, 2.7155], [2.7155, 0, 2.7155], [2.7155, 2.7155, 0]]), ["Si", "Si"], [[0] * 3, [0.25] * 3]
    )


def nickel_oxide():
    return Structure(Lattice.cubic(4.17), ["O", "Ni"], [[0.5, 0.5, 0.5], [0, 0, 0]])


SILICON_FILE = (
    "'Si'\n 'silicon'\n -14.0\n 1 0 1 2.0 T\n 2 0 1 2.0 T\n 3 0 1 2.00000 F\n 3 1 1 1.00000 F\n 3 1 2 1.00000 F\n"
)
EIGENVALUES = (
    "     2 : nkpt\n     2 : nstsv\n\n     1   0.0  0.0  0.0     : k-point, vkl\n (state, eigenvalue and occupancy below)\n"
    "     1 -0.2357890808       2.000000000\n     2  0.5941441193E-01   0.5\n\n\n"
    "     2   0.5  0.0  0.0     : k-point, vkl\n (state, eigenvalue and occupancy below)\n"
    "     1 -0.1357890808       2.000000000\n     2  0.6941441193E-01   0.000000000\n\n\n"
)


class TestInput:
    def blocks(self, structure, magnetism=None, **changes):
        settings = DftSettings(engine="elk", **changes)
        text = elk_input(cell_of(structure), (4, 4, 4), 10, settings, magnetism or SpinAndU(), Path("/species"))
        return {
            block.splitlines()[0]: [line.strip() for line in block.splitlines()[1:]]
            for block in text.split("\n\n")[:-1]
        }

    def test_lengths_are_in_bohr_and_energies_in_hartree(self):
        blocks = self.blocks(silicon())
        assert [float(value) for value in blocks["avec"][0].split()] == pytest.approx([0, 5.13155, 5.13155], abs=1e-4)
        assert float(blocks["swidth"][0]) == pytest.approx(0.05 / 27.2114, rel=1e-5)
        assert float(blocks["nempty"][0]) == 5.0
        assert blocks["ngridk"] == ["4 4 4"]
        assert "spinpol" not in blocks
        assert "dft+u" not in blocks

    def test_moments_and_u_go_to_their_species(self):
        blocks = self.blocks(nickel_oxide(), SpinAndU([0.6, 5.0], {"Ni": 6.2}))
        assert blocks["spinpol"] == [".true."]
        assert [line.strip("'") for line in blocks["atoms"][1::3]] == ["O.in", "Ni.in"]
        assert float(blocks["atoms"][6].split()[-1]) == pytest.approx(-0.25)
        assert blocks["dft+u"][1].split()[:2] == ["2", "2"]
        assert float(blocks["dft+u"][1].split()[2]) == pytest.approx(6.2 / 27.2114, rel=1e-5)


class TestEigenvalues:
    def test_energies_occupations_and_points(self, tmp_path):
        (tmp_path / "EIGVAL.OUT").write_text(EIGENVALUES)
        energies, occupations, kpoints = read_eigenvalues(tmp_path / "EIGVAL.OUT")
        np.testing.assert_allclose(energies, [[-0.2357890808, 0.05941441193], [-0.1357890808, 0.06941441193]])
        np.testing.assert_allclose(occupations, [[2, 0.5], [2, 0]])
        np.testing.assert_allclose(kpoints, [[0, 0, 0], [0.5, 0, 0]])

    @pytest.mark.parametrize("length", [0, 10, 60, 200, 300])
    def test_files_that_end_early_are_refused(self, tmp_path, length):
        (tmp_path / "EIGVAL.OUT").write_text(EIGENVALUES[:length])
        with pytest.raises((ValueError, IndexError)):
            read_eigenvalues(tmp_path / "EIGVAL.OUT")


@pytest.fixture
def fake_elk(tmp_path, monkeypatch):
    """Install a script as `elk-lapw` with a species folder; returns a function that sets what it does."""
    species = tmp_path / "share" / "elk-lapw" / "species"
    species.mkdir(parents=True)
    (species / "H.in").write_text("1 0 1 1.0 F\n")
    (species / "Si.in").write_text(SILICON_FILE)
    program = tmp_path / "bin" / "elk-lapw"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr(engines, "_REGISTERED", {})

    def use(body):
        program.write_text(f"#!{sys.executable}\nimport os, time\nfrom pathlib import Path\n{body}\n")
        program.chmod(program.stat().st_mode | stat.S_IEXEC)

    use("print('Elk code version 9.9.9 started')")
    return use


GOOD_INFO = "'| Elk version 9.9.9 started |\\nTotal valence charge : 8.0\\nConvergence targets achieved\\n'"


class TestBadRuns:
    def compute(self, tmp_path, **changes):
        settings = {"engine": "elk", "cache_dir": tmp_path, "kpoint_density": 16, "time_limit_s": 30, **changes}
        return calculate_edos(silicon(), "si", DftSettings(**settings))

    def test_without_the_program_it_says_how_to_install_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        outcome = self.compute(tmp_path)
        assert outcome.status is JobStatus.ENGINE_UNAVAILABLE
        assert "apt install elk-lapw" in outcome.reason
        assert ElkEngine().version() == "none"

    @pytest.mark.parametrize(
        ("body", "status", "reason"),
        [
            ("Path('INFO.OUT').write_text('Reached self-consistent loops maximum')", "unconverged", "in 100 steps"),
            ("print('Error(readspecies): error opening species file Xx.in')", "unsupported_element", "Xx.in"),
            ("print('Error(findprim): something odd')", "crashed", "something odd"),
            ("os.kill(os.getpid(), 9)", "killed", "SIGKILL"),
            ("print('Error allocating 99 bytes\\nCannot allocate memory'); os._exit(1)", "memory_limit", "4096 MiB"),
            (f"Path('INFO.OUT').write_text({GOOD_INFO})", "corrupt_output", "EIGVAL.OUT"),
            ("pass", "corrupt_output", "without reporting convergence"),
            ("while True: pass", "time_limit", "2 s of CPU time"),
        ],
    )
    def test_every_bad_end_is_a_state_with_its_reason(self, tmp_path, fake_elk, body, status, reason):
        fake_elk(body)
        outcome = self.compute(tmp_path, time_limit_s=2 if status == "time_limit" else 30)
        assert (str(outcome.status), outcome.engine) == (status, "elk")
        assert reason in outcome.reason

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
    def test_the_program_runs_under_the_memory_limit(self, tmp_path, fake_elk):
        fake_elk("import resource; print('Error(limit):', resource.getrlimit(resource.RLIMIT_AS)[0] // 2**20)")
        assert "stopped: 512." in self.compute(tmp_path, memory_limit_mib=512).reason

    def test_a_good_run_is_a_document(self, tmp_path, fake_elk):
        fake_elk(
            f"Path('INFO.OUT').write_text({GOOD_INFO}); Path('EFERMI.OUT').write_text(' 0.2\\n')\n"
            "states = ''.join(f'{i + 1} {-0.2 + 0.1 * i} {2.0 * (i < 4)}\\n' for i in range(20))\n"
            "Path('EIGVAL.OUT').write_text(f'8 : nkpt\\n20 : nstsv\\n' + ''.join("
            "f'{k + 1} {k // 4 * 0.5} {k // 2 % 2 * 0.5} {k % 2 * 0.5} : k-point\\n{states}' for k in range(8)))\n"
            "Path('KPOINTS.OUT').write_text('8 : nkpt\\n' + ''.join(f'{k + 1} 0 0 0 0.125 99\\n' for k in range(8)))"
        )
        document = self.compute(tmp_path)
        assert isinstance(document, EdosDocument)
        assert (document.engine, document.engine_version, document.n_electrons) == ("elk", "9.9.9", 8.0)
        assert document.band_gap == pytest.approx(0.1 * 27.2114, rel=1e-4)
        assert document.peak_memory_mib > 0


class TestFallback:
    def test_the_fallback_takes_what_the_first_engine_lacks(self, fake_elk):
        settings = DftSettings(fallback_engine="elk")
        assert choose_engine(settings, [14, 8]).name == "gpaw"
        assert choose_engine(settings, [43]).name == "gpaw"  # the fake has no technetium either
        (find_species_folder("elk-lapw") / "Tc.in").write_text(SILICON_FILE)
        assert choose_engine(settings, [43]).name == "elk"
        assert choose_engine(DftSettings(), [43]).name == "gpaw"

    def test_a_fallback_that_is_not_installed_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        technetium = Structure(Lattice.cubic(3.0), ["Tc"], [[0, 0, 0]])
        outcome = calculate_edos(technetium, "tc", DftSettings(fallback_engine="elk", cache_dir=tmp_path))
        assert outcome.status is JobStatus.ENGINE_UNAVAILABLE
        assert "Elk is not installed" in outcome.reason

    def test_species_files_tell_version_and_valence_electrons(self, fake_elk):
        assert ElkEngine().count_electrons([14, 14]) == 8
        assert ElkEngine().find_unsupported([14, 43]) == ["Tc"]


def test_the_launcher_hands_on_the_exit_status_and_notes_the_cost(tmp_path):
    command = [sys.executable, "-m", "dft_validation.engines.limited", "2048", "60", str(tmp_path / "cost.json")]
    code = "import sys; sum(range(10**6)); sys.exit(5)"
    assert subprocess.run([*command, sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 5
    assert json.loads((tmp_path / "cost.json").read_text())["cpu_seconds"] > 0
    assert subprocess.run([*command, "no-such-program"], cwd=ROOT, check=False, capture_output=True).returncode == 127
    killed = subprocess.run(
        [*command, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], cwd=ROOT, check=False
    )
    assert killed.returncode == -9


class TestTruth:
    pytestmark = dft

    def compute(self, structure, tmp_path, **changes):
        return calculate_edos(structure, "x", DftSettings(cache_dir=tmp_path, **changes))

    @needs_gpaw
    def test_silicon_is_the_same_in_elk_and_gpaw(self, tmp_path):
        elk, gpaw = (self.compute(silicon(), tmp_path, engine=name, kpoint_density=250) for name in ("elk", "gpaw"))
        assert elk.kpoints == gpaw.kpoints == (5, 5, 5)
        assert elk.n_electrons == gpaw.n_electrons == 8
        assert elk.band_gap == pytest.approx(gpaw.band_gap, abs=0.03)
        # Occupied bands agree to 0.01 eV; empty ones above 2.5 eV are 0.02-0.08 eV higher in Elk, whatever the basis.
        difference, occupied = np.abs(elk.edos - gpaw.edos), EDOS_GRID.centers < 0
        assert difference[occupied].sum() < 0.02 * gpaw.edos[occupied].sum()
        assert difference.sum() < 0.05 * gpaw.edos.sum()
        assert wasserstein_distances(gpaw.edos[None], elk.edos[None], EDOS_GRID)[0] < 0.1

    def test_technetium_falls_back_to_elk(self, tmp_path):
        structure = Structure(
            Lattice.hexagonal(2.738, 4.393), ["Tc", "Tc"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
        )
        document = self.compute(structure, tmp_path, fallback_engine="elk", kpoint_density=50)
        assert (document.engine, document.is_metal) == ("elk", True)
        assert "Computed with elk, as gpaw lacks an element." in document.notes

    @pytest.mark.slow
    def test_iron_has_its_moment(self, tmp_path):
        iron = Structure(2.86 / 2 * (1 - 2 * np.eye(3)), ["Fe"], [[0, 0, 0]])
        document = self.compute(iron, tmp_path, engine="elk", spin="polarised", kpoint_density=216)
        assert document.magnetization == pytest.approx(2.2, abs=0.15)
        assert document.edos_by_spin.shape == (2, 128)
