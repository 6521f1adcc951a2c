"""The open data of the Materials Project on a loopback S3: Delta tables in the types of emmet-core's own documents."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from emmet.core.arrow import arrowize
from emmet.core.band_theory import ElectronicDos
from emmet.core.phonon import PhononDOS
from emmet.core.summary import SummaryDoc

from screening.sources.open_data.delta import PHONON_DOS, SUMMARY, TOTAL_DOS

SUMMARY_COLUMNS = (
    "material_id",
    "formula_pretty",
    "composition",
    "structure",
    "band_gap",
    "energy_above_hull",
    "deprecated",
    "builder_meta",
    "dos",
    "has_props",
    "phonon_IDs",
    "last_updated",
)
BUCKETS = ("materialsproject-build", "materialsproject-parsed")
ENERGIES = np.linspace(-20.0, 15.0, 2001)
EFERMI = 3.0


class OpenS3:
    """A moto server in a thread, with the two buckets."""

    def __init__(self):
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.endpoint = f"http://127.0.0.1:{self._server.get_host_and_port()[1]}"
        self._options = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
            "AWS_S3_ALLOW_UNSAFE_RENAME": "true",
        }
        self.clear()

    def client(self):
        import boto3

        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.endpoint, **keys)

    def clear(self):
        import urllib.request

        reset = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).read()
        for bucket in BUCKETS:
            self.client().create_bucket(Bucket=bucket, ACL="public-read-write")

    def write(self, uri, table, partition_by=None, mode="append"):
        from deltalake import write_deltalake

        write_deltalake(uri, table, partition_by=partition_by, mode=mode, storage_options=self._options)

    def stop(self):
        self._server.stop()

    def write_summary(self, documents, release="2026.11.1", mode="append"):
        self.write(SUMMARY, summary_table(documents, release), ["version"], mode)

    def write_total_dos(self, rows, mode="append"):
        self.write(TOTAL_DOS, total_dos_table(rows), ["run_type"], mode)

    def write_phonon_dos(self, rows):
        self.write(PHONON_DOS, phonon_table(rows))


def summary_table(documents, release):
    whole = pa.schema(arrowize(SummaryDoc))
    schema = pa.schema([whole.field(name) for name in SUMMARY_COLUMNS])
    rows = []
    for document in documents:
        row = {name: document.get(name) for name in SUMMARY_COLUMNS}
        for name in ("composition", "has_props", "phonon_IDs"):
            row[name] = list((row[name] or {}).items())
        row["builder_meta"] = {**document["builder_meta"], "build_date": None}
        row["last_updated"] = None
        rows.append(row)
    table = pa.Table.from_pylist(rows, schema=schema)
    return table.append_column("version", pa.array([release] * len(rows), pa.string()))


def total_dos_table(rows):
    names = ("identifier", "run_type", "spin_up_densities", "spin_down_densities", "energies", "efermi")
    rows = [row | {"identifier": bare_id(row["identifier"])} for row in rows]
    whole = pa.schema(arrowize(ElectronicDos))
    return pa.Table.from_pylist(rows, schema=pa.schema([whole.field(name) for name in names]))


def phonon_table(rows):
    rows = [row | {"identifier": bare_id(row["identifier"])} for row in rows]
    schema = {"identifier": pa.string(), "phonon_method": pa.string(), "dos": arrowize(PhononDOS)}
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))


def bare_id(identifier):
    """What the tables of spectra call a calculation, and mp-api asks for: letters without a prefix."""
    return identifier.rpartition("-")[2]


def dos_row(identifier, gap=None, run_type="GGA", down=True, **changes):
    """A flat density of 2 states/eV a spin with a hole at E_F of the given ends relative to it, in eV."""
    density = np.full(len(ENERGIES), 2.0)
    if gap is not None:
        density[(EFERMI + gap[0] < ENERGIES) & (EFERMI + gap[1] > ENERGIES)] = 0.0
    row = {
        "identifier": identifier,
        "run_type": run_type,
        "spin_up_densities": density,
        "spin_down_densities": density if down else None,
        "energies": ENERGIES,
        "efermi": EFERMI,
    }
    return row | changes
