"""The file of a refresh token: used by only one process, and replaced completely or not at all.

No message made here contains any part of a token.
"""

import fcntl
import logging
import os
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from exporter.log import event
from exporter.platform.account import MAX_TOKEN, is_token
from exporter.platform.files import UnusableError, read, signature
from exporter.redact import kind_of

WANTED: Final = "expected a refresh token in a file that can be replaced when it is rotated"

_log = logging.getLogger(__name__)


class TokenFile:
    """One refresh token's file. Mutable: it follows its file.

    There are two more files next to it: `.NAME.lock`, which is locked in place of the file itself, since that is
    replaced at every rotation; and, while a token is being written, `.NAME.new`.
    """

    def __init__(self, path: Path, lock: int | None) -> None:
        self.path = path
        self._lock = lock
        self._known: SecretStr | None = None
        self._signature = signature(path)

    @classmethod
    def open(cls, path: Path, *, lock: bool) -> "TokenFile":
        """Open the file `path`.

        Args:
            path: of the file; if it is a symbolic link, the link's target is replaced.
            lock: whether to keep other processes from opening it, and to finish a rotation that a crash interrupted.

        Raises:
            UnusableError: the file cannot be read or replaced, or another process has it.
        """
        try:
            path = path.resolve()
        except (OSError, RuntimeError):  # the latter for links in a circle, up to Python 3.12
            raise UnusableError(f"{path}: cannot be found; {WANTED}") from None
        _check_replaceable(path)
        descriptor = _locked(path) if lock else None
        if lock:
            _recover(path)
        file = cls(path, descriptor)
        try:
            file.read()
        except UnusableError as error:
            file.release()
            raise UnusableError(f"{error}; {WANTED}") from None
        return file

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> SecretStr:
        """The token that is in the file now.

        Raises:
            UnusableError: there is none.
        """
        self._signature = signature(self.path)
        self._known = _read(self.path)
        return self._known

    def touched(self) -> bool:
        """Whether the file appears to have changed since it was last read or written."""
        return signature(self.path) != self._signature

    def replaced(self) -> bool:
        """Whether somebody else has put another token there since then."""
        if not self.touched():
            return False
        known = self._known
        try:
            return self.read() != known
        except UnusableError:
            return False

    def replace(self, token: SecretStr) -> None:
        """Replace the file's content by `token`, completely and synced, keeping mode and owner.

        Raises:
            OSError: it could not be written; the file is unchanged.
        """
        if self._lock is not None:
            _note_ours(self._lock, token)
        _write(self.path, token)
        self._known, self._signature = token, signature(self.path)

    def release(self) -> None:
        """Release the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _check_replaceable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UnusableError(f"{path}: no such file; {WANTED}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise UnusableError(f"{path}: cannot be read ({why}); {WANTED}") from None
    if not os.access(path.parent, os.W_OK):
        raise UnusableError(f"{path.parent}: the folder is not writable; {WANTED}")
    if _is_mount_point(path):
        raise UnusableError(f"{path}: is mounted as a single file; mount its folder instead; {WANTED}")
    if mode & stat.S_IROTH:
        event(_log, logging.WARNING, "refresh token file is readable by every user of this machine", file=str(path))


def _is_mount_point(path: Path) -> bool:
    """Whether something is mounted on the file, as containers do with single files: renaming over it then fails."""
    with suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        return str(path).replace(" ", r"\040") in {line.split()[4] for line in mounts.splitlines()}
    return False


def _read(path: Path, *, ours: bool = False) -> SecretStr:
    """Read the token; errors are raised outside the frames that hold the text.

    Args:
        path: the file.
        ours: whether only this program writes it.
    """
    try:
        return _parsed(path, ours=ours)
    except UnusableError as error:
        problem = str(error)
    raise UnusableError(problem)


def _parsed(path: Path, *, ours: bool) -> SecretStr:
    text = read(path, MAX_TOKEN + 1).raw.decode("ascii", "replace").strip()
    if not text:
        raise UnusableError(f"{path}: is empty")
    if kind_of(text) not in (None, "jwt") and not ours and not _is_ours(path, text):
        raise UnusableError(f"{path}: contains an API key; configure it as token_file")
    if not is_token(text):
        raise UnusableError(f"{path}: contains no token")
    return SecretStr(text)


def _locked(path: Path) -> int:
    """A file descriptor with a lock, which ends with this process at the latest."""
    lock = _lock_of(path)
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UnusableError(f"{lock}: cannot be written ({error.strerror}); {WANTED}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        problem = "this refresh token is already in use; two exporters sharing one would sign each other out"
        raise UnusableError(f"{path}: {problem}") from None
    return descriptor


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _note_ours(lock: int, token: SecretStr) -> None:
    """Keep a digest of a token from a rotation, because some of them look like a key that somebody put there."""
    os.pwrite(lock, sha256(token.get_secret_value().encode()).hexdigest().encode(), 0)


def _is_ours(path: Path, text: str) -> bool:
    with suppress(OSError):
        return _lock_of(path).read_text(encoding="ascii", errors="replace") == sha256(text.encode()).hexdigest()
    return False


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _write(path: Path, token: SecretStr) -> None:
    """Write to a second file, sync it, and rename it: at every moment one of the two holds a complete token."""
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
        with suppress(PermissionError):  # the owner was another user: the new file is ours
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o777)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _recover(path: Path) -> None:
    """Finish or remove what a crash has left behind.

    A complete token that is newer than the file is the current one: the crash came just before the rename.
    """
    fresh = _fresh(path)
    with suppress(OSError):
        if _is_newer(fresh, path):
            fresh.replace(path)
            event(_log, logging.WARNING, "finished a token rotation that a crash had interrupted", file=str(path))
        else:
            fresh.unlink()


def _is_newer(fresh: Path, path: Path) -> bool:
    """Whether `fresh` holds a complete token and is not older than `path`; raises OSError."""
    whole, younger = fresh.read_bytes().endswith(b"\n"), fresh.stat().st_mtime_ns >= path.stat().st_mtime_ns
    with suppress(UnusableError):
        _read(fresh, ours=True)
        return whole and younger
    return False
