import base64
import json
import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.errors import ConfigError, Unauthorized
from exporter.platform.credentials import MAX_BYTES, Credential

MARKER = "MARKERmarkerMARKER"
KEY = f"sk-{MARKER}"


def jwt(payload: object) -> str:
    return f"eyJhbGciOiJIUzI1NiJ9.{base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip('=')}.c2ln"


def token_of(credential: Credential) -> str:
    """What is sent now."""
    return credential.current().get_secret_value()


def clock() -> float:
    return 1000.0


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write the credential file as a rotation does: a new file renamed over the old one."""

    def write(content: str | bytes) -> Path:
        fresh, path = tmp_path / "fresh", tmp_path / "token"
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        fresh.chmod(0o600)
        return fresh.rename(path)

    return write


Write = Callable[[str | bytes], Path]


@pytest.mark.parametrize(
    ("content", "kind", "expires_at"),
    [
        (KEY, "integration", None),
        (f" {KEY}\r\n\n", "integration", None),
        (f"dk-{MARKER}\n", "device", None),
        (jwt({"exp": 1739200000}), "jwt", 1739200000.0),
        (jwt({"exp": 1739200000.5}), "jwt", 1739200000.5),
    ],
)
def test_a_credential_is_what_its_prefix_says(write: Write, content: str, kind: str, expires_at: float | None) -> None:
    """White space around a credential is ignored; its prefix and `exp` give kind and expiry."""
    credential = Credential.from_file(write(content), clock=clock)
    assert token_of(credential) == content.strip()
    assert (credential.kind, credential.expires_at, credential.loaded_at) == (kind, expires_at, 1000.0)


@pytest.mark.parametrize(
    "token",
    [
        "eyJ",
        "eyJ.!!!.x",
        "eyJ.bm90anNvbg.x",
        "eyJ.W10.x",
        jwt({}),
        jwt({"exp": None}),
        jwt({"exp": "1739200000"}),
        jwt({"exp": True}),
        jwt({"exp": -1}),
        jwt({"exp": 10**400}),
        jwt({"exp": float("nan")}),
        jwt({"exp": float("inf")}),
        jwt([]),
        "eyJ." + base64.urlsafe_b64encode(b"[" * 20_000).decode() + ".x",
        "eyJ." + base64.urlsafe_b64encode(b'{"exp":' + b"9" * 5000 + b"}").decode() + ".x",
        "eyJ." + base64.urlsafe_b64encode(b'{"exp": "\xff"}').decode() + ".x",
    ],
)
def test_an_expiry_that_cannot_be_read_is_unknown(write: Write, token: str) -> None:
    """If the claims of a JWT cannot be read, its expiry is unknown and the token is used."""
    credential = Credential.from_file(write(token + "x"), clock=clock)
    assert credential.expires_at is None
    assert token_of(credential) == token + "x"


MISTAKES = [
    (b"", "is empty; expected one sk- key, dk- key or user JWT"),
    (b" \n\t", "is empty; expected one sk- key, dk- key or user JWT"),
    (b"sk-" + MARKER.encode() + b"x" * MAX_BYTES, "is larger than 64 KiB; "),
    (f"sk-{MARKER}é".encode(), "contains bytes outside of ASCII; "),
    (b"\xff\xfe" + KEY.encode(), "contains bytes outside of ASCII; "),
    (f"{KEY} {KEY}".encode(), "contains white space or control characters inside; "),
    (f"{KEY}\n{KEY}".encode(), "contains white space or control characters inside; "),
    (f"{KEY}\0".encode(), "contains white space or control characters inside; "),
    (f"{KEY}\x7f{KEY}".encode(), "contains white space or control characters inside; "),
    (f"ak-{MARKER}".encode(), "contains an agent key, which the platform never accepts for REST requests; "),
    (MARKER.encode(), "contains no known kind of credential; "),
    (f"SK-{MARKER}".encode(), "contains no known kind of credential; "),
    (b"sk-", "contains no known kind of credential; "),
]


@pytest.mark.parametrize(("content", "expected"), MISTAKES)
def test_a_file_without_a_credential_is_a_configuration_mistake(write: Write, content: bytes, expected: str) -> None:
    """The mistake is one line that names the file and quotes nothing of it."""
    path = write(content)
    with pytest.raises(ConfigError) as caught:
        Credential.from_file(path, clock=clock)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"{path}: {expected}")
    assert "\n" not in mistake
    assert MARKER not in _everything_in(caught.value)


@pytest.mark.parametrize(("content", "expected"), MISTAKES)
def test_a_variable_without_a_credential_is_a_configuration_mistake(content: bytes, expected: str) -> None:
    """The same rules hold for the environment."""
    environ = {"TOKEN": content.decode("utf-8", "surrogateescape")}
    with pytest.raises(ConfigError) as caught:
        Credential.from_environment("TOKEN", environ, clock=clock)
    assert str(caught.value).startswith(f"TOKEN: {expected}")
    assert MARKER not in _everything_in(caught.value)


def test_a_variable_that_is_not_set_is_a_configuration_mistake() -> None:
    """An unset variable is named."""
    with pytest.raises(ConfigError, match=r"^TOKEN: the environment variable is not set; "):
        Credential.from_environment("TOKEN", {}, clock=clock)


def test_what_is_no_readable_file_is_a_configuration_mistake(tmp_path: Path) -> None:
    """A missing file, a directory, a pipe and a device have their own messages; none of them blocks."""
    os.mkfifo(tmp_path / "pipe")
    for path, problem in [
        (tmp_path / "none", "no such file; "),
        (tmp_path, "is a directory; "),
        (tmp_path / "pipe", "is not a regular file; "),
        (Path("/dev/null"), "is not a regular file; "),
        (tmp_path / ("x" * 300), "cannot be read (File name too long); "),
        (tmp_path / "a\0b", "cannot be read (ValueError); "),
    ]:
        with pytest.raises(ConfigError) as caught:
            Credential.from_file(path, clock=clock)
        assert str(caught.value).startswith(f"{path}: {problem}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_a_configuration_mistake(write: Write) -> None:
    """A missing permission has a clear message."""
    path = write(KEY)
    path.chmod(0)
    with pytest.raises(ConfigError, match=r"cannot be read \(Permission denied\)"):
        Credential.from_file(path, clock=clock)


def test_a_file_that_changed_is_read_again(write: Write) -> None:
    """A rotation takes effect at the next request, even with a change of kind, and updates the load time."""
    now = [1.0]
    credential = Credential.from_file(write(KEY), clock=lambda: now[0])
    now[0] = 2.0
    assert (token_of(credential), credential.loaded_at) == (KEY, 1.0)
    write(jwt({"exp": 5}))
    assert token_of(credential) == jwt({"exp": 5})
    assert (credential.kind, credential.expires_at, credential.loaded_at) == ("jwt", 5.0, 2.0)


@pytest.mark.parametrize("change", ["mtime_ns", "size", "inode"])
def test_each_part_of_the_signature_tells_a_change(tmp_path: Path, change: str) -> None:
    """A change of time, size or inode is enough: rotations may keep times, copies keep inodes."""
    path = tmp_path / "token"
    path.write_text("sk-aaaa")
    os.utime(path, ns=(1, 1))
    credential = Credential.from_file(path, clock=clock)
    if change == "inode":
        other = tmp_path / "other"
        other.write_text("sk-bbbb")
        other.rename(path)
    else:
        path.write_text("sk-bbbb" if change == "mtime_ns" else "sk-bbbbb")
    os.utime(path, ns=(1, 2 if change == "mtime_ns" else 1))
    assert token_of(credential).startswith("sk-bbbb")


def test_a_kubernetes_rotation_is_seen(tmp_path: Path) -> None:
    """A mounted Secret changes by a link to another directory; the file that the links lead to is used."""
    for name, token in [("first", "sk-aaaa"), ("second", "sk-bbbb")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(token)
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "token").symlink_to("..data/token")
    credential = Credential.from_file(tmp_path / "token", clock=clock)
    (tmp_path / "..new").symlink_to("second")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert token_of(credential) == "sk-bbbb"


@pytest.mark.parametrize("content", [None, *(content for content, _ in MISTAKES)])
def test_a_file_that_became_unusable_is_an_auth_failure_until_it_is_back(write: Write, content: bytes | None) -> None:
    """No stale credential is used: the failure names the file, and the next valid content ends it."""
    path = write(KEY)
    credential = Credential.from_file(path, clock=clock)
    if content is None:
        path.unlink()
    else:
        write(content)
    for _ in range(2):
        with pytest.raises(Unauthorized) as caught:
            credential.current()
        assert str(caught.value).startswith(f"{path}: ")
        assert MARKER not in _everything_in(caught.value)
    assert credential.reread() is False
    write(f"dk-{MARKER}")
    assert token_of(credential) == f"dk-{MARKER}"


def test_reread_looks_whatever_the_file_looks_like(tmp_path: Path) -> None:
    """`reread` compares the content: True for another credential, False for the same."""
    path = tmp_path / "token"
    path.write_text("sk-aaaa")
    os.utime(path, ns=(1, 1))
    credential = Credential.from_file(path, clock=clock)
    assert credential.reread() is False
    path.write_text("sk-bbbb")
    os.utime(path, ns=(1, 1))
    assert token_of(credential) == "sk-aaaa"
    assert credential.reread() is True
    assert token_of(credential) == "sk-bbbb"


def test_the_environment_never_changes() -> None:
    """A credential of the environment is read once."""
    environ = {"TOKEN": f"{KEY}\n"}
    credential = Credential.from_environment("TOKEN", environ, clock=clock)
    environ["TOKEN"] = "sk-other"
    assert credential.reread() is False
    assert token_of(credential) == KEY


def test_a_file_that_others_may_read_is_warned_about_once(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """A world-readable file causes one warning, and another only after it was fixed; the group may read it."""
    path = write(KEY)
    path.chmod(0o640)
    credential = Credential.from_file(path, clock=clock)
    assert not caplog.records
    for mode, warnings in [(0o644, 1), (0o604, 1), (0o600, 1), (0o644, 2)]:
        write(KEY).chmod(mode)
        credential.reread()
        assert len(caplog.records) == warnings
    record = caplog.records[0]
    assert (record.name, record.levelno) == ("exporter.platform.credentials", logging.WARNING)
    assert record.getMessage() == f"credential file {path} is readable by every user of this machine; chmod o-r it"


def test_a_credential_shows_itself_nowhere(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """No repr, str, format or log line contains any part of the credential."""
    caplog.set_level(logging.DEBUG)
    path = write(KEY)
    path.chmod(0o644)
    credential = Credential.from_file(path, clock=clock)
    assert repr(credential) == f"Credential({str(path)!r}, kind='integration')"
    shown = [repr(credential), str(credential), f"{credential}", repr(credential._token), caplog.text]
    assert not any(MARKER in text for text in shown)


def _everything_in(error: BaseException) -> str:
    """A traceback with the local variables of our frames, including causes and contexts, shows no credential."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    summaries = []
    seen: list[traceback.TracebackException | None] = [trace]
    while seen:
        one = seen.pop()
        if one is not None:
            seen += [one.__cause__, one.__context__]
            frames = [frame for frame in one.stack if "/exporter/platform/" in frame.filename]
            summaries.append(
                f"{one} {[(frame.name, frame.locals) for frame in frames if frame.name != 'from_environment']}"
            )
    return f"{error!r} {summaries}"
