"""Content of files, compressed or not, and words for archives that hold several."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path
from typing import IO, cast

# The crystals of a larger text do not fit into memory as Python objects.
MAX_FILE_BYTES = 1_000_000_000
COMPRESSED_ENDINGS = {".gz", ".bz2", ".xz"}
_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"
# What else files begin with that hold others; tar names itself behind its first name.
_ARCHIVES = {b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7z", b"\x28\xb5\x2f\xfd": "zstd", b"Rar!": "rar"}
_TAR_PLACE = slice(257, 262)


class UnpackingError(ValueError):
    """A file is too large, cut off, or an archive; the message says which."""


def uncompressed_name(file: Path) -> Path:
    """The name without the ending of a compressed file."""
    return file.with_suffix("") if file.suffix.lower() in COMPRESSED_ENDINGS else file


def unpacked(file: Path) -> bytes:
    """Content of a file, unpacked if gzip, bzip2 or xz has compressed it, whatever its name.

    Raises
    ------
    UnpackingError
        If it is incomplete, larger than 1 GB, or an archive.
    OSError
        If it cannot be read.
    """
    with file.open("rb") as start:
        magic = start.read(6)
    try:
        with _open(file, magic) as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, ValueError) as error:
        raise UnpackingError("The compressed file is damaged or incomplete; obtain it again.") from error
    except OSError as error:
        if error.errno is not None or not magic.startswith(_BZIP2):
            raise
        raise UnpackingError("The compressed file is damaged or incomplete; obtain it again.") from error
    if len(content) > MAX_FILE_BYTES:
        raise UnpackingError("The file is larger than 1 GB; split it.")
    kind = next((name for begin, name in _ARCHIVES.items() if content.startswith(begin)), "")
    if kind or content[_TAR_PLACE] == b"ustar":
        raise UnpackingError(f"This is an archive ({kind or 'tar'}); unpack it and give the files in it.")
    return content


def _open(file: Path, magic: bytes) -> IO[bytes]:
    if magic.startswith(_GZIP):
        return cast("IO[bytes]", gzip.open(file))
    if magic.startswith(_BZIP2):
        return cast("IO[bytes]", bz2.open(file))
    return cast("IO[bytes]", lzma.open(file)) if magic == _XZ else file.open("rb")
