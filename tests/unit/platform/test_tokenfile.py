import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.platform.files import UnusableError
from exporter.platform.tokenfile import TokenFile, _is_mount_point
from support.scripted import MARKER, everything_in

OLD, NEW = f"rt-{MARKER}-old", f"rt-{MARKER}-new"
WANTED = "expected a refresh token in a file that can be replaced when it is rotated"

CRASH = """
import os, sys
from pathlib import Path
from pydantic import SecretStr
from exporter.platform.tokenfile import TokenFile

path, step = Path(sys.argv[1]), sys.argv[2]
file = TokenFile.open(path, lock=True)
name, _, count = step.partition("#")
real, left = getattr(os, name), [int(count or 1)]

def crash(*arguments, **named):
    left[0] -= 1
    if left[0] == 0:
        os._exit(9)
    return real(*arguments, **named)

setattr(os, name, crash)
file.replace(SecretStr(sys.argv[3]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a refresh token."""
    path = tmp_path / "operator"
    path.touch(mode=0o600)
    path.write_text(OLD + "\n")
    return path


def opened(path: Path, *, lock: bool = True) -> TokenFile:
    return TokenFile.open(path, lock=lock)


def refusal(path: Path) -> str:
    """The error message about the file."""
    with pytest.raises(UnusableError) as caught:
        TokenFile.open(path, lock=True)
    assert MARKER not in everything_in(caught.value)
    return str(caught.value)


def token_in(file: TokenFile) -> str:
    return file.read().get_secret_value()


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ("unlink", OLD),
        ("open", OLD),
        ("fdopen", OLD),
        ("fchmod", OLD),
        ("fsync#1", NEW),
        ("rename", OLD),  # not a step: the old one is never taken away first
        ("replace", NEW),
        ("fsync#2", NEW),
    ],
)
def test_a_crash_leaves_a_whole_token(path: Path, step: str, found: str) -> None:
    """After a kill at any step of a rotation the file has a complete token: the new one, once that is complete."""
    done = subprocess.run([sys.executable, "-c", CRASH, path, step, NEW], check=False)
    assert done.returncode == (0 if step == "rename" else 9)
    assert path.read_text() in {OLD + "\n", NEW + "\n"}
    file = opened(path)
    assert token_in(file) == (NEW if step == "rename" else found)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in path.parent.iterdir()} == {"operator", ".operator.lock"}
    file.release()


@pytest.mark.parametrize("left", ["", NEW[:5], NEW, "\n", f"{NEW}\n{NEW}\n", "é\n"])
def test_what_a_crash_left_half_written_is_dropped(path: Path, left: str) -> None:
    """Only a complete line is a token."""
    (path.parent / ".operator.new").write_text(left)
    assert token_in(opened(path)) == OLD
    assert not (path.parent / ".operator.new").exists()


def test_what_a_crash_left_before_somebody_signed_in_is_dropped(path: Path) -> None:
    """A token that somebody put into the file after a crash is the newer one."""
    left = path.parent / ".operator.new"
    left.write_text(NEW + "\n")
    os.utime(left, ns=(1, path.stat().st_mtime_ns - 1))
    assert token_in(opened(path)) == OLD
    assert not left.exists()


def test_who_only_looks_changes_nothing(path: Path) -> None:
    """Without the lock nothing is recovered, because a rotation may be under way."""
    left = path.parent / ".operator.new"
    left.write_text(NEW + "\n")
    file = opened(path, lock=False)
    assert token_in(file) == OLD
    assert {each.name for each in path.parent.iterdir()} == {"operator", ".operator.new"}
    file.release()


def test_a_file_has_one_user(path: Path, tmp_path: Path) -> None:
    """A second opener is refused, by whatever path, until the first releases the file; reading is allowed."""
    first = opened(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    words = f"{path}: this refresh token is already in use; two exporters sharing one would sign each other out"
    for each in (path, link):
        assert refusal(each) == words
        opened(each, lock=False).release()
    first.replace(SecretStr(NEW))
    assert "already in use" in refusal(path)
    first.release()
    first.release()
    opened(path).release()


def test_another_process_is_refused(path: Path) -> None:
    """The lock works between processes, and ends with its process, however that ends."""
    code = (
        "import os, sys; from pathlib import Path; from exporter.platform.tokenfile import TokenFile;"
        "print(TokenFile.open(Path(sys.argv[1]), lock=True), flush=True); os._exit(9)"
    )
    mine = opened(path)
    there = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert "already in use" in there.stderr
    mine.release()
    there = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert there.stdout == f"{path}\n"
    opened(path).release()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (f"{OLD} {OLD}".encode(), "contains no token"),
        (f"{OLD}\n{OLD}".encode(), "contains no token"),
        (b"\xff\xfe", "contains no token"),
        (b"x" * 40_000, "contains no token"),
        (f"sk-{MARKER}".encode(), "contains an API key; configure it as token_file"),
        (f"dk-{MARKER}".encode(), "contains an API key; configure it as token_file"),
    ],
)
def test_a_file_without_a_refresh_token_is_refused(path: Path, content: bytes, problem: str) -> None:
    """The error names the file and the problem, quotes nothing, and the lock is released."""
    path.write_bytes(content)
    for _ in range(2):
        assert refusal(path) == f"{path}: {problem}; {WANTED}"


