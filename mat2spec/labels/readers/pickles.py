"""Reading untrusted pickles without executing their code.

A pickle is a program that may call any function by its name. Here the few names that pickled numpy
arrays and pymatgen structures need are mapped to `Record`, which stores its arguments and does
nothing, so neither numpy's nor pymatgen's own unpickling runs, whatever their version. Any
other name stops the reading.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from mat2spec.labels.labelled import DataError
from mat2spec.tables.files import explain_os_error

_NUMPY = frozenset({"_reconstruct", "scalar", "_frombuffer", "ndarray", "dtype"})
_PYMATGEN = frozenset(
    {
        "Structure",
        "IStructure",
        "Lattice",
        "PeriodicSite",
        "Composition",
        "Element",
        "Species",
        "Specie",
        "DummySpecies",
    }
)
# Fewer entries than this are harmless; larger pickles are not scanned opcode by opcode, which takes seconds.
_FEW_ENTRIES = 100_000
_SMALL_PICKLE_BYTES = 4_000_000
_MOST_ENTRIES = 2**60
_PLAIN_KINDS = frozenset("fiub")


class PickleRefusedError(DataError):
    """A pickle is damaged or requests more than data; the message gives the requested name."""


class Record:
    """Pickled data of one object: its constructor arguments and its state."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *arguments: Any) -> Self:
        """Keep the arguments instead of using them."""
        record = super().__new__(cls)
        record.arguments = arguments
        return record

    def __init__(self, *arguments: Any) -> None:
        """Do nothing: `__new__` has stored the arguments."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @property
    def fields(self) -> dict[str, Any]:
        """Attributes of the object; both parts of a pair (dictionary, slots)."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}


def read_pickle(path: Path) -> Any:
    """Content of a pickle of lists, numbers, numpy arrays and pymatgen structures.

    Arrays and structures are `Record`; see `as_list` and `as_array`.

    Raises
    ------
    PickleRefusedError
        If the file is damaged or requests anything else, e.g. a function call.
    """
    with path.open("rb") as stream:
        try:
            size = path.stat().st_size
            _check_memo(stream, size, path)
            content = _Reader(stream, path).load()
        except PickleRefusedError:
            raise
        except MemoryError as error:
            raise PickleRefusedError(
                f"There is not enough memory to read the pickle {path} of {size:,} bytes."
            ) from error
        except OSError as error:
            raise explain_os_error(error, path, "read") from error
        # A damaged pickle can fail in any way, and must never pass for data.
        except Exception as error:
            raise PickleRefusedError(f"The pickle {path} is damaged ({error}); get it again.") from error
    if _count_entries(content) > max(size, _FEW_ENTRIES):
        raise PickleRefusedError(
            f"The pickle {path} of {size:,} bytes unpacks to more entries than it has bytes: it is designed to fill memory. "
            "None of it was used; get the file from the authors of the archive."
        )
    return content


def _check_memo(stream: IO[bytes], size: int, path: Path) -> None:
    """Refuse a small pickle with memo indices beyond its size in bytes: they are indices into an array."""
    if size <= _SMALL_PICKLE_BYTES:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in {"PUT", "LONG_BINPUT"} and int(argument or 0) > size:
                raise PickleRefusedError(
                    f"The pickle {path} of {size:,} bytes requests {int(argument or 0):,} memo entries: it is designed to fill memory."
                )
    stream.seek(0)


def _count_entries(content: Any) -> int:
    """Number of entries met in a walk through the content, with repetitions."""
    counts: dict[int, int] = {}
    stack: list[tuple[Any, bool]] = [(content, False)]
    while stack:
        value, is_open = stack.pop()
        inner = _inside(value)
        if is_open:
            counts[id(value)] = min(1 + sum(counts.get(id(entry), 1) for entry in inner), _MOST_ENTRIES)
        elif inner and id(value) not in counts:
            counts[id(value)] = 1  # also for cycles, which a list of crystals never has
            stack.append((value, True))
            stack += [(entry, False) for entry in inner if isinstance(entry, list | tuple | dict | Record)]
    return counts.get(id(content), 1)


def _inside(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, Record):
        return [value.arguments, value.state]
    return value if isinstance(value, list | tuple) else ()


def as_list(value: Any) -> list[Any]:
    """Members of a list, a tuple, a dictionary with the keys 0, 1, ... or an array of objects.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if isinstance(value, dict):
        if set(value) != set(range(len(value))):
            raise ValueError("a list was expected, not a dictionary")
        return [value[index] for index in range(len(value))]
    if isinstance(value, Record) and isinstance(value.state, tuple) and isinstance(value.state[-1], list):
        return value.state[-1]
    if isinstance(value, Record):
        return as_array(value).tolist()
    if not isinstance(value, list | tuple):
        raise TypeError(f"a list was expected, not {type(value).__name__}")
    return list(value)


def as_array(value: Any) -> NDArray[Any]:
    """Numbers of a list or of a pickled array.

    Raises
    ------
    TypeError, ValueError
        If they are not plain numbers.
    """
    if not isinstance(value, Record):
        return np.asarray(value if isinstance(value, int | float) else [as_array(item) for item in as_list(value)])
    name = type(value).__name__
    if name == "_reconstruct":
        _, shape, kind, is_fortran, content = value.state
        return _from_bytes(content, kind, shape, "F" if is_fortran else "C")
    if name == "_frombuffer":
        content, kind, shape, order = value.arguments
        return _from_bytes(content, kind, shape, order)
    if name == "scalar":
        return _from_bytes(value.arguments[1], value.arguments[0], (), "C")
    raise ValueError(f"numbers were expected, not {name}")


def _from_bytes(content: Any, kind: Record, shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    code = str(kind.arguments[0])
    if code[:1] not in _PLAIN_KINDS or not isinstance(content, bytes | bytearray | memoryview):
        raise ValueError(f"plain numbers were expected, not an array of kind {code!r}")
    byte_order: Any = kind.state[1] if isinstance(kind.state, tuple) else "="
    return np.frombuffer(content, dtype=np.dtype(code).newbyteorder(byte_order)).reshape(shape, order=order)


class _Reader(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], path: Path) -> None:
        super().__init__(stream)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        package = module.partition(".")[0]
        if (package == "numpy" and name in _NUMPY) or (package == "pymatgen" and name in _PYMATGEN):
            return type(name, (Record,), {})
        if (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        if module in {"copyreg", "copy_reg"} and name == "_reconstructor":
            return _reconstructor
        if module in {"builtins", "__builtin__"} and name == "object":
            return object
        raise PickleRefusedError(
            f"The pickle {self._path} requests '{module}.{name}', which a list of crystals or numbers never needs: it may "
            "execute code. None of it was used; get the file from the authors of the archive."
        )

    def persistent_load(self, pid: Any) -> Any:
        raise PickleRefusedError(
            f"The pickle {self._path} refers to objects outside itself ({pid}); it cannot be read."
        )


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Used by old protocols to write bytes; no other encoding is needed."""
    if encoding not in {"latin1", "latin-1"}:
        raise ValueError(f"bytes written with the encoding {encoding!r}")
    return text.encode("latin-1")


def _reconstructor(kind: type, base: type, state: Any) -> Record:
    """Used by protocols 0 and 1 to make objects."""
    if not issubclass(kind, Record) or base is not object or state is not None:
        raise ValueError(f"an object of {kind.__name__} built from {base.__name__}")
    return kind()
