"""Files that are followed: read without blocking, up to a size limit, and checked for changes."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class UnusableError(Exception):
    """A file or variable holds no usable credential. The message names it and says why, without quoting it."""


class Signature(NamedTuple):
    """Identifies a file's state: a different signature means that it was replaced or written to."""

    mtime_ns: int
    size: int
    inode: int


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file when it was read, or of a variable, which has no signature."""

    raw: bytes = field(repr=False)
    """At most one byte more than allowed."""
    signature: Signature | None = None
    world_readable: bool = False


def signature(path: Path) -> Signature | None:
    """The file's current signature; None when it cannot be read."""
    try:
        return _signature(path.stat())
    except (OSError, ValueError):
        return None


def read(path: Path, limit: int) -> Content:
    """Read up to `limit` bytes, and one more if there are more.

    Raises:
        UnusableError: the file cannot be read, or is not a regular one.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnusableError(f"{path}: is not a regular file")
            return Content(file.read(limit + 1), _signature(status), bool(status.st_mode & stat.S_IROTH))
    except FileNotFoundError:
        problem = "no such file"
    except IsADirectoryError:
        problem = "is a directory"
    except (OSError, ValueError) as error:
        problem = f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
    raise UnusableError(f"{path}: {problem}")


def _signature(status: os.stat_result) -> Signature:
    return Signature(status.st_mtime_ns, status.st_size, status.st_ino)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a named pipe would wait for its writer