def test_what_is_no_file_is_refused(path: Path, tmp_path: Path) -> None:
    """A missing file, a folder, a pipe, circular links and impossible names have their own messages; nothing blocks."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for each, problem in [
        (tmp_path / "none", "no such file"),
        (tmp_path / "no" / "folder", "no such file"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / ("x" * 300), "cannot be read (File name too long)"),
        (tmp_path, "is a directory"),
        (tmp_path / "a", "cannot be"),
    ]:
        assert refusal(each).startswith(f"{each}: {problem}")
    assert path.exists()


def test_a_folder_that_cannot_be_written_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted Secret is read-only: a session there would be lost with its first rotation."""
    monkeypatch.setattr(os, "access", lambda folder, mode: not (folder == path.parent and mode == os.W_OK))
    assert refusal(path) == f"{path.parent}: the folder is not writable; {WANTED}"


def test_a_lock_that_cannot_be_made_is_refused(path: Path) -> None:
    """If the lock file cannot be made, the file is refused, because a second process would not be noticed."""
    (path.parent / ".operator.lock").symlink_to(path.parent / "elsewhere")
    assert refusal(path).startswith(f"{path.parent / '.operator.lock'}: cannot be written (")


def test_a_mounted_file_is_known_by_its_mount(path: Path) -> None:
    """A file that is mounted on its own is refused, because it cannot be replaced."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert _is_mount_point(Path(mounts[-1]))
    assert not _is_mount_point(path)


def test_a_failed_write_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writing fails, the error is raised, the old token is unchanged and no other file is left."""
    file = opened(path)
    for name in ("open", "fdopen", "fchmod", "fsync"):
        with monkeypatch.context() as broken:

            def fail(*_: object, **__: object) -> None:
                raise OSError(28, "No space left on device")

            broken.setattr(os, name, fail)
            with pytest.raises(OSError, match="No space left on device"):
                file.replace(SecretStr(NEW))
        assert token_in(file) == OLD
        assert {each.name for each in path.parent.iterdir()} == {"operator", ".operator.lock"}


def test_others_changes_are_told_from_ours(path: Path) -> None:
    """Neither our own rotation nor a touch counts as replaced; another token does, once."""
    file = opened(path)
    file.replace(SecretStr(NEW))
    assert not file.touched()
    os.utime(path, (1, 1))
    assert file.touched()
    assert not file.replaced_by_others()
    path.write_text("rt-other\n")
    assert file.replaced_by_others()
    assert not file.replaced_by_others()


def test_a_file_that_was_deleted_is_made_again(path: Path) -> None:
    """If the file was removed, the new token is written anyway, readable only by its owner."""
    file = opened(path)
    path.unlink()
    file.replace(SecretStr(NEW))
    assert path.read_text() == NEW + "\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_may_read_is_warned_about(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The mode is kept, but a world-readable file causes a warning."""
    path.chmod(0o644)
    opened(path)
    assert [record.getMessage() for record in caplog.records] == [
        "refresh token file is readable by every user of this machine"
    ]
    assert MARKER not in caplog.text


def test_a_rotated_token_may_look_like_a_key(path: Path) -> None:
    """A refresh token from a rotation may look like a key; a key that somebody put there is a mistake."""
    rotated = f"sk-{MARKER}-rotated"
    file = opened(path)
    file.replace(SecretStr(rotated))
    assert token_in(file) == rotated
    file.release()
    for lock in (True, False):
        again = opened(path, lock=lock)
        assert token_in(again) == rotated
        again.release()
    path.write_text(f"sk-{MARKER}-other")
    assert "contains an API key" in refusal(path)


def test_a_crash_during_such_a_rotation_loses_nothing(path: Path) -> None:
    """An interrupted rotation to a token that looks like a key is finished at the next start too."""
    rotated = f"dk-{MARKER}-rotated"
    crashed = subprocess.run([sys.executable, "-c", CRASH, path, "replace", rotated], check=False)
    assert crashed.returncode == 9
    assert token_in(opened(path)) == rotated
