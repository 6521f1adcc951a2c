"""The folder of a training: it belongs to one process at a time, and what it resumes from is whole or refused."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout
from lightning_fabric.utilities.rank_zero import rank_zero_only

from mat2spec.faults import is_out_of_memory
from mat2spec.tables.files import atomic_file, explain_os_error, remove_unfinished_files
from mat2spec.tables.locks import take_lock

LOCK_FILE = ".training.lock"


class TrainingError(RuntimeError):
    """A training cannot begin or continue; the message says why."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder until the block has ended.

    With several devices the first process holds the folder for all.

    Raises
    ------
    TrainingError
        If another process trains there.
    TableError
        If the folder cannot be written.
    """
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    try:
        lock = take_lock(folder / LOCK_FILE)
    except Timeout as error:
        raise TrainingError(
            f"Another process trains in {folder}. Wait until it ends, or give this training another folder (--folder)."
        ) from error
    try:
        remove_unfinished_files(folder)
        yield
    finally:
        lock.release()


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises
    ------
    TableError
        If it cannot be written, e.g. on a full disk.
    """
    # Torch says of a full disk neither that it is full nor which file it was.
    content = io.BytesIO()
    torch.save(dict(state), content)
    with atomic_file(path) as file:
        file.write(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote.

    Raises
    ------
    TrainingError
        If the file is damaged or something else.
    TableError
        If it cannot be read.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise explain_os_error(error, path, "read") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise _not_a_checkpoint(path, type(error).__name__) from error
    if not isinstance(state, dict):
        raise _not_a_checkpoint(path, type(state).__name__)
    return state


def _not_a_checkpoint(path: Path, what: str) -> TrainingError:
    return TrainingError(
        f"The checkpoint {path} is damaged or not a checkpoint of this package ({what}); remove it to train from the start."
    )
