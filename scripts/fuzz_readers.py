"""Feed damaged crystal files and tables to the readers and count what they do: `python scripts/fuzz_readers.py --seconds 3600`.

Sound files are cut, spliced, flipped and overwritten at random. Whatever comes out, a reader must give crystals or
sentences: an exception, a crystal without checks, a reason of several lines, more than ten CPU seconds or more than 3 GiB is a
finding, which is kept beside the count.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
from ase.db import connect
from ase.io import write
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import find_notes, find_problems
from mat2spec.crystals.readers import read_structures
from mat2spec.tables.files import TableError
from screening.sources.base import SourceError
from screening.sources.parquet import ParquetSource

SLOWEST_S = 10
MOST_MEMORY_BYTES = 3 * 2**30
REPORT_EVERY_S = 60.0
WORDS = (
    b"?", b".", b"nan", b"-inf", b"1e308", b"-1", b"0", b"99999999999999999999", b"_cell_length_a", b"loop_", b"data_", b"'",
    b'"', b";\n", b"#", b"{", b"[", b"null", b"NaN", b"X", b"Wat", b"D", b"\x00", b"\xff\xfe", b"\n", b"\t", b"(3)", b"1/0",
    b"F m -3 m", b":2", b"_chemical_formula_sum", b"Direct", b"Selective", b"\xf0\x9f\x98\x80",
)  # fmt: skip


def seeds() -> dict[str, list[bytes]]:
    """Sound contents of each ending."""
    crystals = [
        Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]]),
        Structure.from_spacegroup(
            "P-3m1", Lattice.hexagonal(3.14, 4.77), ["Mg", "O"], [[0, 0, 0], [1 / 3, 2 / 3, 0.22]]
        ),
    ]
    documents = [{"material_id": f"mp-{i}", "structure": crystal.as_dict()} for i, crystal in enumerate(crystals)]
    return {
        ".cif": [str(CifWriter(crystal, symprec=0.01)).encode() for crystal in crystals]
        + ["".join(str(CifWriter(crystal)) for crystal in crystals).encode()],
        ".vasp": [str(Poscar(crystal)).encode() for crystal in crystals],
        ".json": [
            json.dumps(documents).encode(),
            json.dumps(documents[0]).encode(),
            json.dumps({"data": documents}).encode(),
        ],
        ".parquet": [_parquet(crystals)],
        **{ending: [_by_ase(crystals, ending)] for ending in (".extxyz", ".traj", ".db")},
        ".cif.gz": [gzip.compress("".join(str(CifWriter(crystal)) for crystal in crystals).encode())],
    }


def _parquet(crystals: list[Structure]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(Crystals.from_structures(crystals).to_arrow(), sink)
    return bytes(sink.getvalue())


def _by_ase(crystals: list[Structure], ending: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"x{ending}"
        if ending == ".db":
            with connect(file) as database:
                for crystal in crystals:
                    database.write(AseAtomsAdaptor.get_atoms(crystal))
        else:
            write(file, [AseAtomsAdaptor.get_atoms(crystal) for crystal in crystals])
        return file.read_bytes()


def damage(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """The content after one to six random changes."""
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(len(content) + 1)
        stop = min(len(content), start + int(rng.expovariate(1 / 12)))
        kind = rng.randrange(7)
        if kind == 0:
            content = content[:start] + content[stop:]
        elif kind == 1:
            content = content[:start] + rng.choice(WORDS) + content[stop:]
        elif kind == 2:
            content = content[:start] + bytes(rng.randrange(256) for _ in range(stop - start)) + content[stop:]
        elif kind == 3:
            content = content[:stop] + content[start:]
        elif kind == 4:
            other = rng.choice(others)
            content = content[:start] + other[rng.randrange(len(other)) :]
        elif kind == 5:
            lines = content.split(b"\n")
            rng.shuffle(lines) if rng.random() < 0.1 else lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            content = b"\n".join(lines)
        else:
            content = content[:start]
    return content


def outcome(file: Path) -> str:
    """What a reader makes of a file, in a word.

    Raises
    ------
    AssertionError
        If it breaks a promise.
    """
    if file.suffix == ".parquet":
        try:
            source = ParquetSource(file)
            crystals = source.crystals(source.properties()["material_id"].tolist())
        except (TableError, SourceError):
            return "refused"
        return _checked(crystals)
    entries = read_structures([file])
    assert entries
    assert all((entry.structure is None) == bool(entry.reason) for entry in entries)
    assert all("\n" not in entry.reason and "Traceback" not in entry.reason for entry in entries)
    pa.array([entry.name for entry in entries] + [entry.reason for entry in entries], type=pa.string())
    read = [entry for entry in entries if entry.structure is not None]
    return _checked(Crystals.from_structures([e.structure for e in read if e.structure])) if read else "refused"


def _checked(crystals: Crystals) -> str:
    problems, notes = find_problems(crystals), find_notes(crystals)
    if any(problem is None for problem in problems):
        return "noted" if any(notes) else "read"
    return "refused"


def _too_slow(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  the signature of a handler
    raise AssertionError(f"more than {SLOWEST_S} s of CPU time")


def fuzz(seconds: float, seed: int, findings: Path | None = None) -> tuple[Counter[str], int]:
    """Try damaged files for some CPU seconds; count outcomes by ending, and findings."""
    rng, counts, n_findings = random.Random(seed), Counter[str](), 0
    contents = seeds()
    everything = [content for some in contents.values() for content in some]
    signal.signal(signal.SIGPROF, _too_slow)
    end = time.process_time() + seconds
    report_at = time.process_time() + REPORT_EVERY_S
    with tempfile.TemporaryDirectory() as folder:
        while time.process_time() < end:
            ending = rng.choice(list(contents))
            file = Path(folder) / f"x{ending}"
            file.write_bytes(damage(rng.choice(contents[ending]), everything, rng))
            signal.setitimer(signal.ITIMER_PROF, SLOWEST_S)
            try:
                counts[f"{ending} {outcome(file)}"] += 1
            except Exception:  # noqa: BLE001  whatever it is, it is a finding
                n_findings += 1
                counts[f"{ending} finding"] += 1
                if findings is not None:
                    findings.mkdir(parents=True, exist_ok=True)
                    (findings / f"{n_findings:04d}{ending}").write_bytes(file.read_bytes())
                    (findings / f"{n_findings:04d}.txt").write_text(traceback.format_exc())
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            if time.process_time() > report_at:
                say(counts, n_findings)
                report_at += REPORT_EVERY_S
    return counts, n_findings


def say(counts: Counter[str], n_findings: int) -> None:
    """Print what came of the files so far."""
    lines = [f"{count:>9,}  {name}" for name, count in sorted(counts.items())]
    print("\n".join([*lines, f"{counts.total():>9,}  files tried, {n_findings} findings"]), flush=True)


def main() -> int:
    """Fuzz and print the counts; 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds to spend.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=None, help="Folder for files that break a promise.")
    arguments = parser.parse_args()
    # What asks for more gets a MemoryError, and no other program on the machine is ended for it.
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    counts, n_findings = fuzz(arguments.seconds, arguments.seed, arguments.findings)
    say(counts, n_findings)
    return int(n_findings > 0)


if __name__ == "__main__":
    raise SystemExit(main())
