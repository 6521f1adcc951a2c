"""Measure the Materials Project as a source, on loopback: documents a second, memory, reruns, time to the first task.

    python benchmarks/materials_project.py read                        # 20,000 documents
    python benchmarks/materials_project.py read --documents 155000     # as many candidates as the real one has
    python benchmarks/materials_project.py open-data --documents 155000
    python benchmarks/materials_project.py screen --documents 155000   # all stages but the models, then a rerun
    python benchmarks/materials_project.py start                       # prefect deployment run -> first task

The server runs emmet-api's own routes in a process of its own (`tests/screening/sources/materials_project/loopback.py`), so
memory and processor time are those of the client alone. Needs the packages that the tests need.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from flows.serve.api_secret import find_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals
    from mat2spec.spectra.prediction import Prediction

ROOT = Path(__file__).resolve().parent.parent
PORT, PREFECT_PORT = 8123, 4299
KEY = "loopbackkeyloopbackkeyloopback01"
MIB_OF_KIB = 1 / 1024
OPEN_FILTERS = {
    "filters.energy_above_hull_max_ev_per_atom": "null",
    "filters.band_gap_max_ev": "null",
    "filters.n_elements_max": "null",
    "filters.n_sites_max": "null",
}
MAT2SPEC = [sys.executable, "-c", "from flows.cli.program import main; main()"]


def usage() -> dict[str, float]:
    """Peak memory of this process so far, in MiB, and its processor time, in s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"peak_mib": round(used.ru_maxrss * MIB_OF_KIB), "cpu_s": round(used.ru_utime + used.ru_stime, 1)}


