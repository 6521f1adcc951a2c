"""`mat2spec report`: the page of a run, in the browser."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING, Any

from flows.commands.dft import READ_AFTER_DFT, refuse_foreign_classifiers, settings_of, write_report
from flows.commands.exits import hear_interrupts
from flows.commands.predict import crystals_of, page_content
from flows.commands.tables import find_run
from flows.commands.terminal import console
from flows.serve.page_server import HOST, page_server
from flows.settings_layers import load_settings
from flows.stages import Inputs, draw_page, load_predictors, picks_to_show, spectra_of
from mat2spec.prediction import predict_with_models, with_notes
from mat2spec.settings import is_external
from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_path
from screening.report.comparison import compare_runs
from screening.report.result_page import OF_ALL_PICKS, PAGE_FILE, page_data, with_upload
from screening.runs.record import RunError
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flows.settings import ScreenSettings
    from mat2spec.crystals.readers import ReadStructure
    from screening.runs.folder import RunFolder

# What the page needs of a run besides its own tables, for a page with another run beside it.
_OF_THE_PAGE = (TableName.PICKS, TableName.PRECISION_RECALL)


def make_report(run_name: str | None, results_dir: Path | None, *, open_it: bool, against: str | None = None) -> None:
    """Print where the page of a run is; write it where there is none or the run is not finished; open it if asked to."""
    folder = results_dir or load_settings().results_dir
    run = find_run(run_name, folder)
    path = run.path / PAGE_FILE
    if against is not None:
        path = _write_beside(run, find_run(against, folder))
    elif path.exists() and run.is_finished:
        console.print(f"Page: {path}", soft_wrap=True)
    else:
        path = write_report(str(run.path), None)
    if open_it and not webbrowser.open(path.resolve().as_uri()):
        console.print("No browser could be opened here; open the file in one.")


def _write_beside(run: RunFolder, other: RunFolder) -> Path:
    """Write the page of a run with another run beside it."""
    missing = [str(name) for name in _OF_THE_PAGE if not run.has_table(name)]
    if missing:
        raise RunError(f"The run {run.run_id} has no table {' and '.join(missing)} yet; finish it first.")
    path = run.path / f"report-against-{other.run_id}.html"
    page = _page_of(run, other)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    console.print(f"Page: {path}", soft_wrap=True)
    return path


def _page_of(run: RunFolder, other: RunFolder | None = None) -> str:
    inputs, settings = Inputs(run, READ_AFTER_DFT), settings_of(run)
    shown = picks_to_show(inputs, inputs.read(TableName.PICKS, OF_ALL_PICKS))
    return draw_page(
        inputs,
        settings,
        None,
        inputs.find(TableName.DFT_RESULTS),
        inputs.read(TableName.PRECISION_RECALL),
        inputs.find(TableName.THRESHOLD_CURVE),
        comparison=None if other is None else compare_runs(other, run),
        other_predictions=None if other is None else spectra_of(other, shown[Column.MATERIAL_ID]),
    )


def serve_report(run_name: str | None, results_dir: Path | None, *, open_it: bool, port: int) -> None:
    """Serve the page of a run to this machine, with a place for files whose spectra are to be seen; until Ctrl-C."""
    hear_interrupts()
    folder = results_dir or load_settings().results_dir
    run = find_run(run_name, folder)
    if not all(run.has_table(name) for name in _OF_THE_PAGE):
        raise RunError(f"The run {run.run_id} has no picks yet; finish it first, or name another.")
    settings = settings_of(run)
    refuse_foreign_classifiers(settings)
    models = [model for model in settings.prediction.models if not is_external(model)]
    models = models or load_settings().prediction.models
    settings = settings.model_copy(
        update={"prediction": settings.prediction.model_copy(update={"models": models, "weights_dir": None})}
    )
    load_predictors(settings.prediction)  # before a person waits for the first answer
    with page_server(with_upload(_page_of(run)), lambda read: predict_upload(read, settings), port) as server:
        url = f"http://{HOST}:{server.server_port}/"
        console.print(f"Page: {url}   (this machine only; Ctrl-C stops)", soft_wrap=True, highlight=False)
        if open_it:
            webbrowser.open(url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("The server has stopped.")


def predict_upload(read: Sequence[ReadStructure], settings: ScreenSettings) -> dict[str, Any]:
    """What a page takes up of crystals that were sent: their picks, spectra, structures, and what failed."""
    crystals = crystals_of(read)
    notes = [entry.note for entry in read if entry.structure is not None]
    made = predict_with_models(load_predictors(settings.prediction), crystals)
    made = [with_notes(prediction, notes) for prediction in made]
    data = page_data(page_content(crystals, made, settings))
    known = {pick["material_id"] for pick in data["picks"]}
    failed = [f"{entry.name}: {entry.reason}" for entry in read if entry.structure is None]
    failed += [
        f"{name}: {reason}"
        for name, reason in zip(crystals.material_ids, made[0].reason, strict=True)
        if name not in known
    ]
    return {**data, "failed": failed}
