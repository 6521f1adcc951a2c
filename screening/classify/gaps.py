"""Gaps in the valence band and metals, read from electronic densities of states.

The same classifier serves predicted and computed spectra. The rule is the one that agrees with
the public labels of gapped metals: a run of bins with a DOS below a threshold, of a minimum width,
whose last bin lies in a window below E_F. The run may be open at the bottom of the grid.

`has_vb_gap` follows that rule literally: a spectrum that is below the threshold everywhere counts as gapped. As an artefact
of a low DOS, this is flagged in `below_threshold_everywhere` and excluded from `is_gapped_metal`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid
from mat2spec.tables.columns import Column
from screening.classify.gapped_metals import gapped_metal_cut, gapped_metal_probability
from screening.classify.metals import MetalEvidence, judge_metals
from screening.classify.properties import count_bins, dos_above_efermi, dos_at_efermi, first_bin_above_zero
from screening.settings import GapSettings

# Spectra classified together: limits the working arrays to about 30 MB.
BLOCK_SIZE = 8192

CLASSIFICATION_COLUMNS = (
    Column.IS_GAPPED_METAL,
    Column.HAS_VB_GAP,
    Column.IS_METAL,
    Column.GAPPED_METAL_CONFIDENCE,
    Column.GAP_CONFIDENCE,
    Column.METAL_CONFIDENCE,
    Column.METAL_BY,
    Column.GAP_TOP_EV,
    Column.GAP_BOTTOM_EV,
    Column.GAP_WIDTH_EV,
    Column.GAP_FLOOR,
    Column.GAP_OPEN_AT_BOTTOM,
    Column.BELOW_THRESHOLD_EVERYWHERE,
    Column.DOS_AT_EFERMI,
    Column.DOS_ABOVE_EFERMI,
    Column.HAS_GAP_ABOVE,
    Column.GAP_ABOVE_CONFIDENCE,
    Column.GAP_ABOVE_BOTTOM_EV,
    Column.GAP_ABOVE_TOP_EV,
    Column.GAP_ABOVE_WIDTH_EV,
    Column.GAP_ABOVE_OPEN_AT_TOP,
    Column.GAPPED_METAL_TYPE,
    Column.GAPPED_METAL_TYPE_CONFIDENCE,
    Column.TRANSPARENCY_WINDOW_EV,
    Column.IS_TRANSPARENT,
    Column.PARTLY_FILLED_BAND_EV,
    Column.DOS_GAP_EV,
)
_DESCRIPTION_OF_A_GAP = (
    Column.GAP_TOP_EV,
    Column.GAP_BOTTOM_EV,
    Column.GAP_WIDTH_EV,
    Column.GAP_FLOOR,
    Column.GAP_OPEN_AT_BOTTOM,
)
# Bins in which bands may be missing count as filled, so that no gap is read from them: far above any threshold, states/eV.
_FILLED = 1e6
# Above the photon energy of visible light.
VIOLET_EV = 3.1


class _Rule(NamedTuple):
    """Gap settings in bins of one grid."""

    min_bins: int
    first_top: int
    last_top: int


class _Runs(NamedTuple):
    """The reported run of sub-threshold bins of each spectrum, as bin indices; length 0 where there is none."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    length: NDArray[np.int64]
    qualifies: NDArray[np.bool_]


