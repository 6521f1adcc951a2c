from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from screening.choose.filters import filter_candidates
from screening.settings import FilterSettings

OPEN = {"energy_above_hull_max_ev_per_atom": None, "n_elements_max": None, "band_gap_max_ev": None, "n_sites_max": None}

maybe = st.one_of(st.none(), st.floats(0, 2, allow_nan=False))
materials = st.lists(
    st.tuples(maybe, maybe, st.integers(1, 300), st.sampled_from(["Al", "Al-O", "O-Sr-V", "Cl-Na", "H-O-Ti-V-W-Y"])),
    max_size=20,
)
unknown = st.sampled_from(["keep", "drop"])


def frame(rows):
    return pd.DataFrame(
        {
            "material_id": [f"mp-{index}" for index in range(len(rows))],
            "formula": ["X"] * len(rows),
            "chemsys": [row[3] for row in rows],
            "nsites": [row[2] for row in rows],
            "nelements": [row[3].count("-") + 1 for row in rows],
            "band_gap": np.array([row[0] for row in rows], dtype=float),
            "energy_above_hull": np.array([row[1] for row in rows], dtype=float),
        }
    )


@given(materials, unknown, unknown, st.sets(st.integers(0, 19)))
def test_counts_add_up_and_every_candidate_passes(rows, unknown_gap, unknown_hull, known):
    chosen = FilterSettings(
        unknown_band_gap=unknown_gap, unknown_energy_above_hull=unknown_hull, excluded_elements=("Sr",)
    )
    ids = {f"mp-{index}" for index in known}
    kept, counts = filter_candidates(frame(rows), chosen, ids)
    assert counts.remaining[0] == len(rows)
    assert (counts.remaining.shift(1)[1:] - counts.removed[1:] == counts.remaining[1:]).all()
    assert counts.remaining.iloc[-1] == len(kept)
    assert (counts.unknown_removed <= counts.removed).all()
    assert not set(kept.material_id) & ids
    assert not any("Sr" in system for system in kept.chemsys)
    assert (kept.band_gap.dropna() <= 0.05).all()
    assert unknown_gap == "keep" or kept.band_gap.notna().all()
    assert unknown_hull == "keep" or kept.energy_above_hull.notna().all()


@given(materials)
def test_without_limits_everything_passes(rows):
    kept, counts = filter_candidates(frame(rows), FilterSettings(**OPEN))
    assert kept.material_id.tolist() == [f"mp-{index}" for index in range(len(rows))]
    assert counts.removed.sum() == 0


def test_unknown_values_are_counted_as_kept_or_removed():
    rows = frame([(None, 0.0, 2, "Al"), (0.0, None, 2, "Al"), (3.0, 0.0, 2, "Al")])
    _, kept = filter_candidates(rows, FilterSettings())
    _, dropped = filter_candidates(rows, FilterSettings(unknown_band_gap="drop"))
    gap = kept[kept["filter"] == "band gap"].iloc[0]
    assert (gap.removed, gap.unknown_removed, gap.unknown_kept) == (1, 0, 1)
    gap = dropped[dropped["filter"] == "band gap"].iloc[0]
    assert (gap.removed, gap.unknown_removed, gap.unknown_kept) == (2, 1, 0)


def test_limits_are_inclusive_also_for_numbers_stored_with_32_bits():
    rows = frame([(0.0, float(np.float32(0.1)), 200, "Al")])
    assert float(np.float32(0.1)) > 0.1
    kept, _ = filter_candidates(rows, FilterSettings(energy_above_hull_max_ev_per_atom=0.1, n_sites_max=200))
    assert len(kept) == 1


def test_allowed_elements_are_the_only_ones():
    rows = frame([(0.0, 0.0, 1, "Al"), (0.0, 0.0, 1, "Al-O"), (0.0, 0.0, 1, "O-Sr-V")])
    kept, _ = filter_candidates(rows, FilterSettings(allowed_elements=("O", "Al")))
    assert kept.chemsys.tolist() == ["Al", "Al-O"]
