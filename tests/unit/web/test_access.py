import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import pytest
import trustme
from aiohttp import ClientSession

from exporter.errors import ConfigError
from exporter.status import TeamStatus
from exporter.web.access import AccessControl
from exporter.web.app import make_app
from exporter.web.auth import MAX_WAITING
from exporter.web.serve import listening

pytestmark = pytest.mark.loopback

if TYPE_CHECKING:
    from unit.web.conftest import HeldSource

PATHS = ("/", "/metrics", "/api/v1/status", "/probe", "/probe?team=render", "/sd", "/-/reload", "/nothing", "//", "/-/")
OPEN = ("/-/healthy", "/-/ready")
RIGHT = {"Authorization": "Basic " + base64.b64encode(b"prom:secret").decode()}
WRONG = {"Authorization": "Basic " + base64.b64encode(b"prom:guess").decode()}


def write(path: Path, text: str | None) -> None:
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text, encoding="utf-8")


def users(password: str = "secret") -> str:  # noqa: S107  made up
    return f"basic_auth_users: {{prom: '{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}'}}\n"


@asynccontextmanager
async def serving(source: "HeldSource", access: AccessControl) -> AsyncIterator[ClientSession]:
    async with (
        listening(make_app(source, access=access), ("127.0.0.1", 0)) as ((_, port),),
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "web.yml"
    write(path, users())
    return path


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
async def test_every_path_wants_a_password(source: "HeldSource", path: Path, method: str) -> None:
    """Without a password every path answers 401, even unknown ones, except the two checks."""
    async with serving(source, AccessControl(path)) as client:
        for place in PATHS if method == "GET" else (*PATHS, *OPEN):
            for headers in ({}, WRONG):
                if method == "HEAD" and place in OPEN:
                    continue
                async with client.request(method, place, headers=headers) as answer:
                    assert answer.status == 401, place
                    assert answer.headers["WWW-Authenticate"] == 'Basic realm="cyberun-exporter", charset="UTF-8"'
                    assert await answer.text() == (
                        "" if method == "HEAD" else "A user name and a password are required.\n"
                    )
        async with client.request(method, "/metrics", headers=RIGHT) as answer:
            assert answer.status == (200 if method in {"GET", "HEAD"} else 405)
        for place in OPEN:
            async with client.get(place, headers=WRONG) as answer:
                assert answer.status == 200


async def test_readiness_names_no_team_to_strangers(source: "HeldSource", path: Path, new_team: TeamStatus) -> None:
    """If passwords are required, `/-/ready` names no teams."""
    source.current = type(source.current)("1", 0.0, 0.0, 1.0, None, (new_team,))
    async with serving(source, AccessControl(path)) as client, client.get("/-/ready") as answer:
        assert (answer.status, await answer.text()) == (503, "Not ready.\n")


async def test_headers_are_on_every_answer(source: "HeldSource", path: Path) -> None:
    """The file's headers are set, also in place of those of the page, and on 401."""
    write(path, users() + "http_server_config: {headers: {X-Frame-Options: sameorigin}}")
    async with serving(source, AccessControl(path)) as client:
        for place in (*PATHS, *OPEN):
            for headers in ({}, RIGHT):
                async with client.get(place, headers=headers) as answer:
                    assert answer.headers.getall("X-Frame-Options") == ["sameorigin"]


async def test_headers_are_on_answers_to_what_is_not_http(source: "HeldSource", path: Path) -> None:
    """Bytes that are not HTTP get an answer with the file's headers, without asking for a password."""
    write(path, users() + "http_server_config: {headers: {X-Frame-Options: sameorigin}}")
    access = AccessControl(path)
    async with listening(make_app(source, access=access), ("127.0.0.1", 0)) as ((_, port),):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00\r\n\r\n")
        head = (await reader.read()).decode().split("\r\n")
        writer.close()
    assert head[0].endswith(" 400 Bad Request")
    assert "X-Frame-Options: sameorigin" in head
    assert "Server: cyberun-exporter" in head


async def test_what_changes_is_in_force_at_once(source: "HeldSource", path: Path) -> None:
    """A new password is valid on an open connection at once, and the old one no longer."""
    access = AccessControl(path)
    async with serving(source, access) as client:
        assert not access.changed()
        async with client.get("/metrics", headers=RIGHT) as answer:
            assert answer.status == 200
        write(path, users("other"))
        assert access.changed()
        access.apply(await access.read())
        assert not access.changed()
        async with client.get("/metrics", headers=RIGHT) as answer:
            assert answer.status == 401


async def test_guessing_does_not_lock_out_after_a_reload(source: "HeldSource", path: Path) -> None:
    """While others guess, a scrape with a known password is answered, even if the file was rewritten."""
    access = AccessControl(path)
    async with serving(source, access) as client:
        async with client.get("/metrics", headers=RIGHT) as answer:
            assert answer.status == 200
        access._passwords._waiting = MAX_WAITING
        os.utime(path, (1, 1))
        assert access.changed()
        access.apply(await access.read())
        for headers, status in (({}, 401), (WRONG, 503), (RIGHT, 200)):
            async with client.get("/metrics", headers=headers) as answer:
                assert answer.status == status


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("basic_auth_users: {prom: plain}", "basic_auth_users.prom: found something that is not a bcrypt hash; "),
        ("tls_server_config: {cert_file: a, key_file: b}", "tls_server_config.cert_file: found no such file"),
        (None, "found no such file or directory; "),
    ],
)
async def test_a_bad_file_changes_nothing(source: "HeldSource", path: Path, text: str | None, mistake: str) -> None:
    """After a mistake the old rules stay in use, and the file is not read again until it is written."""
    access = AccessControl(path)
    write(path, text)
    assert access.changed()
    with pytest.raises(ConfigError, match=mistake):
        await access.read()
    assert not access.changed()
    async with serving(source, access) as client:
        for headers, status in (({}, 401), (RIGHT, 200)):
            async with client.get("/metrics", headers=headers) as answer:
                assert answer.status == status
    write(path, users("other"))
    assert access.changed()


