"""Registry of DFT engines, selected by the name in the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mat2spec.crystals.composition import symbols
from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER

if TYPE_CHECKING:
    from dft_validation.engines.base import Engine
    from dft_validation.settings import DftSettings

_REGISTERED: dict[str, Engine] = {}


def register_engine(engine: Engine) -> None:
    """Add an engine, or replace the one with the same name."""
    _REGISTERED[engine.name] = engine


def _engines() -> dict[str, Engine]:
    from dft_validation.engines.elk import ElkEngine
    from dft_validation.engines.gpaw import GpawEngine
    from dft_validation.engines.vasp import VaspEngine

    built_in: list[Engine] = [GpawEngine(), ElkEngine(), VaspEngine()]
    return {**{engine.name: engine for engine in built_in}, **_REGISTERED}


def get_engine(name: str) -> Engine:
    """The engine of that name.

    Raises
    ------
    ValueError
        If there is no such engine.
    """
    engines = _engines()
    if name not in engines:
        raise ValueError(f"Unknown DFT engine '{name}'; choose from {', '.join(sorted(engines))}.")
    return engines[name]


def choose_engine(settings: DftSettings, atomic_numbers: list[int]) -> Engine:
    """The engine for a crystal of these elements: the fallback if the first one lacks any of them.

    Raises
    ------
    ValueError
        If an engine named in the settings does not exist.
    """
    engine = get_engine(settings.engine)
    if not settings.fallback_engine or not engine.find_unsupported(atomic_numbers):
        return engine
    fallback = get_engine(settings.fallback_engine)
    return engine if fallback.find_unsupported(atomic_numbers) else fallback


def computable_elements(settings: DftSettings) -> list[frozenset[str]] | None:
    """Symbols of the elements that the engine can compute, and those of the fallback where one is set.

    None if an engine is not known here, as for a run of another installation.
    """
    names = [settings.engine, *([settings.fallback_engine] if settings.fallback_engine else [])]
    engines = _engines()
    if any(name not in engines for name in names):
        return None
    return [_elements_of(engines[name]) for name in names]


def _elements_of(engine: Engine) -> frozenset[str]:
    numbers = range(1, MAX_ATOMIC_NUMBER + 1)
    return frozenset(symbols()[number] for number in numbers if not engine.find_unsupported([number]))


def available_engines() -> dict[str, str]:
    """Every engine, with an empty string if it can run here, else a sentence that says why not."""
    return {name: engine.unavailable_reason() for name, engine in sorted(_engines().items())}
