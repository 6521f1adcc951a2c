"""`mat2spec dft`: a screen without DFT is completed later, helped, retried and reported; nothing is predicted again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dft_validation import engines
from dft_validation.engines import register_engine
from dft_validation.engines.gpaw import GpawEngine
from dft_validation.queue.store import QUEUE_FILE, JobQueue
from dft_validation.results.cache import DocumentCache
from dft_validation.results.outcomes import JobStatus
from flows import stages
from flows.cli.program import run as run_program
from flows.commands.exits import ExitCode
from flows.commands.screen import screen
from flows.settings_layers import load_settings
from screening.report.result_page import PAGE_FILE
from screening.runs.folder import RunFolder
from screening.runs.record import RunStatus
from screening.runs.schemas import TableName
from tests.flows.conftest import FAKE_WORKER, make_assignments

pytestmark = pytest.mark.usefixtures("wide_and_apart")

ROOT = Path(__file__).parents[3]
# What is measured, or tells the folder of the cache.
MEASURED = {"cpu_seconds", "wall_seconds", "peak_memory_mib"}
RESULTS = (TableName.DFT_RESULTS, TableName.THRESHOLD_CURVE, TableName.PRECISION_RECALL)


@pytest.fixture(scope="module")
def screened(tmp_path_factory, crystals_path):
    """A finished screen whose DFT was only queued; made once."""
    folder = tmp_path_factory.mktemp("screened")
    settings = load_settings(None, [*make_assignments(folder, crystals_path), "run_dft=false"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "_REGISTERED", {"fake": GpawEngine(name="fake", worker=("nothing",), package="numpy")})
        return screen(settings).path


@pytest.fixture
def queued(screened, tmp_path, fake_engine):
    """A copy of that run with a cache of its own."""
    path = shutil.copytree(screened, tmp_path / "results" / screened.name)
    record = path / "run.json"
    record.write_text(record.read_text().replace(str(screened.parents[1]), str(tmp_path)))
    return RunFolder.attach(path)


@pytest.fixture
def dft(queued, capfd):
    """Run `mat2spec dft ...` on that run; exit code, output and errors."""

    def command(word, *options):
        capfd.readouterr()
        code = run_program(["dft", word, queued.run_id, "--results-dir", str(queued.path.parent), *options])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return command


def use(mode, counter):
    command = (sys.executable, str(FAKE_WORKER), mode, str(counter))
    register_engine(GpawEngine(name="fake", worker=command, package="numpy"))


def test_a_screen_without_dft_is_completed_later_without_predicting_again(dft, queued, fake_engine, monkeypatch):
    monkeypatch.setattr(stages, "load_predictors", lambda settings: pytest.fail("predicted again"))
    predictions = queued.table_path(TableName.PREDICTIONS).stat().st_mtime_ns
    code, out, _ = dft("status")
    assert code == ExitCode.DONE
    assert "queued" in out
    assert "CPU seconds remain" in out
    assert not any(queued.has_table(name) for name in RESULTS[:2])
    assert queued.read_table(TableName.PRECISION_RECALL).empty

    code, out, err = dft("run", "--set", "dft.workers=1")
    assert code == ExitCode.DONE, err
    assert "Precision and recall" in out
    assert all(queued.has_table(name) for name in RESULTS)
    assert queued.is_finished
    assert set(queued.read_table(TableName.DFT_JOBS)["status"]) == {"ok"}
    assert len(list(fake_engine.iterdir())) == len(queued.read_table(TableName.DFT_RESULTS))
    assert queued.table_path(TableName.PREDICTIONS).stat().st_mtime_ns == predictions
    assert "All jobs have ended" in dft("status")[1]


def test_the_page_holds_every_validated_material_and_needs_no_network(dft, queued):
    dft("run")
    page = (queued.path / PAGE_FILE).read_text()
    results = queued.read_table(TableName.DFT_RESULTS)
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert set(data["dft"]) == set(results.loc[results["status"] == "ok", "material_id"])
    assert set(results["material_id"]) <= {pick["material_id"] for pick in data["picks"]}
    assert data["curve"]
    assert "one standard deviation" in page
    assert "<script src=" not in page
    assert "<link" not in page


def test_failed_jobs_are_retried_by_type_and_the_tables_follow(dft, queued, fake_engine):
    use("unconverged", fake_engine)
    dft("run")
    assert set(queued.read_table(TableName.DFT_RESULTS)["status"]) == {"unconverged"}
    status = dft("status")[1]
    assert "No convergence in 100 steps" in status
    assert f"mat2spec dft retry {queued.run_id} --type unconverged" in status
    n_jobs = len(queued.read_table(TableName.DFT_JOBS))

    code, out, _ = dft("retry", "--type", "unconverged", "--set", "dft.max_scf_iterations=300")
    assert (code, f"{n_jobs} unconverged jobs were requeued" in out) == (ExitCode.DONE, True)
    use("ok", fake_engine)
    dft("run")
    results = queued.read_table(TableName.DFT_RESULTS)
    assert set(results["status"]) == {"ok"}
    assert queued.read_table(TableName.PRECISION_RECALL)["n"].max() == n_jobs
    documents = list(DocumentCache(load_cache(queued)).documents())
    assert {document.settings["max_scf_iterations"] for document in documents} == {300}
    assert "No job of the run" in dft("retry", "--type", "unconverged")[1]


def load_cache(run):
    return Path(run.info["settings"]["dft"]["cache_dir"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["retry", "--type", "sulking"], "Unknown type of failure 'sulking'"),
        (["retry", "--type", "ok"], "Unknown type of failure 'ok'"),
        (["retry", "--type", "crashed", "--set", "dft.spin=polarised"], "would not be comparable"),
        (["retry", "--type", "crashed", "--set", "dft.fermi_energy=tetrahedra"], "would not be comparable"),
        (["retry", "--type", "crashed", "--set", "dft.max_scf_iterations=-1"], "max_scf_iterations"),
        (["run", "--set", "dft.kpoint_density=100"], "changes what the jobs compute"),
        (["run", "--set", "gap.min_width_ev=2"], "only settings of the DFT jobs can be changed"),
    ],
)
def test_what_would_spoil_the_comparison_is_refused(dft, queued, arguments, words):
    code, _, err = dft(arguments[0], *arguments[1:])
    assert code == ExitCode.FAILED
    assert words in err
    assert queued.is_finished


def test_a_report_of_half_a_queue_counts_what_has_finished(dft, queued, fake_engine):
    settings = load_settings_of(queued)
    jobs = queued.read_table(TableName.DFT_JOBS)
    from dft_validation.queue.workers import run_jobs

    queue = JobQueue(queued.path / QUEUE_FILE)
    n_finished = len(jobs) - 1
    assert n_finished > 0
    run_jobs(jobs[:n_finished], queued.crystals(jobs["material_id"]), settings.dft, queue=queue)
    code, out, err = dft("report")
    assert code == ExitCode.DONE, err
    assert f"{n_finished} of {len(jobs)} chosen materials have a DFT spectrum" in out
    page = (queued.path / PAGE_FILE).read_text()
    assert page.count('"dft_verdict":"not computed"') > 0
    assert not queued.has_table(TableName.DFT_RESULTS)


def load_settings_of(run):
    from flows.commands.dft import settings_of

    return settings_of(run)


def test_a_second_process_helps_and_leaves_the_tables_to_the_first(dft, queued, fake_engine):
    with RunFolder.reopen(queued.path):
        code, out, _ = dft("run")
        assert code == ExitCode.DONE
        assert "shares its jobs and leaves the tables to it" in out
    assert not queued.has_table(TableName.DFT_RESULTS)
    before = len(list(fake_engine.iterdir()))
    dft("run")
    assert len(list(fake_engine.iterdir())) == before
    assert queued.has_table(TableName.DFT_RESULTS)


def test_a_run_whose_process_died_is_not_said_to_run(dft, queued):
    run = RunFolder.reopen(queued.path)
    assert "(running)" in " ".join(dft("status")[1].split())
    run.close()
    assert "(stopped)" in " ".join(dft("status")[1].split())


def test_an_interrupted_run_is_finished_by_dft_run(dft, queued):
    run = RunFolder.reopen(queued.path)
    run.stop(RunStatus.INTERRUPTED, "")
    run.close()
    assert dft("run")[0] == ExitCode.DONE
    assert queued.is_finished
    assert queued.path.parent.joinpath("latest").resolve() == queued.path


def test_a_run_without_jobs_says_what_to_do(dft, queued):
    queued.table_path(TableName.DFT_JOBS).unlink()
    code, _, err = dft("status")
    assert code == ExitCode.FAILED
    assert "has no DFT jobs yet" in err


def test_remote_without_jobflow_remote_is_a_sentence_and_the_run_stays_resumable(dft, queued, monkeypatch):
    monkeypatch.setitem(sys.modules, "jobflow_remote", None)
    code, _, err = dft("run", "--remote")
    assert code == ExitCode.FAILED
    assert "jobflow-remote is not installed" in err
    assert json.loads((queued.path / "run.json").read_text())["status"] == "failed"
    assert dft("run")[0] == ExitCode.DONE


def test_settings_of_the_other_machine_are_not_part_of_the_run(queued):
    assert "remote" not in queued.info["settings"]
    assert load_settings(None, ["remote.project=hpc"]).remote.project == "hpc"
    assert JobStatus.SUBMITTED not in JobQueue(None).counts()


def test_the_status_is_shown_without_loading_torch(queued):
    arguments = ["dft", "status", queued.run_id, "--results-dir", str(queued.path.parent)]
    code = (
        "import sys; from flows.cli.program import run; from dft_validation.engines import register_engine;"
        "from dft_validation.engines.gpaw import GpawEngine;"
        "register_engine(GpawEngine(name='fake', worker=('nothing',), package='numpy'));"
        f"code = run({arguments}); print(int(code), sorted({{'torch', 'torch_geometric'}} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "CPU seconds remain" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "0 []"


def test_a_run_is_finished_on_another_machine_from_its_folder_alone(tmp_path, crystals_path, fake_engine, capfd):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    source = shutil.copy(crystals_path, here / "crystals.parquet")
    settings = load_settings(None, [*make_assignments(here, source), "run_dft=false"])
    reference = screen(load_settings(None, [*make_assignments(here / "reference", source)]))
    expected = {name: reference.read_arrow(name) for name in TableName if reference.has_table(name)}
    elsewhere.mkdir()
    moved = screen(settings).path.rename(elsewhere / "brass")
    shutil.rmtree(here)
    here.write_text("no folder can be made here")

    assert run_program(["dft", "run", str(moved)]) == ExitCode.DONE, capfd.readouterr().err
    assert "cannot be used here; results go to" in capfd.readouterr().out
    run = RunFolder.attach(moved)
    assert run.is_finished
    assert (moved / PAGE_FILE).exists()
    assert (elsewhere / "latest").resolve() == moved
    for name, table in expected.items():
        columns = [column for column in table.column_names if column not in MEASURED]
        assert run.read_arrow(name, columns).equals(table.select(columns)), name
