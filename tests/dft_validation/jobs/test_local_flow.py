"""VASP's flow on this machine: atomate2 and custodian are real, the program replays real outputs."""

import errno
import json
from pathlib import Path

import pandas as pd
import pytest
from pymatgen.io.vasp import Poscar, Vasprun

from dft_validation import DftSettings, EdosDocument, plan_jobs, run_jobs
from dft_validation.jobs.local_flow import _classify, run_flow
from dft_validation.jobs.vasp_flow import RELAXED
from dft_validation.results.outcomes import FailedJob, JobStatus
from mat2spec.crystals.arrays import Crystals
from tests.dft_validation import replay_vasp

LIKE_MP = {"engine": "vasp", "spin": "polarised", "hubbard_u": "mp", "band_interpolation": 1}
# Of the crystal at which the relaxations that are replayed end.
RELAXED_A3 = 40.88829
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def silicon():
    path = replay_vasp.OUTPUTS / "si_uniform" / "vasprun.xml.gz"
    return Vasprun(path, parse_potcar_file=False, parse_dos=False, parse_eigen=False).final_structure


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """VASP that replays; the folder with a file per run."""
    environment = replay_vasp.install(tmp_path / "vasp")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("atomate2.SETTINGS.VASP_CMD", environment["ATOMATE2_VASP_CMD"])
    monkeypatch.setitem(settings_of_pymatgen(), "PMG_VASP_PSP_DIR", environment["PMG_VASP_PSP_DIR"])
    return Path(environment["REPLAY_VASP_RUNS"])


def settings_of_pymatgen():
    from pymatgen.core import SETTINGS

    return SETTINGS


def test_where_vasp_works_the_queue_runs_its_flow_and_remembers_the_document(runs, silicon, tmp_path):
    settings = DftSettings(**LIKE_MP, cache_dir=tmp_path / "cache", workers=1)
    crystals = Crystals.from_structures([silicon], ["mp-149"])
    jobs = plan_jobs(pd.DataFrame({"material_id": ["mp-149"]}), crystals, settings)
    assert jobs.status[0] == "queued"
    (document,) = run_jobs(jobs, crystals, settings)
    assert isinstance(document, EdosDocument), json.dumps(document.as_dict())
    assert (document.material_id, document.engine, document.kpoints) == ("mp-149", "vasp", (18, 18, 18))
    assert document.band_gap == pytest.approx(0.623, abs=0.01)
    assert sorted(path.name.split("-")[0] for path in runs.iterdir()) == ["si_static", "si_uniform"]
    assert run_jobs(jobs, crystals, settings)[0].efermi == document.efermi
    assert len(list(runs.iterdir())) == 2


def test_static_and_uniform_run_start_from_the_relaxed_crystal(runs, silicon):
    given = silicon.copy().apply_strain(0.02, inplace=False)
    document = run_flow(given, "mp-149", DftSettings(**LIKE_MP, vasp_relax=True))
    assert isinstance(document, EdosDocument), json.dumps(document.as_dict())
    in_order = sorted(runs.iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    assert [path.name.split("-")[0] for path in in_order] == ["si_relax", "si_relax", "si_static", "si_uniform"]
    volumes = [Poscar.from_file(path, check_for_potcar=False).structure.volume for path in in_order]
    assert volumes == pytest.approx([given.volume, RELAXED_A3, RELAXED_A3, RELAXED_A3], rel=1e-5)
    assert given.volume > 1.02 * RELAXED_A3
    assert RELAXED in document.notes
    assert (document.material_id, document.n_sites, document.is_metal) == ("mp-149", 2, False)


def test_a_run_killed_by_the_machine_is_not_blamed_on_the_crystal(runs, silicon):
    (runs / "killed").touch()
    outcome = run_flow(silicon, "mp-149", DftSettings(**LIKE_MP))
    assert isinstance(outcome, FailedJob)
    assert (outcome.status, "killed by SIGKILL" in outcome.reason) == (JobStatus.KILLED, True)


@pytest.mark.parametrize(
    ("exit_status", "kind"),
    [
        (152, JobStatus.TIME_LIMIT),
        (137, JobStatus.KILLED),
        (143, JobStatus.KILLED),
        (1, JobStatus.CRASHED),
        (0, JobStatus.CRASHED),
    ],
)
def test_the_causes_of_a_program_s_end_are_distinguished(exit_status, kind):
    assert _classify(RuntimeError("no vasprun.xml"), exit_status, DftSettings(engine="vasp"))[0] is kind


def test_a_full_disk_is_not_blamed_on_the_crystal():
    error = OSError(errno.ENOSPC, "No space left on device")
    assert _classify(error, 0, DftSettings(engine="vasp"))[0] is JobStatus.DISK_FULL
