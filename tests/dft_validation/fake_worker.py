"""Stands in for the GPAW worker: `fake_worker.py MODE COUNTER INPUT OUTPUT`; each run leaves a file in COUNTER."""

import itertools
import json
import math
import os
import resource
import sys
import time
import uuid
from pathlib import Path

mode, counter, source, target = sys.argv[1:]
inputs = json.loads(Path(source).read_text())
limit_s = math.ceil(inputs["cpu_limit_s"])
resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 5))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
(Path(counter) / f"{os.getpid()}-{uuid.uuid4().hex}").touch()


def bands(n_bands, width_ev=3.0):
    """Cosine bands 2 eV apart from -9 eV on; the full mesh is its own irreducible part."""
    points = itertools.product(*(range(n) for n in inputs["mesh"]))
    return [
        [
            -9
            + 2 * band
            + width_ev / 6 * sum(math.cos(2 * math.pi * i / n) for i, n in zip(point, inputs["mesh"], strict=True))
            for band in range(n_bands)
        ]
        for point in points
    ]


def write(n_bands, width_ev=3.0, n_spins=1):
    energies = bands(n_bands, width_ev)
    result = {
        "status": "ok",
        "energies_ev": [energies] * n_spins,
        "irreducible_of_kpoint": list(range(len(energies))),
        "efermi": 0.1,
        "n_electrons": 9.0 if n_spins == 1 else 10.0,
        "largest_moment": 1.5 if min(inputs["initial_moments"], default=0) < 0 else 0.0,
        "engine_version": "fake-1",
        "cpu_seconds": 2.0,
        "wall_seconds": 2.5,
        "peak_memory_mib": 100.0,
    }
    Path(target).write_text(json.dumps(result))


if mode == "ok":
    write(16)
elif mode == "ordered":
    # A metal in the primitive cell, and with alternating moments an insulator unless it holds aluminium.
    is_insulator = min(inputs["initial_moments"], default=0) < 0 and 13 not in inputs["atomic_numbers"]
    write(16, 0.6 if is_insulator else 3.0, 2 if is_insulator else 1)
elif mode == "slow":
    time.sleep(0.5)
    write(16)
elif mode == "hang":
    time.sleep(600)
elif mode == "hang_sodium":
    if 11 in inputs["atomic_numbers"]:
        time.sleep(600)
    write(16)
elif mode == "busy_sodium":
    while 11 in inputs["atomic_numbers"]:
        pass
    write(16)
elif mode == "crash":
    sys.stderr.write("something odd\nSegmentation fault of the fake\n")
    sys.exit(3)
elif mode == "killed":
    os.kill(os.getpid(), 9)
elif mode == "memory":
    sys.exit(77)
elif mode == "truncated":
    Path(target).write_text('{"status": "ok", "cpu_seconds": 1.0, "energies_ev": [[')
elif mode == "nan":
    Path(target).write_text(
        '{"status": "ok", "cpu_seconds": 1.0, "wall_seconds": 1, "peak_memory_mib": 1, "engine_version": "x",'
        ' "n_electrons": 2, "efermi": 0, "irreducible_of_kpoint": [0], "energies_ev": [[[NaN]]]}'
    )
elif mode == "nothing":
    pass
elif mode == "unconverged":
    Path(target).write_text('{"status": "unconverged", "reason": "No convergence in 100 steps.", "cpu_seconds": 7.0}')
elif mode == "few_bands":
    # 4 dropped, so 12 of 16 bands reach 4.2 eV at the top only; twice the empty bands suffice.
    write(10 if inputs["empty_bands"] <= 7 else 24)
elif mode == "never_enough":
    write(10)
else:
    sys.exit(f"unknown mode {mode}")