def children_cpu_s() -> float:
    """Processor time of the processes that this one started and that have ended, in s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(title: str, **figures: object) -> None:
    """Print figures as one line of JSON, which is what the caller and a person read."""
    print(json.dumps({"what": title, **figures}), flush=True)


@contextmanager
def loopback_server(n_documents: int, edos_every: int) -> Iterator[str]:
    """The server in a process of its own; yields its address."""
    command = [sys.executable, "-m", "tests.screening.sources.materials_project.loopback"]
    options = ["--documents", str(n_documents), "--port", str(PORT), "--edos-every", str(edos_every)]
    process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit(f"The loopback server did not start on port {PORT}; see above.")
        yield f"http://127.0.0.1:{PORT}/"
    finally:
        process.terminate()
        process.wait()


def child(mode: str, *words: str, **environment: str) -> None:
    """Run a part in a process of its own, so that its memory is its own."""
    subprocess.run(
        [sys.executable, "-W", "ignore", __file__, mode, *words],
        check=True,
        cwd=ROOT,
        env=os.environ | {"MP_API_KEY": KEY} | environment,
    )


def assignments_of(folder: str, endpoint: str) -> list[str]:
    """Settings of a screen of the loopback server: everything is a candidate."""
    values = {
        "source.kind": "materials-project",
        "source.mp_endpoint": endpoint,
        "source.mp_cache_dir": f"{folder}/cache",
        "source.mp_timeout_s": "600",
        "results_dir": f"{folder}/results",
        "run_dft": "false",
        **OPEN_FILTERS,
    }
    return [f"{name}={value}" for name, value in values.items()]


def timed_read(settings: ScreenSettings, title: str) -> None:
    """Open the source twice: first it is read, then it is in the cache."""
    from screening.sources.opening import open_source

    before = usage()
    start, cpu = time.perf_counter(), time.process_time()
    source = open_source(settings.source, settings.filters)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    again = time.perf_counter()
    open_source(settings.source, settings.filters)
    again = time.perf_counter() - again
    n_rows = len(source.properties())
    report(
        title,
        documents=n_rows,
        seconds=round(seconds, 1),
        documents_per_s=round(n_rows / seconds),
        client_cpu_s=round(cpu, 1),
        documents_per_cpu_s=round(n_rows / cpu),
        again_s=round(again, 2),
        before_mib=before["peak_mib"],
        peak_mib=usage()["peak_mib"],
    )


def read_once(folder: str, endpoint: str, requests_per_second: str) -> None:
    """Part of `read`: one reading by the client."""
    from flows.settings_layers import load_settings

    begun = time.perf_counter()
    import mp_api.client.routes.materials.summary  # noqa: F401  its import takes seconds, once in a process

    report("import of mp-api", seconds=round(time.perf_counter() - begun, 1))
    assignments = [*assignments_of(folder, endpoint), f"source.mp_requests_per_second={requests_per_second}"]
    timed_read(load_settings(None, assignments), f"read through the API, {requests_per_second} requests/s at most")


def read(n_documents: int) -> None:
    """Documents a second and memory of the client, with the default limit of requests and with the highest."""
    with tempfile.TemporaryDirectory() as folder, loopback_server(n_documents, 0) as endpoint:
        for limit in ("10", "25"):
            child("read-once", f"{folder}/{limit}", endpoint, limit)


def read_open_data(n_documents: int) -> None:
    """Documents a second and memory where the open data are read from an S3 on loopback."""
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "serve-open-data", str(n_documents)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            endpoint = server.stdout.readline().strip()
            child("open-data-once", folder, AWS_ENDPOINT_URL=endpoint, AWS_ALLOW_HTTP="true")
        finally:
            server.terminate()
            server.wait()


def serve_open_data(n_documents: int) -> None:
    """Part of `open-data`: a loopback S3 with a Delta table of summary documents, until it is stopped."""
    sys.path.insert(0, str(ROOT))
    import pyarrow as pa

    from screening.sources.open_data.delta import SUMMARY
    from tests.screening.sources.materials_project.loopback import catalogue_rows, make_documents, stored_id
    from tests.screening.sources.materials_project.open_s3 import OpenS3, summary_table

    server, size = OpenS3(), len(catalogue_rows())
    table = summary_table(make_documents(size, edos_every=0), "2026.11.1")
    column = table.column_names.index("material_id")
    for start in range(0, n_documents, size):
        ids = pa.array([stored_id(index) for index in range(start, min(start + size, n_documents))])
        server.write(SUMMARY, table.slice(0, len(ids)).set_column(column, "material_id", ids), ["version"])
    print(server.endpoint, flush=True)
    while True:
        time.sleep(60)


def open_data_once(folder: str) -> None:
    """Part of `open-data`: one reading."""
    from flows.settings_layers import load_settings

    assignments = ["source.kind=materials-project-open", f"source.mp_cache_dir={folder}/cache"]
    timed_read(load_settings(None, assignments), "read the open data")


def screen(n_documents: int) -> None:
    """Memory of a whole screen and the time of a rerun with nothing new; only the models are replaced."""
    with tempfile.TemporaryDirectory() as folder, loopback_server(n_documents, 0) as endpoint:
        child("screen-once", folder, endpoint)
        words = [word for assignment in assignments_of(folder, endpoint) for word in ("--set", assignment)]
        for _ in range(3):
            start, before = time.perf_counter(), children_cpu_s()
            rerun = subprocess.run(
                [*MAT2SPEC, "screen", "--only-new", *words],
                check=True,
                cwd=ROOT,
                env=os.environ | {"MP_API_KEY": KEY},
                capture_output=True,
                text=True,
            )
            seconds, cpu = time.perf_counter() - start, children_cpu_s() - before
            says = rerun.stdout.strip().splitlines()[-1]
            report("rerun with nothing new", seconds=round(seconds, 1), cpu_s=round(cpu, 1), says=says)


def screen_once(folder: str, endpoint: str) -> None:
    """Part of `screen`: all stages in this process, with random spectra in place of the models' predictions."""
    import mat2spec.prediction
    from flows import pipeline
    from flows.settings_layers import load_settings

    settings = load_settings(None, assignments_of(folder, endpoint))
    mat2spec.prediction.predict_with_models = random_predictions
    with pipeline.open_run(settings) as run:
        report("open the source and the models", **usage())

        def do(stage: pipeline.Stage) -> pipeline.Done:
            done = pipeline.run_stage(stage, run, settings)
            report(stage.name, seconds=round(done.seconds, 1), **usage(), counts=done.counts)
            return done

        pipeline.run_stages(run, settings, pipeline.stages_of(settings), do)