async def test_tls_is_not_turned_on_by_the_way(path: Path, tmp_path: Path) -> None:
    """Turning TLS on or off is a mistake, because it needs a restart."""
    leaf = trustme.CA().issue_cert("localhost")
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    access = AccessControl(path)
    write(path, "tls_server_config: {cert_file: both.pem, key_file: both.pem}")
    with pytest.raises(ConfigError, match="found a section where there was none; allowed: no change, because"):
        await access.read()


def test_files_that_appear_are_watched(path: Path, tmp_path: Path) -> None:
    """A certificate that was missing when the file was read is noticed when it appears, and so is a changed link."""
    access = AccessControl(path)
    write(path, "tls_server_config: {cert_file: a, key_file: b}")
    with pytest.raises(ConfigError):
        access._read()
    assert not access.changed()
    (tmp_path / "one").write_text("")
    (tmp_path / "a").symlink_to("one")
    assert access.changed()
    with pytest.raises(ConfigError):
        access._read()
    assert not access.changed()
    (tmp_path / "two").write_text("")
    os.utime(tmp_path / "two", ns=((tmp_path / "one").stat().st_mtime_ns,) * 2)
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("two")
    assert access.changed()


async def test_a_limit_spares_the_checks(source: "HeldSource", path: Path) -> None:
    """Requests beyond the limit get 429, except probes of Kubernetes, which would otherwise restart the pod."""
    write(path, "rate_limit: {interval: 1h, burst: 2}")
    async with serving(source, AccessControl(path)) as client:
        found = []
        for place in ("/metrics", "/-/healthy", "/metrics", "/metrics", "/-/ready"):
            async with client.get(place) as answer:
                found.append(answer.status)
    assert found == [200, 200, 200, 429, 200]
