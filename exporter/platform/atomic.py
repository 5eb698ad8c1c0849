"""Replaces a file completely or not at all, also when the machine crashes in between."""

import os
import stat
from contextlib import suppress
from pathlib import Path


def replacement_of(path: Path) -> Path:
    """The file next to `path`, called `.NAME.new`, that holds the new content until it replaces the old one."""
    return path.with_name(f".{path.name}.new")


def replace_text(path: Path, text: str) -> None:
    """Write to a second file, sync it, and rename it: at every moment one of the two holds a complete text.

    Mode and owner stay the same.

    Args:
        path: the file; it is created if there is none.
        text: the new content, in ASCII.

    Raises:
        OSError: it could not be written; the file is unchanged.
    """
    replacement = replacement_of(path)
    replacement.unlink(missing_ok=True)
    try:
        descriptor = os.open(replacement, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            _keep_mode(path, file.fileno())
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        replacement.replace(path)
    except BaseException:
        replacement.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _keep_mode(path: Path, descriptor: int) -> None:
    with suppress(FileNotFoundError):
        status = path.stat()
        with suppress(PermissionError):  # the owner was another user: the new file is ours
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o777)


def _sync(folder: Path) -> None:
    """Make a rename in this folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
