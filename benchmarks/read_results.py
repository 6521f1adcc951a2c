"""Time of the best hundred of N predictions with filters: `python benchmarks/read_results.py N [--most SECONDS]`.

A run folder with a table `classifications` of N rows, of random spectra, is written piece by piece and asked as
`mat2spec tables --sql` asks. With --most it fails if the answer takes longer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.parquet import ROWS_PER_GROUP, concatenate_tables, to_arrow
from screening.classify.classes import classify
from screening.classify.materials import Materials
from screening.report.queries import query
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName, conform

SQL = """
select material_id, model, gapped_metal_confidence, gap_width_ev, dos_at_efermi_states_per_ev
from classifications
where is_gapped_metal and gap_width_ev > 1.2 and electronic_class = 'metal'
order by gapped_metal_confidence desc, material_id limit 100
"""


def pieces(n: int) -> Iterator[pa.Table]:
    """Rows of the table, some with a gap in the valence band."""
    rng = np.random.default_rng(0)
    spectra = rng.uniform(0.5, 8, (ROWS_PER_GROUP, EDOS_GRID.size))
    spectra[:400, (EDOS_GRID.centers > -3) & (EDOS_GRID.centers < -0.6)] *= rng.uniform(0, 0.2, (400, 1))
    ones = np.full(ROWS_PER_GROUP, 4)
    materials = Materials(CellSizes(ones, ones, np.full(ROWS_PER_GROUP, 80.0)), np.full(ROWS_PER_GROUP, np.nan))
    classes = classify(spectra, materials)
    for start in range(0, n, ROWS_PER_GROUP):
        rows = rng.permutation(ROWS_PER_GROUP)[: n - start]
        ids = [f"cell-{start + number:08d}" for number in range(len(rows))]
        part = classes.iloc[rows].assign(material_id=ids, model="made up", is_target=False)
        yield conform(to_arrow(part.reset_index(drop=True)), TableName.CLASSIFICATIONS)


def seconds_of_the_best(n: int, folder: Path) -> tuple[float, int]:
    """Seconds of the answer, and its rows."""
    with RunFolder.open(folder, {}, {}) as run:
        concatenate_tables(run.table_path(TableName.CLASSIFICATIONS), pieces(n))
        start = time.perf_counter()
        found = query(run, SQL)
        return time.perf_counter() - start, found.num_rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int)
    parser.add_argument("--most", type=float, default=float("inf"), help="seconds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        seconds, rows = seconds_of_the_best(given.n, Path(name))
    print(f"{rows} of {given.n:,} rows in {seconds:.2f} s")
    if seconds > given.most:
        sys.exit(f"That is longer than {given.most:g} s.")


if __name__ == "__main__":
    main()