def random_predictions(
    predictors: Sequence[Any], crystals: Crystals, on_batch: Callable[[int], None] = lambda _: None
) -> list[Prediction]:
    """What `mat2spec.predict_with_models` does, with random numbers in place of the models."""
    import numpy as np

    from mat2spec.spectra.grids import EDOS_GRID
    from mat2spec.spectra.prediction import Prediction
    from mat2spec.tables.status import Status

    n = len(crystals)
    generator = np.random.default_rng(n)
    ones = np.ones(n, dtype=np.float32)
    predictions = []
    for predictor in predictors:
        spectra = generator.random((n, EDOS_GRID.size), dtype=np.float32)
        predictions.append(
            Prediction(
                material_ids=crystals.material_ids,
                status=[Status.OK] * n,
                reason=[""] * n,
                spectra=spectra,
                scale=ones,
                uncertainty=0.1 * spectra,
                relative_error=ones,
                domain_distance=ones,
                model=predictor.name,
                weights_hash="random",
                grid=EDOS_GRID,
            )
        )
        on_batch(n)
    return predictions


def start(repeats: int) -> None:
    """Time from the command `prefect deployment run screen-gapped-metals` to the start of the first task."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PREFECT_HOME": f"{folder}/prefect",
            "PREFECT_API_URL": f"http://127.0.0.1:{PREFECT_PORT}/api",
        }
        words = ["--set", f"results_dir={folder}/results", "--set", "run_dft=false", "--set", "source.limit=5"]
        process = subprocess.Popen(
            [*MAT2SPEC, "serve", "--port", str(PREFECT_PORT), *words],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            while "Stop:" not in process.stdout.readline():
                if process.poll() is not None:
                    raise SystemExit(f"mat2spec serve did not start on port {PREFECT_PORT}; see above.")
            seconds = [time_to_first_task(environment, number) for number in range(repeats)]
        finally:
            process.terminate()
            process.wait()
    report(
        "prefect deployment run -> first task",
        seconds=[round(s, 1) for s in seconds],
        median=statistics.median(seconds),
    )


def time_to_first_task(environment: dict[str, str], n_before: int) -> float:
    """Seconds from the command to the first task run of the flow run that it made."""
    from datetime import datetime

    begun = time.time()
    prefect = [sys.executable, "-m", "prefect", "deployment", "run", "screen-gapped-metals"]
    subprocess.run(prefect, check=True, cwd=ROOT, env=environment, capture_output=True)
    returned = time.time()
    while True:
        runs = ask(environment, "flow_runs/filter")
        if len(runs) > n_before and all(run["state_type"] == "COMPLETED" for run in runs):
            break
        if any(run["state_type"] in {"FAILED", "CRASHED"} for run in runs):
            raise SystemExit("A flow run failed; run the command by hand to see why.")
        time.sleep(0.5)
    run = max(runs, key=lambda run: str(run["created"]))
    tasks = [t for t in ask(environment, "task_runs/filter") if t["flow_run_id"] == run["id"] and t["start_time"]]
    first = min(datetime.fromisoformat(task["start_time"]).timestamp() for task in tasks)
    flow = datetime.fromisoformat(run["start_time"]).timestamp()
    report(
        "one start",
        command_returned_s=round(returned - begun, 1),
        flow_started_s=round(flow - begun, 1),
        first_task_s=round(first - begun, 1),
    )
    return first - begun


def ask(environment: dict[str, str], what: str) -> list[dict[str, Any]]:
    """Objects that the Prefect server knows."""
    address = environment["PREFECT_API_URL"]
    user, _, password = (find_secret(address) or "").partition(":")
    answer = requests.post(f"{address}/{what}", json={}, timeout=30, auth=(user, password))
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measures: dict[str, Callable[[int], None]] = {"read": read, "open-data": read_open_data, "screen": screen}
    for name in measures:
        commands.add_parser(name).add_argument("--documents", type=int, default=20_000)
    commands.add_parser("start").add_argument("--repeats", type=int, default=3)
    parts: dict[str, Callable[..., None]] = {
        "read-once": read_once,
        "open-data-once": open_data_once,
        "screen-once": screen_once,
    }
    for name in parts:
        commands.add_parser(name, help=argparse.SUPPRESS).add_argument("words", nargs="*")
    commands.add_parser("serve-open-data", help=argparse.SUPPRESS).add_argument("documents", type=int)
    arguments = parser.parse_args()
    if arguments.command in measures:
        measures[arguments.command](arguments.documents)
    elif arguments.command in parts:
        parts[arguments.command](*arguments.words)
    elif arguments.command == "serve-open-data":
        serve_open_data(arguments.documents)
    else:
        start(arguments.repeats)


if __name__ == "__main__":
    main()
