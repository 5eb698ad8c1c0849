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
from exporter.platform.atomic import replace_text, replacement_of
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
        self._token: SecretStr | None = None
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
        descriptor = _acquire_lock(path) if lock else None
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
        self._token = _read(self.path)
        return self._token

    def touched(self) -> bool:
        """Whether the file appears to have changed since it was last read or written."""
        return signature(self.path) != self._signature

    def replaced_by_others(self) -> bool:
        """Whether somebody else has put another token there since then."""
        if not self.touched():
            return False
        before = self._token
        try:
            return self.read() != before
        except UnusableError:
            return False

    def replace(self, token: SecretStr) -> None:
        """Replace the file's content by `token`, completely and synced, keeping mode and owner.

        Raises:
            OSError: it could not be written; the file is unchanged.
        """
        if self._lock is not None:
            _note_rotated(self._lock, token)
        replace_text(self.path, token.get_secret_value() + "\n")
        self._token, self._signature = token, signature(self.path)

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


def _read(path: Path, *, may_look_like_key: bool = False) -> SecretStr:
    """Read the token; errors are raised outside the frames that hold the text.

    Args:
        path: the file.
        may_look_like_key: whether only this program writes the file, so that nobody can have put an API key there.
    """
    try:
        return _parsed(path, may_look_like_key=may_look_like_key)
    except UnusableError as error:
        problem = str(error)
    raise UnusableError(problem)


def _parsed(path: Path, *, may_look_like_key: bool) -> SecretStr:
    text = read(path, MAX_TOKEN + 1).raw.decode("ascii", "replace").strip()
    if not text:
        raise UnusableError(f"{path}: is empty")
    looks_like_key = kind_of(text) not in (None, "jwt")
    if looks_like_key and not may_look_like_key and not _was_rotated(path, text):
        raise UnusableError(f"{path}: contains an API key; configure it as token_file")
    if not is_token(text):
        raise UnusableError(f"{path}: contains no token")
    return SecretStr(text)


def _acquire_lock(path: Path) -> int:
    """Lock the file; the lock ends with the returned descriptor, and so with this process at the latest."""
    lock = _lock_file(path)
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


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _note_rotated(lock: int, token: SecretStr) -> None:
    """Keep a digest of a token from a rotation, because some of them look like a key that somebody put there."""
    os.pwrite(lock, sha256(token.get_secret_value().encode()).hexdigest().encode(), 0)


def _was_rotated(path: Path, text: str) -> bool:
    """Whether this token came from the last rotation."""
    with suppress(OSError):
        return _lock_file(path).read_text(encoding="ascii", errors="replace") == sha256(text.encode()).hexdigest()
    return False


def _recover(path: Path) -> None:
    """Finish or remove what a crash has left behind.

    A complete token that is newer than the file is the current one: the crash came just before the rename.
    """
    left = replacement_of(path)
    with suppress(OSError):
        if _is_newer(left, path):
            left.replace(path)
            event(_log, logging.WARNING, "finished a token rotation that a crash had interrupted", file=str(path))
        else:
            left.unlink()


def _is_newer(left: Path, path: Path) -> bool:
    """Whether `left` holds a complete token and is not older than `path`; raises OSError."""
    complete, newer = left.read_bytes().endswith(b"\n"), left.stat().st_mtime_ns >= path.stat().st_mtime_ns
    with suppress(UnusableError):
        _read(left, may_look_like_key=True)
        return complete and newer
    return False
