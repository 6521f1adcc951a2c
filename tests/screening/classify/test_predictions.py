import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mat2spec.crystals.composition import ElementCounts
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import list_column
from screening.classify.predictions import classify_piece, columns_to_classify, ends_of_pieces, pieces_ending_at
from screening.settings import ClassifySettings, GapSettings

IDS = ["a", "b", "c"]


def candidates():
    return pd.DataFrame(
        {
            Column.MATERIAL_ID: IDS,
            Column.NSITES: [2, 1, 4],
            Column.NSITES_PRIMITIVE: [2, 1, 2],
            Column.VOLUME: [40.0, 16.0, 90.0],
            Column.BAND_GAP: [0.0, np.nan, 0.4],
        }
    )


def predictions():
    """Rows of two models, not in the order of the candidates; one without a spectrum."""
    rng = np.random.default_rng(0)
    spectra = rng.uniform(0, 4, (6, EDOS_GRID.size)).astype(np.float32)
    spectra[2, 30:50], spectra[4] = 0, np.nan
    return pa.table(
        {
            Column.MATERIAL_ID: ["c", "a", "b", "b", "a", "c"],
            Column.MODEL: ["x"] * 3 + ["y"] * 3,
            Column.TRUST: ["known", "outside", "known", None, None, None],
            Column.PRIOR_METAL_PROBABILITY: [0.9, 0.2, 0.7, None, 0.1, 0.5],
            Column.EDOS: list_column(spectra),
            Column.UNCERTAINTY: list_column(0.1 * spectra),
        }
    )


def classified(piece):
    elements = ElementCounts.from_lists([pa.chunked_array([[[11, 17], [26], [8, 8, 22, 22]]])])
    return classify_piece(piece, candidates(), elements, GapSettings(), ClassifySettings())


def test_pieces_have_the_classes_of_the_whole():
    table = predictions().select(columns_to_classify(predictions().column_names))
    whole = classified(table)
    pieces = pieces_ending_at(iter([table[:2], table[2:5], table[5:]]), [1, 5, 6])
    pd.testing.assert_frame_equal(pd.concat(map(classified, pieces), ignore_index=True), whole)
    assert whole[Column.MATERIAL_ID].tolist() == ["c", "a", "b", "b", "a", "c"]
    assert whole[Column.IS_METAL].isna().tolist() == [False] * 4 + [True, False]


def test_a_table_without_rows_has_the_columns_of_others():
    table = predictions().select(columns_to_classify(predictions().column_names))
    assert classified(table[:0]).columns.tolist() == classified(table).columns.tolist()


@pytest.mark.parametrize(
    ("materials", "least", "ends"),
    [
        ([0, 1, 2, 3], 2, [2, 4]),
        ([0, 1, 2, 3, 4], 2, [2, 4, 5]),
        ([0, 1, 0, 1, 2, 2], 1, [4, 6]),
        ([3, 1, 3, 1, 0, 2, 0, 2], 3, [4, 8]),
        ([0, 1, 2, 0], 2, [4]),
        ([0, 0, 1], 9, [3]),
        ([], 5, [0]),
    ],
)
def test_no_material_is_in_two_pieces(materials, least, ends):
    assert ends_of_pieces(np.array(materials, dtype=np.int64), least) == ends


def test_a_table_is_cut_anywhere():
    table = pa.table({"row": list(range(10))})
    for ends in ([10], [1, 2, 9, 10], [4, 10], [0, 10]):
        pieces = list(pieces_ending_at(iter([table[:3], table[3:4], table[4:]]), ends))
        assert [len(piece) for piece in pieces] == np.diff([0, *ends]).tolist()
        assert pa.concat_tables(pieces).equals(table)
