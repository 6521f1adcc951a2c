"""From classified candidates to planned DFT jobs: where the choice of materials and the limits of an engine meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import dft_validation
from dft_validation.results.outcomes import JobStatus
from mat2spec.tables.columns import Column
from screening.choose.selection import BY_CONSENSUS, Selection, SelectionPool, drawable, select_from

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals

# Jobs that the engine refuses, and how many of them end the search for others.
_REFUSED = (JobStatus.UNSUPPORTED_ELEMENT, JobStatus.TOO_LARGE, JobStatus.INVALID_STRUCTURE)
_MOST_REFUSED = 1000


def choose_and_plan(
    pool: SelectionPool,
    rows_at: Callable[[NDArray[np.integer]], pd.DataFrame],
    crystals_of: Callable[[pd.Series], Crystals],
    settings: ScreenSettings,
) -> tuple[Selection, pd.DataFrame]:
    """Selection and jobs; the place of a ranked material that the engine refuses goes to the next one.

    Parameters
    ----------
    pool
        Of the candidates of a run.
    rows_at
        Gives some rows of its classifications.
    crystals_of
        Gives the crystals of some candidates by identifier.
    settings
        Of the run.
    """
    refused: set[str] = set()
    while True:
        selection = select_from(pool, rows_at, settings.selection, settings.classify.rank_by, refused)
        picks = selection.picks
        jobs = dft_validation.plan_jobs(picks, crystals_of(picks[Column.MATERIAL_ID]), settings.dft)
        is_ranked = jobs[Column.SELECTED_AS] == BY_CONSENSUS
        hopeless = set(jobs.loc[is_ranked & jobs[Column.STATUS].isin(_REFUSED), Column.MATERIAL_ID])
        if not hopeless or len(refused) >= _MOST_REFUSED:
            return selection, jobs
        refused |= hopeless


def could_be_chosen(candidates: pd.DataFrame, classifications: pd.DataFrame, settings: ScreenSettings) -> list[str]:
    """The candidates that DFT could have been asked about: the population of its figures."""
    computable = dft_validation.computable_elements(settings.dft)
    return drawable(candidates, settings.selection, classifications, computable)
