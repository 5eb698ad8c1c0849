"""The file of a refresh token: read by one process alone, and replaced whole or not at all.

No text made here holds any part of a token.
"""

import fcntl
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from exporter.log import event
from exporter.platform.wire import MAX_TOKEN, is_token
from exporter.redact import kind_of

WANTED: Final = "expected a refresh token in a file that can be replaced when it is rotated"

_log = logging.getLogger(__name__)


class TokenFile:
    """One refresh token's file. Mutable: it follows its file.

    Beside it lie two others: `.NAME.lock`, which is held as long as the file is, since the file itself is replaced at
    every rotation; and, while a token is being written, `.NAME.new`.
    """

    def __init__(self, path: Path, lock: int | None) -> None:
        self.path = path
        self._lock = lock
        self._known: SecretStr | None = None
        self._signature = _signature(path)

    @classmethod
    def open(cls, path: Path, *, lock: bool) -> "TokenFile | str":
        """Take the file `path`, or say what is wrong with it.

        Args:
            path: a link stays one when its target is replaced.
            lock: whether to keep everybody else from taking it, and to finish a rotation that a crash has cut off.
        """
        try:
            path = path.resolve()
        except (OSError, RuntimeError):  # the latter for links in a circle, up to Python 3.12
            return f"{path}: cannot be found; {WANTED}"
        problem = _unusable(path)
        if problem is not None:
            return f"{problem}; {WANTED}"
        descriptor = _locked(path) if lock else None
        if isinstance(descriptor, str):
            return descriptor
        if lock:
            _recover(path)
        file = cls(path, descriptor)
        found = file.read()
        if isinstance(found, str):
            file.release()
            return f"{found}; {WANTED}"
        return file

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> SecretStr | str:
        """The token that is in the file now, or what is wrong with it, in words."""
        self._signature = _signature(self.path)
        found = _read(self.path)
        if isinstance(found, SecretStr):
            self._known = found
        return found

    def touched(self) -> bool:
        """Whether the file looks other than when it was last read or written."""
        return _signature(self.path) != self._signature

    def replaced(self) -> bool:
        """Whether somebody else has put another token there since."""
        if not self.touched():
            return False
        known, found = self._known, self.read()
        return isinstance(found, SecretStr) and found != known

    def replace(self, token: SecretStr) -> str | None:
        """Put `token` into the file, whole and synced, with the mode and owner it had; or say why not."""
        try:
            _write(self.path, token)
        except OSError as error:
            return error.strerror or "no reason given"
        self._known, self._signature = token, _signature(self.path)
        return None

    def release(self) -> None:
        """Let go of the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _unusable(path: Path) -> str | None:
    """What keeps the file from being replaced."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return f"{path}: no such file"
    except (OSError, ValueError) as error:
        return f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'no path'})"
    if not os.access(path.parent, os.W_OK):
        return f"{path.parent}: the folder is not writable"
    if _is_mount_point(path):
        return f"{path}: is mounted by itself; mount its folder instead"
    if mode & stat.S_IROTH:
        event(_log, logging.WARNING, "refresh token file is readable by every user of this machine", file=str(path))
    return None


def _is_mount_point(path: Path) -> bool:
    """Whether something is mounted on the file, as containers do with single files: it cannot be renamed over then."""
    with suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        return str(path).replace(" ", r"\040") in {line.split()[4] for line in mounts.splitlines()}
    return False


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a named pipe would wait for its writer


def _read(path: Path) -> SecretStr | str:
    raw = _bytes(path)
    if isinstance(raw, str):
        return raw
    text = raw.decode("ascii", "replace").strip()
    if not text:
        return f"{path}: is empty"
    if kind_of(text) not in (None, "jwt"):
        return f"{path}: contains an API key; configure it as token_file"
    return SecretStr(text) if is_token(text) else f"{path}: holds no token"


def _bytes(path: Path) -> bytes | str:
    try:
        with open(path, "rb", opener=_open) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return file.read(MAX_TOKEN + 2) if regular else f"{path}: is not a regular file"
    except FileNotFoundError:
        return f"{path}: no such file"
    except IsADirectoryError:
        return f"{path}: is a directory"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"


def _locked(path: Path) -> int | str:
    """A descriptor whose lock ends with this process at the latest."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        return f"{lock}: cannot be written ({error.strerror}); {WANTED}"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return f"{path}: this refresh token is in use already, and two that share one sign each other out"
    return descriptor


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _write(path: Path, token: SecretStr) -> None:
    """Write beside the file, sync, and rename: at every moment one of the two files holds a whole token."""
    fresh = _fresh(path)
    fresh.unlink(missing_ok=True)
    try:
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            _keep_mode(path, file.fileno())
            file.write(token.get_secret_value() + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _keep_mode(path: Path, descriptor: int) -> None:
    with suppress(FileNotFoundError):
        status = path.stat()
        with suppress(PermissionError):  # the owner is another user: then the file becomes ours
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o777)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _recover(path: Path) -> None:
    """Finish or drop what a crash has left beside the file.

    A whole token that is younger than the file is the newest there is: the crash came just before the rename.
    """
    fresh = _fresh(path)
    with suppress(OSError):
        raw, younger = fresh.read_bytes(), fresh.stat().st_mtime_ns >= path.stat().st_mtime_ns
        if younger and raw.endswith(b"\n") and isinstance(_read(fresh), SecretStr):
            fresh.replace(path)
            event(_log, logging.WARNING, "finished the rotation that a crash had cut off", file=str(path))
        else:
            fresh.unlink()
