"""A Materials Project of our own on loopback: emmet-api's own routes over documents made from the embedded catalogue.

What emmet-api leaves to others is added here: a gateway that knows one key, and faults on demand.
Run as a program it serves until it is stopped:

    python -m tests.screening.sources.materials_project.loopback --documents 20000 --port 8123
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import os
import socket
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np
import pyarrow.parquet as pq
from emmet.core.types.typing import format_identifier
from pymatgen.core import Element

from screening.settings import CATALOGUE_PATH

GOOD_KEY = "loopbackkeyloopbackkeyloopback01"
DB_VERSION = "2026.11.1"
GNOME_BATCH = "gnome_r2scan_statics"
UPDATED = "2026-10-01T00:00:00"
SUMMARY = "/materials/summary/"
CORE = "/materials/core/"
HEARTBEAT = "/heartbeat"
BUILDER_META = {
    "emmet_version": "0.87.3",
    "pymatgen_version": "2026.10.24",
    "license": "BY-C",
    "batch_id": None,
    "database_version": DB_VERSION,
    "build_date": UPDATED,
}


def material_number(index):
    """Numbers of the documents: rising, with gaps, as those of the Materials Project."""
    return 13 + 7 * index


def legacy_id(index):
    return f"mp-{material_number(index)}"


def stored_id(index):
    """How the database stores an identifier: letters, padded."""
    return format_identifier(legacy_id(index), legacy=False)


symbol_of = lru_cache(maxsize=None)(lambda number: Element.from_Z(number).symbol)


@lru_cache(maxsize=1)
def catalogue_rows():
    return pq.read_table(CATALOGUE_PATH).slice(0, 4000).to_pylist()


def make_documents(count, *, edos_every=3, metals_every=2):
    """Summary documents of the catalogue's crystals, repeated with new identifiers.

    Every `edos_every`-th has an eDOS, every `metals_every`-th is a metal, the others have a gap.
    """
    return [_document(index, edos_every, metals_every) for index in range(count)]


def _document(index, edos_every, metals_every):
    has_edos = edos_every > 0 and index % edos_every == 0
    return {
        **_of_crystal(index % len(catalogue_rows())),
        "material_id": stored_id(index),
        "band_gap": 0.0 if index % metals_every == 0 else 1.5,
        "deprecated": False,
        "last_updated": UPDATED,
        "builder_meta": BUILDER_META,
        "has_props": {"materials": True, "thermo": True, "electronic_structure": True, "dos": has_edos},
        "dos": {"task_id": stored_id(index)} if has_edos else None,
    }


@cache
def _of_crystal(number):
    """What all documents of one crystal share."""
    row = catalogue_rows()[number]
    symbols = [symbol_of(number) for number in row["atomic_numbers"]]
    cell = {symbol: float(count) for symbol, count in Counter(symbols).items()}
    return {
        "formula_pretty": row["formula"],
        "composition": cell,
        "composition_reduced": cell,
        "elements": sorted(cell),
        "chemsys": "-".join(sorted(cell)),
        "nsites": row["nsites"],
        "nelements": row["nelements"],
        "energy_above_hull": row["energy_above_hull"],
        "structure": structure_dict(row, symbols),
    }


def structure_dict(row, symbols):
    """As `Structure.as_dict` writes it, without the cost of a Structure."""
    matrix = np.reshape(row["lattice"], (3, 3))
    coordinates = np.reshape(row["frac_coords"], (-1, 3))
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "properties": {},
        "lattice": {
            "matrix": matrix.tolist(),
            "pbc": [True, True, True],
            "volume": abs(float(np.linalg.det(matrix))),
        },
        "sites": [
            {
                "species": [{"element": symbol, "occu": 1}],
                "abc": abc.tolist(),
                "xyz": (abc @ matrix).tolist(),
                "properties": {},
                "label": symbol,
            }
            for symbol, abc in zip(symbols, coordinates, strict=True)
        ],
    }


def core_document(summary):
    """The document of the core collection: the cells before relaxation are 5 % larger."""
    initial = copy.deepcopy(summary["structure"])
    if initial is not None:
        initial["lattice"]["matrix"] = (1.05 * np.array(initial["lattice"]["matrix"])).tolist()
    keys = ("material_id", "formula_pretty", "deprecated", "last_updated", "builder_meta", "structure")
    return {key: summary[key] for key in keys} | {"initial_structures": [initial] if initial else []}


class Cursor:
    def __init__(self, documents):
        self._documents = documents

    async def to_list(self):
        return self._documents


class Collection:
    """What emmet-api asks of a MongoDB collection, over a list; an answer to the same question is remembered."""

    def __init__(self, documents):
        self.documents = documents
        self._answers = {}

    def replace(self, documents):
        self.documents, self._answers = documents, {}

    async def count_documents(self, criteria, **_):
        return len(self._matching(criteria, None))

    async def estimated_document_count(self):
        return len(self.documents)

    async def aggregate(self, pipeline, **_):
        stages = {next(iter(stage)): next(iter(stage.values())) for stage in pipeline}
        found = self._matching(stages.get("$match", {}), stages.get("$sort"))
        skip = stages.get("$skip", 0)
        paths = [path.split(".") for path, wanted in stages["$project"].items() if wanted]
        return Cursor([_project(document, paths) for document in found[skip : skip + stages.get("$limit", len(found))]])

    def _matching(self, criteria, sort):
        from mongomock_ng.filtering import filter_applies

        question = json.dumps([criteria, sort], sort_keys=True, default=str)
        if question not in self._answers:
            found = [document for document in self.documents if filter_applies(criteria, document)]
            for path, direction in reversed(list((sort or {}).items())):
                # MongoDB: null and missing come before every value.
                found.sort(key=lambda d: ((d.get(path) is not None), d.get(path) or 0), reverse=direction < 0)
            self._answers[question] = found
        return self._answers[question]


def _project(document, paths):
    if not paths:
        return dict(document)
    result = {}
    for first, *rest in paths:
        if first not in document:
            continue
        value = document[first]
        if not rest or not isinstance(value, dict):
            result[first] = value
        else:
            result.setdefault(first, {}).update(_project(value, [rest]))
    return result


@dataclass
class Fault:
    """What the server does wrong with the next requests to a path."""

    kind: str
    path: str
    times: int
    skip: int = 0
    status: int = 500
    headers: dict = field(default_factory=dict)
    seconds: float = 0.0
    body: str = "<html>No data here</html>"
    action: object = None


class Gateway:
    """ASGI middleware: checks the key as the gateway before the real API does, and misbehaves when told to."""

    def __init__(self, app, server):
        self.app = app
        self.server = server

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key.decode().lower(): value.decode() for key, value in scope["headers"]}
        self.server.last_headers = headers
        self.server.requests.append((time.monotonic(), scope["path"], scope["query_string"].decode()))
        fault = self.server.next_fault(scope["path"])
        if fault is not None:
            handled = await self._misbehave(fault, scope, receive, send)
            if handled:
                return
        if scope["path"] != HEARTBEAT and headers.get("x-api-key") != self.server.key:
            await _answer(send, 401, {"message": f"Invalid credentials {headers.get('x-api-key')}"})
            return
        if self.server.groups:
            scope["headers"] = [*scope["headers"], (b"x-consumer-groups", self.server.groups.encode())]
        await self.app(scope, receive, send)

    async def _misbehave(self, fault, scope, receive, send):
        if fault.kind == "status":
            # A server that repeats what it was sent: the client must not show it.
            body = {"detail": f"went wrong with {dict(scope['headers'])}"}
            await _answer(send, fault.status, body, fault.headers)
            return True
        if fault.kind == "page":
            await _send(send, fault.status, fault.body.encode(), b"text/html")
            return True
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return False
        if fault.kind == "do":
            fault.action()
            return False
        if fault.kind == "die":
            # What goes down sends half an answer, however soon after it is gone.
            fault.action()
        if fault.kind == "drop":
            await self._drop(scope, receive, send)
        else:
            await self._cut(scope, receive, send)
        return True

    async def _answer_of(self, scope, receive):
        """First message and body of what the real server answers."""
        sent = []

        async def collect(message):
            sent.append(message)

        await self.app(scope, receive, collect)
        return sent[0], b"".join(message.get("body", b"") for message in sent)

    async def _drop(self, scope, receive, send):
        """Answer without the last document, and with the total that counts it."""
        plain = [(name, value) for name, value in scope["headers"] if name.lower() != b"accept-encoding"]
        _, body = await self._answer_of(scope | {"headers": plain}, receive)
        answer = json.loads(body)
        answer["data"].pop()
        await _answer(send, 200, answer)

    async def _cut(self, scope, receive, send):
        """Announce the whole answer, send half of it, and hang up."""
        start, body = await self._answer_of(scope, receive)
        await send(start)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        raise ConnectionResetError("cut on purpose")


async def _answer(send, status, body, headers=None):
    raw = [(key.lower().encode(), value.encode()) for key, value in (headers or {}).items()]
    await _send(send, status, json.dumps(body, default=str).encode(), b"application/json", raw)


async def _send(send, status, body, kind, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]})
    await send({"type": "http.response.body", "body": body})


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def everything_written(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


class LoopbackServer:
    """The server in a thread: start, stop, faults, and a record of what was asked."""

    def __init__(self, documents, port=None, core=None):
        self.port = port or free_port()
        self.key = GOOD_KEY
        self.groups = ""
        self.heartbeat = {"db_version": DB_VERSION, "access_controlled_batch_ids": [GNOME_BATCH]}
        self.summary = Collection(documents)
        self.core = Collection([core_document(d) for d in documents] if core is None else core)
        self.requests = deque()
        self.last_headers = {}
        self._faults = []
        self._uvicorn = None
        self._thread = None

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/"

    @property
    def db_version(self):
        return self.heartbeat["db_version"]

    @db_version.setter
    def db_version(self, version):
        self.heartbeat["db_version"] = version

    def fail(self, kind="status", path=SUMMARY, times=1, **details):
        """Plan a fault for the next requests to a path, after `skip` good ones; its `times` counts down."""
        self._faults.append(Fault(kind, path, times, **details))
        return self._faults[-1]

    def next_fault(self, path):
        for fault in self._faults:
            if fault.path == path and fault.times > 0:
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def reset(self):
        self._faults.clear()
        self.requests.clear()
        self.groups = ""
        self.db_version = DB_VERSION

    def asked(self, path):
        """The queries that a path got, oldest first."""
        return [query for _, asked, query in self.requests if asked == path]

    def app(self):
        from emmet.api.core.api import MAPI
        from emmet.api.resource.utils import CollectionWithKey
        from emmet.api.routes.materials.materials.resources import materials_resource
        from emmet.api.routes.materials.summary.resources import summary_resource

        resources = [
            summary_resource(CollectionWithKey(self.summary)),
            materials_resource(CollectionWithKey(self.core)),
        ]
        return Gateway(MAPI({"materials": resources}, heartbeat_meta=self.heartbeat).app, self)

    def start(self):
        import uvicorn

        config = uvicorn.Config(self.app(), host="127.0.0.1", port=self.port, log_level="critical", lifespan="off")
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self._uvicorn.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("The loopback server did not start.")
            time.sleep(0.01)
        return self

    def stop(self):
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
            self._uvicorn.force_exit = True
            self._thread.join(timeout=20)
            self._uvicorn = None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--edos-every", type=int, default=3, help="Every so manieth has an eDOS; 0: none.")
    arguments = parser.parse_args()
    documents = make_documents(arguments.documents, edos_every=arguments.edos_every)
    server = LoopbackServer(documents, arguments.port, core=[]).start()
    print(f"{server.endpoint} serves {arguments.documents} documents to the key {GOOD_KEY} (process {os.getpid()})")  # noqa: T201
    threading.Event().wait()


if __name__ == "__main__":
    main()