def classify_spectra(
    spectra: NDArray[np.floating],
    grid: SpectralGrid = EDOS_GRID,
    settings: GapSettings | None = None,
    n_sites: NDArray[np.integer] | None = None,
    n_primitive: NDArray[np.integer] | None = None,
    evidence: MetalEvidence | None = None,
) -> pd.DataFrame:
    """Find gaps in the valence band, metals, and materials that are both.

    Spectra are classified per primitive cell, so that the class of a crystal does not depend on the choice of cell. A
    computed spectrum is that of a gapped metal if it has such a gap and is that of a metal. In a predicted one, which is
    smooth, a gap is seldom quite empty: there the probability of a gapped metal must reach `GapSettings.min_probability`.

    Parameters
    ----------
    spectra
        Densities of states, shape (n, grid.size), states/eV per given cell, zero at E_F (metal) or VBM.
    grid
        The grid of the spectra.
    settings
        Thresholds and windows; the defaults if not given.
    n_sites
        Sites per given cell, shape (n,); needed for thresholds per atom.
    n_primitive
        Sites per primitive cell, shape (n,); the given cells count as primitive if None.
    evidence
        What is known beside predicted spectra of whether they belong to metals; for computed ones None.

    Returns
    -------
    pandas.DataFrame
        One row per spectrum, in the same order; null for spectra with NaN below `GapSettings.metal_window_ev`, while bins
        that are NaN above it count as filled. The gap columns describe the widest run that
        satisfies the rule, or else the widest one below the threshold that begins below E_F (null if there is none); for a
        predicted gapped metal without so empty a gap, at the lowest of the thresholds behind the confidence at which the
        rule holds. Energies are bin edges, so that width = top - bottom; DOS values are per primitive cell.
        `gap_confidence` is the share (0 to 1) of the thresholds around the set one at which the rule holds, weighted by
        proximity, and so is `metal_confidence` without evidence; with it, the probability of a metal
        (`screening.classify.metals.judge_metals`). `gapped_metal_confidence` is their product or, with evidence, the
        probability that `screening.classify.gapped_metals` makes of it, zero for a known non-metal.

    Raises
    ------
    ValueError
        If the spectra are not on the grid, if the rule cannot be met on it, or if thresholds are per
        atom or cells not primitive and `n_sites` is missing or has another length.
    """
    settings = settings or GapSettings()
    grid.check(spectra)
    rule = _rule_in_bins(grid, settings)
    share, atoms = _cells(len(spectra), settings, n_sites, n_primitive)
    blocks = []
    for start in range(0, max(len(spectra), 1), BLOCK_SIZE):
        rows = slice(start, start + BLOCK_SIZE)
        per_primitive_cell = np.asarray(spectra[rows], dtype=np.float64) * share[rows, None]
        known = None if evidence is None else evidence.take(rows)
        blocks.append(_classify_block(per_primitive_cell, grid, settings, rule, atoms[rows], known))
    return pd.concat(blocks, ignore_index=True) if len(blocks) > 1 else blocks[0]


