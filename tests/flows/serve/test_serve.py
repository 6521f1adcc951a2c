"""`mat2spec serve` for real: server, deployment, the bare name, runs, the death of the server, and nothing left behind."""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.serve.server import ServerError, prefect_server
from flows.settings import ServeSettings
from tests.screening.sources.materials_project.loopback import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
PREFECT = [sys.executable, "-m", "prefect"]
SCREEN = "screen-gapped-metals/screen-gapped-metals"
WATCH = "watch-releases/watch-releases"
# An engine that works for a while and fails: what happens around it is tested.
FAKE_ELK = """#!{python} -S
import os, pathlib, sys, time
print("Elk code version 9.9.9 started")
if pathlib.Path("elk.in").exists():
    pathlib.Path("{started}", str(os.getpid())).touch()
    time.sleep(4)
    sys.exit(3)
"""


def install_fake_elk(folder):
    """Write a program `elk-lapw` with its species; return the folder of the program and one with a file for each of its jobs."""
    program, species, started = (folder / name for name in ("bin/elk-lapw", "share/elk-lapw/species", "started"))
    for path in (program.parent, species, started):
        path.mkdir(parents=True)
    program.write_text(FAKE_ELK.format(python=sys.executable, started=started))
    program.chmod(0o755)
    for symbol in ("H", "O", "N", "Na", "K", "Mg", "Ca", "Ti", "V", "Nb", "Sr"):
        (species / f"{symbol}.in").write_text("1 0 1 1.0 F\n")
    return program.parent, started


@pytest.fixture(scope="module")
def served(tmp_path_factory, crystals_path):
    """A served deployment that screens the small source without DFT; yields its process, environment and results."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    source = folder / "source.parquet"
    shutil.copy(crystals_path, source)
    programs, _ = install_fake_elk(folder)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    values = {
        "source.kind": "parquet",
        "source.path": source,
        "results_dir": folder / "results",
        "run_dft": "false",
        "prediction.models": "[mat2spec]",
        "prediction.phonon_model": "null",
        "selection.max_positives": "1",
        "selection.n_random_positives": "0",
        "selection.n_random_negatives": "2",
        "dft.engine": "elk",
        "dft.workers": "1",
        "dft.kpoint_density": "20",
    }
    options = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-c", "from flows.cli.program import main; main()", "serve", "--port", str(port)]
    log = folder / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen([*command, *options], cwd=ROOT, env=environment, stdout=output, stderr=output)
    wait_for(lambda: "Stop:" in log.read_text(), process, log)
    yield process, environment, folder / "results", log
    if process.poll() is None:
        process.kill()


def wait_for(condition, process, log, timeout_s=240):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)


def secret_of(environment):
    (file,) = Path(environment["XDG_STATE_HOME"]).glob("*/servers/*.secret")
    return file


def ask(environment, path, values=None, secret=None):
    """Answer of the API; `values` are posted."""
    token = base64.b64encode(secret or secret_of(environment).read_bytes()).decode()
    headers = {"content-type": "application/json", "authorization": f"Basic {token}"}
    body = None if values is None else json.dumps(values).encode()
    request = urllib.request.Request(environment["PREFECT_API_URL"] + path, body, headers)
    for pause_s in (1, 3, 10, None):
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # A server that is busy with its database says 503 for a moment.
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE or pause_s is None:
                raise
            time.sleep(pause_s)
    return None


def flow_runs(environment):
    return ask(environment, "/flow_runs/filter", {})


def start(environment, name, **parameters):
    deployment = ask(environment, f"/deployments/name/{name}")
    return ask(environment, f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})


def deployment_run(environment, name, *options):
    return subprocess.run(
        [*PREFECT, "deployment", "run", name, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def kill_server(process, log, outage_s=0.0):
    """Kill the server, let the next one be as slow to start as on a loaded machine, and wait until it answers."""
    n_before = log.read_text().count("The Prefect server answers again")
    (server,) = servers_of(process)
    server.kill()
    wait_for(lambda: set(servers_of(process)) - {server}, process, log)
    (following,) = set(servers_of(process)) - {server}
    following.suspend()
    time.sleep(outage_s)
    following.resume()
    wait_for(lambda: log.read_text().count("The Prefect server answers again") > n_before, process, log)


def servers_of(process):
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):
            found += [child] if "flows.serve.server_process" in child.cmdline() else []
    return found


def start_dft(environment, results, process, log):
    """Start a run with DFT, wait until its first job runs; return its identifier and folder."""
    started, before = results.parent / "started", set(results.glob("2*"))
    jobs = names_in(started)
    run = start(environment, SCREEN, run_dft=True, limit=8, set=[f"dft.kpoint_density={21 + len(jobs)}"])
    wait_for(lambda: names_in(started) - jobs, process, log)
    (folder,) = set(results.glob("2*")) - before
    return run["id"], folder


def cancel(environment, run_id, process, log):
    ask(environment, f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
    wait_for(lambda: ask(environment, f"/flow_runs/{run_id}")["state_type"] == "CANCELLED", process, log)


def names_in(folder):
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def finished_runs(results):
    records = [json.loads(file.read_text()) for file in sorted(results.glob("2*/run.json"))]
    return [record for record in records if record["status"] == "finished"]


def test_a_cancelled_run_says_that_it_was_interrupted_and_leaves_no_job_behind(served):
    process, environment, results, log = served
    run_id, folder = start_dft(environment, results, process, log)
    cancel(environment, run_id, process, log)
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert record["reason"] == "The flow run was cancelled, or its process was told to end."
    assert "queue_dft" in record["stages"]
    assert "run_dft" not in record["stages"]
    assert not any(psutil.pid_exists(int(name)) for name in names_in(results.parent / "started"))


def test_the_bare_name_starts_a_run_that_survives_the_death_of_the_server_in_its_dft(served):
    process, environment, results, log = served
    started = results.parent / "started"
    before = names_in(started)
    answer = deployment_run(environment, "screen-gapped-metals", "--param", "run_dft=true")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Creating flow run for deployment 'screen-gapped-metals/screen-gapped-metals'" in answer.stdout
    wait_for(lambda: names_in(started) - before, process, log)
    # Longer than Prefect's own observer of cancellations waits.
    kill_server(process, log, outage_s=20)
    wait_for(lambda: finished_runs(results), process, log)
    wait_for(lambda: [run["state_name"] for run in flow_runs(environment)].count("Completed") == 1, process, log)
    (record,) = finished_runs(results)
    jobs = pq.read_table(results / record["run_id"] / "dft_jobs.parquet")["status"].to_pylist()
    assert (set(jobs), len(jobs)) == ({"crashed"}, len(names_in(started) - before)), jobs
    assert len(jobs) > 1


def test_a_run_can_be_cancelled_after_the_server_was_started_again(served):
    process, environment, results, log = served
    if "answers again" not in log.read_text():
        kill_server(process, log, outage_s=20)
    run_id, folder = start_dft(environment, results, process, log)
    cancel(environment, run_id, process, log)
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    assert "cancellation will fail" not in log.read_text()


def test_without_the_secret_nobody_is_served(served):
    _, environment, _, log = served
    assert secret_of(environment).stat().st_mode & 0o777 == 0o600
    assert secret_of(environment).read_text() not in log.read_text()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(environment, "/deployments/filter", {}, secret=b"mat2spec:guessed")
    request = urllib.request.Request(environment["PREFECT_API_URL"] + "/deployments/filter", b"{}")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request)


def test_what_cannot_be_used_creates_no_run(served):
    _, environment, _, _ = served
    before = len(flow_runs(environment))
    for parameter, named in (("limit=0", "limit"), ('set=["gap.minwidth=1"]', "gap.min_width_ev"), ("lmit=1", "lmit")):
        answer = deployment_run(environment, "screen-gapped-metals", "--param", parameter)
        assert answer.returncode == 1
        assert named in answer.stdout + answer.stderr
    assert len(flow_runs(environment)) == before


def test_the_watcher_starts_a_screen_of_what_a_new_release_brings(served):
    process, environment, results, log = served
    source = results.parent / "source.parquet"
    table = pq.read_table(source)
    newcomer = table.slice(0, 1).set_column(0, "material_id", pa.array(["newcomer"]))
    pq.write_table(pa.concat_tables([table, newcomer]), source)
    before = [run["id"] for run in flow_runs(environment)]
    start(environment, WATCH)
    wait_for(lambda: len(finished_runs(results)) == 2, process, log)
    run = results / finished_runs(results)[-1]["run_id"]
    assert finished_runs(results)[-1]["settings"]["run_dft"] is False
    assert pq.read_table(run / "changes.parquet")["material_id"].to_pylist() == ["newcomer"]
    assert pq.read_table(run / "candidates.parquet").num_rows == 1

    def states_of_new_runs():
        return [run["state_type"] for run in flow_runs(environment) if run["id"] not in before]

    wait_for(lambda: set(states_of_new_runs()) == {"COMPLETED"}, process, log)
    assert len(states_of_new_runs()) == 2


def test_a_second_server_is_refused_with_a_sentence(served, tmp_path):
    process, environment, _, _ = served
    port = int(environment["PREFECT_API_URL"].rsplit(":", 1)[1].split("/")[0])
    with (
        pytest.raises(ServerError, match=r"already in use by process \d+, python.*choose another port"),
        prefect_server(ServeSettings(port=port), tmp_path / "other"),
    ):
        pytest.fail("two servers on one port")
    with (
        pytest.raises(ServerError, match=rf"Another `mat2spec serve`, process {process.pid}, uses .*are left alone"),
        prefect_server(ServeSettings(port=free_port()), Path(environment["PREFECT_HOME"])),
    ):
        pytest.fail("two servers in one folder")


def test_sigterm_stops_everything(served):
    process, environment, _, log = served
    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) >= 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0, log.read_text()
    assert "Server and deployments have stopped." in log.read_text()
    _, alive = psutil.wait_procs([psutil.Process(p.pid) for p in family if psutil.pid_exists(p.pid)], timeout=10)
    assert alive == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(environment["PREFECT_API_URL"] + "/health")


def test_a_server_that_does_not_start_says_where_its_log_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{tmp_path}/none/such.db")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with (
        pytest.raises(ServerError, match=r"exited with code \d+ on startup; see .*server\.log"),
        prefect_server(ServeSettings(port=free_port()), tmp_path / "home"),
    ):
        pytest.fail("started without a database")