def gap_threshold_factors(
    spectra: NDArray[np.floating],
    settings: GapSettings | None = None,
    n_sites: NDArray[np.integer] | None = None,
    n_primitive: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """How near each spectrum is to a gap: factor on the DOS threshold above which the rule's width is met, shape (n,).

    Parameters as of `classify_spectra`, on `EDOS_GRID`. Below one there is such a stretch; unlike `gap_confidence` it tells
    spectra apart that are far from a gap. NaN without a spectrum.
    """
    settings = settings or GapSettings()
    rule = _rule_in_bins(EDOS_GRID, settings)
    share, atoms = _cells(len(spectra), settings, n_sites, n_primitive)
    values = np.asarray(spectra, dtype=np.float64) * share[:, None]
    return np.asarray(_highest_of_stretches(values, rule).min(axis=1) / (settings.dos_threshold * atoms))


def _rule_in_bins(grid: SpectralGrid, settings: GapSettings) -> _Rule:
    """Translate widths and windows in eV to bins; the last bin of a gap must overlap the window."""
    min_bins = count_bins(settings.min_width_ev, grid)
    in_window = (grid.edges[:-1] <= settings.top_max_ev) & (grid.edges[1:] >= settings.top_min_ev)
    tops = np.flatnonzero(in_window)
    if len(tops) == 0 or tops[-1] + 1 < min_bins:
        raise ValueError(
            f"No gap of {settings.min_width_ev:g} eV can end between {settings.top_min_ev:g} and "
            f"{settings.top_max_ev:g} eV on the grid '{grid.name}' that begins at {grid.edges[0]:.2f} eV; "
            "lower min_width_ev or move the window."
        )
    return _Rule(min_bins, int(tops[0]), int(tops[-1]))


def _cells(
    n_spectra: int,
    settings: GapSettings,
    n_sites: NDArray[np.integer] | None,
    n_primitive: NDArray[np.integer] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Primitive cells per given cell as a fraction, and the atoms that a threshold is multiplied by, each shape (n,)."""
    ones = np.ones(n_spectra)
    if n_sites is None and n_primitive is None and not settings.per_atom:
        return ones, ones
    if n_sites is None or len(n_sites) != n_spectra:
        given = "none" if n_sites is None else str(len(n_sites))
        raise ValueError(
            f"Thresholds per atom or primitive cell need the number of sites of each of the {n_spectra} spectra, "
            f"{given} given; pass n_sites."
        )
    primitive = np.asarray(n_sites if n_primitive is None else n_primitive, dtype=np.float64)
    share = np.divide(primitive, n_sites, out=np.ones(n_spectra), where=np.greater(n_sites, 0))
    return share, primitive if settings.per_atom else ones


def _classify_block(
    values: NDArray[np.float64],
    grid: SpectralGrid,
    settings: GapSettings,
    rule: _Rule,
    atoms: NDArray[np.float64],
    evidence: MetalEvidence | None,
) -> pd.DataFrame:
    needed = grid.edges[:-1] < settings.metal_window_ev
    usable = np.asarray(np.isfinite(values[:, needed]).all(axis=1), dtype=np.bool_)
    values = np.where(usable[:, None], np.nan_to_num(values, nan=_FILLED), 0.0)
    gap = _gap_columns(values, grid, rule, settings, settings.dos_threshold * atoms)
    metal = _metal_columns(values, grid, settings, settings.metal_dos_threshold * atoms, evidence)
    mirrored = replace(grid, first_center=-grid.last_center, last_center=-grid.first_center)
    upper = _gap_columns(values[:, ::-1], mirrored, rule, settings, settings.dos_threshold * atoms)
    columns: dict[str, NDArray] = gap | metal | _above_columns(upper)
    everywhere = columns[Column.BELOW_THRESHOLD_EVERYWHERE]
    columns[Column.IS_GAPPED_METAL] = columns[Column.HAS_VB_GAP] & columns[Column.IS_METAL] & ~everywhere
    score = columns[Column.GAP_CONFIDENCE] * columns[Column.METAL_CONFIDENCE]
    columns[Column.GAPPED_METAL_CONFIDENCE] = score
    if evidence is not None:
        probability = gapped_metal_probability(score, evidence.models) * (columns[Column.METAL_CONFIDENCE] > 0)
        cut = gapped_metal_cut(settings)
        columns[Column.GAPPED_METAL_CONFIDENCE] = probability
        columns[Column.IS_GAPPED_METAL] = (probability >= cut) & columns[Column.IS_METAL] & ~everywhere
        columns |= _filled_gaps(columns, values, grid, rule, settings, atoms)
    columns |= _type_columns(columns)
    columns[Column.PARTLY_FILLED_BAND_EV] = np.where(
        columns[Column.IS_METAL], _partly_filled_band(values, grid, settings.dos_threshold * atoms), np.nan
    )
    columns[Column.DOS_GAP_EV] = np.where(columns[Column.IS_METAL], np.nan, columns[Column.DOS_GAP_EV])
    frame = pd.DataFrame({name: _nullable(columns[name], usable) for name in CLASSIFICATION_COLUMNS})
    for flag, energy in (
        (Column.GAP_OPEN_AT_BOTTOM, Column.GAP_TOP_EV),
        (Column.GAP_ABOVE_OPEN_AT_TOP, Column.GAP_ABOVE_TOP_EV),
        (Column.IS_TRANSPARENT, Column.TRANSPARENCY_WINDOW_EV),
    ):
        frame[flag] = frame[flag].mask(frame[energy].isna())
    return frame


def _filled_gaps(
    columns: dict[str, NDArray],
    values: NDArray[np.float64],
    grid: SpectralGrid,
    rule: _Rule,
    settings: GapSettings,
    atoms: NDArray[np.float64],
) -> dict[str, NDArray]:
    """The columns that describe a gap, for gapped metals without an empty one: at the lowest threshold that shows it."""
    described = {str(name): columns[name].copy() for name in _DESCRIPTION_OF_A_GAP}
    is_open = columns[Column.IS_GAPPED_METAL] & ~columns[Column.HAS_VB_GAP]
    for factor in _threshold_factors(settings)[0]:
        rows = np.flatnonzero(is_open)
        if factor <= 1 or not len(rows):
            continue
        found = _gaps_below(values[rows], grid, rule, settings.dos_threshold * factor * atoms[rows])
        holds = found[Column.HAS_VB_GAP] & ~found[Column.BELOW_THRESHOLD_EVERYWHERE]
        for name, column in described.items():
            column[rows[holds]] = found[name][holds]
        is_open[rows[holds]] = False
    return described


def _above_columns(mirrored: dict[str, NDArray]) -> dict[str, NDArray]:
    """Columns of the gap above E_F from those of the gap below it in the mirrored spectrum."""
    return {
        Column.HAS_GAP_ABOVE: mirrored[Column.HAS_VB_GAP],
        Column.GAP_ABOVE_CONFIDENCE: mirrored[Column.GAP_CONFIDENCE],
        Column.GAP_ABOVE_BOTTOM_EV: -mirrored[Column.GAP_TOP_EV],
        Column.GAP_ABOVE_TOP_EV: -mirrored[Column.GAP_BOTTOM_EV],
        Column.GAP_ABOVE_WIDTH_EV: mirrored[Column.GAP_WIDTH_EV],
        Column.GAP_ABOVE_OPEN_AT_TOP: mirrored[Column.GAP_OPEN_AT_BOTTOM],
    }


def _type_columns(columns: dict[str, NDArray]) -> dict[str, NDArray]:
    """On which side of E_F a metal has its gap, and its transparency window."""
    below = columns[Column.IS_GAPPED_METAL]
    everywhere = columns[Column.BELOW_THRESHOLD_EVERYWHERE]
    above = columns[Column.HAS_GAP_ABOVE] & columns[Column.IS_METAL] & ~everywhere
    both = below & above
    kind = np.select([both, below, above], ["n+p", "n", "p"], "").astype(object)
    kind[kind == ""] = None
    below_confidence, above_confidence = columns[Column.GAP_CONFIDENCE], columns[Column.GAP_ABOVE_CONFIDENCE]
    of_the_gap = np.select(
        [both, below, above],
        [np.minimum(below_confidence, above_confidence), below_confidence, above_confidence],
        np.nan,
    )
    window = np.minimum(-columns[Column.GAP_BOTTOM_EV], columns[Column.GAP_ABOVE_TOP_EV])
    window = np.where(both, window, np.nan)
    return {
        Column.GAPPED_METAL_TYPE: kind,
        Column.GAPPED_METAL_TYPE_CONFIDENCE: of_the_gap * columns[Column.METAL_CONFIDENCE],
        Column.TRANSPARENCY_WINDOW_EV: window,
        Column.IS_TRANSPARENT: window > VIOLET_EV,
    }


def _partly_filled_band(
    values: NDArray[np.float64], grid: SpectralGrid, threshold: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Width of the run at or above the threshold that contains zero; NaN where there is none or it leaves the grid."""
    below, above = values < threshold[:, None], first_bin_above_zero(grid)
    lower, upper = below[:, :above][:, ::-1], below[:, above:]
    closed = lower.any(axis=1) & upper.any(axis=1) & ~lower[:, 0] & ~upper[:, 0]
    n_bins = lower.argmax(axis=1) + upper.argmax(axis=1)
    return np.where(closed, n_bins * grid.width, np.nan)


def _empty_stretch(
    values: NDArray[np.float64], grid: SpectralGrid, settings: GapSettings, threshold: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Width of the widest run below the threshold of a metal that begins in the metal's window."""
    first = first_bin_above_zero(grid)
    filled = values[:, first:] >= threshold[:, None]
    bins = np.arange(filled.shape[1])
    next_filled = np.minimum.accumulate(np.where(filled, bins, len(bins))[:, ::-1], axis=1)[:, ::-1]
    lengths = (next_filled - bins)[:, : count_bins(settings.metal_window_ev, grid)]
    return np.maximum(lengths.max(axis=1), count_bins(settings.metal_stretch_ev, grid)) * grid.width


def _gap_columns(
    values: NDArray[np.float64],
    grid: SpectralGrid,
    rule: _Rule,
    settings: GapSettings,
    threshold: NDArray[np.float64],
) -> dict[str, NDArray]:
    confidence = _gap_confidence(values, rule, threshold, settings)
    return {**_gaps_below(values, grid, rule, threshold), Column.GAP_CONFIDENCE: confidence}


def _gaps_below(
    values: NDArray[np.float64], grid: SpectralGrid, rule: _Rule, threshold: NDArray[np.float64]
) -> dict[str, NDArray]:
    below = np.asarray(values < threshold[:, None], dtype=np.bool_)
    everywhere = np.asarray(below.all(axis=1), dtype=np.bool_)
    runs = _find_runs(below, rule, first_bin_above_zero(grid))
    found = np.greater(runs.length, 0)
    return {
        Column.HAS_VB_GAP: runs.qualifies | everywhere,
        Column.BELOW_THRESHOLD_EVERYWHERE: everywhere,
        Column.GAP_OPEN_AT_BOTTOM: found & np.equal(runs.start, 0),
        Column.GAP_TOP_EV: np.where(found, grid.edges[runs.end + 1], np.nan),
        Column.GAP_BOTTOM_EV: np.where(found, grid.edges[runs.start], np.nan),
        Column.GAP_WIDTH_EV: np.where(found, runs.length * grid.width, np.nan),
        Column.GAP_FLOOR: np.where(found, _lowest_in_run(values, runs), np.nan),
    }


def _metal_columns(
    values: NDArray[np.float64],
    grid: SpectralGrid,
    settings: GapSettings,
    threshold: NDArray[np.float64],
    evidence: MetalEvidence | None,
) -> dict[str, NDArray]:
    above_efermi = dos_above_efermi(values, grid, settings.metal_window_ev, settings.metal_stretch_ev)
    factors, weights = _threshold_factors(settings)
    by_spectrum = np.asarray(above_efermi >= threshold, dtype=np.bool_)
    gaps = np.where(by_spectrum, np.nan, _empty_stretch(values, grid, settings, threshold))
    share = (above_efermi[:, None] >= threshold[:, None] * factors) @ weights
    verdict = judge_metals(by_spectrum, share, above_efermi / threshold, np.nan_to_num(gaps), evidence)
    return {
        Column.IS_METAL: verdict.is_metal,
        Column.DOS_AT_EFERMI: dos_at_efermi(values, grid),
        Column.DOS_ABOVE_EFERMI: above_efermi,
        Column.METAL_CONFIDENCE: verdict.probability,
        Column.METAL_BY: verdict.decided_by,
        Column.DOS_GAP_EV: gaps,
    }


def _nullable(values: NDArray, known: NDArray[np.bool_]) -> pd.Series:
    """Flags, numbers or words, with null where unknown."""
    kinds = {np.dtype(np.bool_): "boolean", np.dtype(object): "object"}
    series = pd.Series(values, dtype=kinds.get(values.dtype, "float64"))
    return series.mask(~known)


def _find_runs(below: NDArray[np.bool_], rule: _Rule, first_above_zero: int) -> _Runs:
    """Pick the run to report for each spectrum.

    A run is identified by its last bin. Its length there is the distance to the last bin that is not
    below the threshold.
    """
    bins = np.arange(below.shape[1], dtype=np.int16)
    length = bins - np.maximum.accumulate(np.where(below, np.int16(-1), bins), axis=1)
    is_end = below & ~np.pad(below[:, 1:], ((0, 0), (0, 1)))
    starts_below_zero = bins - length + 1 < first_above_zero
    qualifies = is_end & (length >= rule.min_bins)
    qualifies[:, : rule.first_top] = False
    qualifies[:, rule.last_top + 1 :] = False
    # Runs that satisfy the rule come first, then wider ones, then those nearer to E_F.
    score = np.where(is_end & starts_below_zero, length, 0) + qualifies * np.int16(below.shape[1])
    end = below.shape[1] - 1 - np.argmax(score[:, ::-1], axis=1)
    rows = np.arange(len(below))
    reported = np.where(score[rows, end] > 0, length[rows, end], 0).astype(np.int64)
    return _Runs(np.maximum(end - reported + 1, 0), end, reported, qualifies[rows, end])


def _lowest_in_run(values: NDArray[np.float64], runs: _Runs) -> NDArray[np.float64]:
    bins = np.arange(values.shape[1])
    inside = (bins >= runs.start[:, None]) & (bins <= runs.end[:, None])
    return np.where(inside, values, np.inf).min(axis=1)


def _threshold_factors(settings: GapSettings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors on a threshold, and weights that fall linearly to zero at `confidence_factor` and sum to one."""
    distance = np.linspace(-1.0, 1.0, settings.confidence_steps + 2)[1:-1]
    weights = 1.0 - np.abs(distance)
    return settings.confidence_factor**distance, weights / weights.sum()


def _gap_confidence(
    values: NDArray[np.float64], rule: _Rule, threshold: NDArray[np.float64], settings: GapSettings
) -> NDArray[np.float64]:
    """Weighted share of thresholds at which some run satisfies the rule.

    A run that ends at bin j exists for thresholds above the highest of the last `min_bins` bins
    but not above the bin after j, so only the bins of the window matter.
    """
    highest = _highest_of_stretches(values, rule)
    after = values[:, rule.last_top + 2 - highest.shape[1] : rule.last_top + 2]
    confidence = np.zeros(len(values))
    for factor, weight in zip(*_threshold_factors(settings), strict=True):
        tried = (threshold * factor)[:, None]
        confidence += weight * ((highest < tried) & (tried <= after)).any(axis=1)
    return confidence


def _highest_of_stretches(values: NDArray[np.float64], rule: _Rule) -> NDArray[np.float64]:
    """Highest bin of each stretch of the rule's width that ends in the window, by its last bin: shape (n, ends)."""
    first = max(rule.first_top, rule.min_bins - 1)
    reach = values[:, first - rule.min_bins + 1 : rule.last_top + 1]
    return np.asarray(sliding_window_view(reach, rule.min_bins, axis=1).max(axis=-1))
