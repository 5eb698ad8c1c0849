import asyncio
import errno
import json
import logging
import os
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from exporter.errors import ConfigError, ConnectFailed, PlatformError, RateLimited, SchemaMismatch, Unauthorized
from exporter.platform.account import Tokens
from exporter.platform.client import Limits, Platform
from exporter.platform.clock import Clock
from exporter.platform.pacing import Pacer
from exporter.platform.session import MAX_RETRY_DELAY, REFUSED_DELAY, RETRY_DELAY, Session
from exporter.platform.trust import Trust
from support.scripted import MARKER, NOW, Log, Script, Server, everything_in

pytestmark = pytest.mark.loopback

LIFETIME = 3600.0
RENEWAL_MARGIN = 720.0
"""Seconds before its end that a JWT of this lifetime is renewed."""


@dataclass(slots=True)
class Authority:
    """The platform's side of a session, and the clock. Mutable: a pair of tokens is valid until it is exchanged.

    Attributes:
        live: the only refresh token that is accepted.
        sent: the refresh tokens that came.
        failure: answered instead.
        gate: closed, an exchange is done but its answer waits.
        asked: set by the first exchange.
    """

    file: Path
    now: float = NOW
    jump: float = 0.0
    live: str = field(default=f"rt-{MARKER}-0", repr=False)
    sent: list[str] = field(default_factory=list, repr=False)
    failure: PlatformError | None = None
    expires_in: float | None = LIFETIME
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def clock(self) -> Clock:
        """Both clocks; the first may be set."""
        return Clock(lambda: self.now + self.jump, lambda: self.now - NOW)

    def open(self) -> Session:
        """Open the session of the file."""
        self.gate.set()
        return Session.open(self.file, clock=self.clock)

    def sign_in(self, name: str) -> None:
        """Sign in again, as a person would: put a new token into the file."""
        self.live = f"rt-{MARKER}-{name}"
        self.file.write_text(self.live + "\n")

    @property
    def saved(self) -> str:
        """What the file holds."""
        return self.file.read_text().strip()

    async def refresh(self, token: SecretStr) -> Tokens:
        """Exchange a token as the platform does."""
        self.sent.append(token.get_secret_value())
        self.asked.set()
        accepted = self.failure is None and self.sent[-1] == self.live
        if accepted:
            self.live = f"rt-{MARKER}-{len(self.sent)}"
        number = len(self.sent)
        failure = self.failure
        await self.gate.wait()
        if not accepted:
            raise failure or Unauthorized("POST /auth/refresh: 401: unknown token")
        return pair(f"rt-{MARKER}-{number}", f"eyJ{MARKER}-{number}", self.expires_in)


async def token_of(session: Session, authority: Authority) -> str:
    """The JWT to send now."""
    return (await session.token(authority.refresh)).get_secret_value()


async def renewed(session: Session, refused: str, authority: Authority) -> str:
    """The JWT to send after a 401."""
    return (await session.renewed(SecretStr(refused), authority.refresh)).get_secret_value()


def pair(refresh: str, access: str | None = None, expires_in: float | None = None) -> Tokens:
    """What the platform answers."""
    return Tokens(SecretStr(refresh), SecretStr(access) if access else None, expires_in)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A platform with a session whose refresh token lies in a file of mode 600."""
    file = tmp_path / "operator"
    file.touch(mode=0o600)
    authority = Authority(file)
    file.write_text(authority.live + "\n")
    return authority


async def failure(session: Session, authority: Authority) -> PlatformError:
    """The session's error in place of a JWT, which contains no token anywhere."""
    with pytest.raises(PlatformError) as caught:
        await token_of(session, authority)
    assert MARKER not in everything_in(caught.value)
    return caught.value


# Rotation


async def test_the_new_token_is_saved_before_its_jwt_is_used(authority: Authority) -> None:
    """An exchange puts the new refresh token into the file, keeps its mode, and leaves no other file behind."""
    session = authority.open()
    assert (session.kind, session.renews, session.expires_at, session.loaded_at) == ("jwt", True, None, NOW)
    authority.file.chmod(0o640)
    authority.now += 5
    assert await token_of(session, authority) == f"eyJ{MARKER}-1"
    assert authority.saved == authority.live == f"rt-{MARKER}-1"
    assert authority.file.stat().st_mode & 0o777 == 0o640
    assert {each.name for each in authority.file.parent.iterdir()} == {"operator", ".operator.lock"}
    assert (session.expires_at, session.loaded_at) == (NOW + 5 + LIFETIME, NOW + 5)


async def test_a_link_stays_a_link(authority: Authority, tmp_path: Path) -> None:
    """If the path is a link, the file that it leads to is replaced."""
    link = tmp_path / "link"
    link.symlink_to(authority.file)
    session = Session.open(link, clock=authority.clock)
    authority.gate.set()
    await token_of(session, authority)
    assert link.is_symlink()
    assert authority.saved == authority.live


async def test_a_jwt_is_renewed_ahead_of_its_end(authority: Authority) -> None:
    """A JWT is used for four fifths of its lifetime; then the next request renews it."""
    session = authority.open()
    await token_of(session, authority)
    authority.now = NOW + LIFETIME - RENEWAL_MARGIN - 1
    assert await token_of(session, authority) == f"eyJ{MARKER}-1"
    authority.now += 1
    assert await token_of(session, authority) == f"eyJ{MARKER}-2"
    assert session.expires_at == authority.now + LIFETIME
    assert len(authority.sent) == 2


async def test_the_life_of_a_jwt_counts_from_before_the_renewal(authority: Authority) -> None:
    """The lifetime of a JWT counts from the start of the exchange."""
    session = authority.open()
    authority.gate.clear()
    waiting = asyncio.create_task(session.token(authority.refresh))
    await authority.asked.wait()
    authority.now += 30
    authority.gate.set()
    await waiting
    assert session.expires_at == NOW + LIFETIME


async def test_a_jwt_of_unknown_life_is_renewed_when_it_is_refused(authority: Authority) -> None:
    """Without expires_in and without an `exp`, the expiry is unknown until a 401."""
    authority.expires_in = None
    session = authority.open()
    token = await token_of(session, authority)
    assert session.expires_at is None
    authority.now += 1e6
    assert await token_of(session, authority) == token
    assert await renewed(session, token, authority) == f"eyJ{MARKER}-2"


async def test_a_refused_jwt_is_renewed(authority: Authority) -> None:
    """After a 401 the JWT is renewed; another request refused with the old one gets the new one without an exchange."""
    session = authority.open()
    old = await token_of(session, authority)
    authority.now += RETRY_DELAY
    new = await renewed(session, old, authority)
    assert new == f"eyJ{MARKER}-2"
    assert await renewed(session, old, authority) == new
    assert len(authority.sent) == 2


async def test_a_jwt_that_is_refused_at_once_is_not_renewed(authority: Authority) -> None:
    """A platform that refuses its own JWTs causes an exchange only from time to time, not at every request."""
    session = authority.open()
    token = await token_of(session, authority)
    authority.now += RETRY_DELAY - 1
    assert await renewed(session, token, authority) == token
    assert len(authority.sent) == 1


async def test_requests_that_wait_share_one_renewal(authority: Authority) -> None:
    """However many requests of whatever teams need a JWT, there is one exchange."""
    session = authority.open()
    tokens = await asyncio.gather(*(token_of(session, authority) for _ in range(20)))
    assert (set(tokens), len(authority.sent)) == ({f"eyJ{MARKER}-1"}, 1)
    authority.now += RETRY_DELAY
    tokens = await asyncio.gather(*(renewed(session, tokens[0], authority) for _ in range(20)))
    assert (set(tokens), len(authority.sent)) == ({f"eyJ{MARKER}-2"}, 2)


async def test_a_cancelled_request_does_not_lose_the_token(authority: Authority) -> None:
    """If a poll is cancelled during an exchange, the answer is still saved, and the next poll shares it."""
    session = authority.open()
    authority.gate.clear()
    first = asyncio.create_task(session.token(authority.refresh))
    await authority.asked.wait()
    first.cancel()
    await asyncio.wait((first,))
    second = asyncio.create_task(session.token(authority.refresh))
    await asyncio.sleep(0)
    assert authority.saved != authority.live
    authority.gate.set()
    assert (await second).get_secret_value() == f"eyJ{MARKER}-1"
    assert (authority.saved, len(authority.sent)) == (authority.live, 1)


async def test_closing_waits_for_a_renewal(authority: Authority) -> None:
    """Closing waits for an exchange under way; after that there are no more."""
    session = authority.open()
    authority.gate.clear()
    asked = asyncio.create_task(session.token(authority.refresh))
    await authority.asked.wait()
    asked.cancel()
    closing = asyncio.create_task(session.finish_renewal())
    await asyncio.sleep(0)
    assert not closing.done()
    authority.gate.set()
    await closing
    assert authority.saved == authority.live
    session.release()
    authority.now += LIFETIME
    await failure(session, authority)
    assert len(authority.sent) == 1


async def test_who_cannot_wait_says_what_may_be_lost(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """An interrupted exchange is logged as an error, because the token in the file may be invalid."""
    session = authority.open()
    authority.gate.clear()
    asked = asyncio.create_task(session.token(authority.refresh))
    await authority.asked.wait()
    session.release()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "may be lost" in caplog.text
    asked.cancel()
    authority.gate.set()
    await session.finish_renewal()


# What goes wrong


async def test_a_failed_renewal_leaves_the_jwt_until_its_end(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Failed exchanges are repeated after growing pauses; the JWT is used meanwhile."""
    session = authority.open()
    token = await token_of(session, authority)
    authority.failure = ConnectFailed("POST /auth/refresh: no connection")
    authority.now = start = NOW + LIFETIME - RENEWAL_MARGIN
    asked = []
    while authority.now < NOW + LIFETIME:
        before = len(authority.sent)
        assert await token_of(session, authority) == token
        assert not session.expired
        asked += [authority.now - start] if len(authority.sent) > before else []
        authority.now += 1
    assert asked == [
        0,
        RETRY_DELAY,
        3 * RETRY_DELAY,
        7 * RETRY_DELAY,
        *range(int(7 * RETRY_DELAY + MAX_RETRY_DELAY), int(RENEWAL_MARGIN), int(MAX_RETRY_DELAY)),
    ]
    assert session.expired
    assert str(await failure(session, authority)) == "POST /auth/refresh: no connection"
    assert [record.getMessage() for record in caplog.records] == ["session not renewed"]
    authority.failure = None
    authority.now += MAX_RETRY_DELAY
    caplog.set_level(logging.INFO)
    assert await token_of(session, authority) != token
    assert [record.getMessage() for record in caplog.records] == ["session not renewed", "session renewal works again"]


async def test_the_wait_that_the_platform_asks_for_is_kept(authority: Authority) -> None:
    """Retry-After applies to exchanges too, and is passed on to the teams."""
    session = authority.open()
    authority.failure = RateLimited("POST /auth/refresh: 429", retry_after=500.0)
    for _ in range(5):
        assert (await failure(session, authority)).retry_after == 500.0
        authority.now += 100
    assert len(authority.sent) == 1
    await failure(session, authority)
    assert len(authority.sent) == 2


async def test_a_dead_token_is_sent_once(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """A refused refresh token is rarely tried again until somebody signs in, and is logged once."""
    session = authority.open()
    authority.live = "another"
    errors = set()
    expected = (
        "POST /auth/refresh: 401: unknown token; sign in again and put a new refresh token into " + f"{authority.file}"
    )
    for _ in range(3):
        error = await failure(session, authority)
        assert (type(error), str(error)) == (Unauthorized, expected)
        errors.add(error)
        authority.now += REFUSED_DELAY / 4
    assert len(authority.sent) == len(caplog.records) == 1
    assert len(errors) == 3  # one that is raised again drags the frames of before along
    authority.sign_in("new")
    assert await token_of(session, authority) == f"eyJ{MARKER}-2"


async def test_a_token_that_somebody_put_there_is_taken_at_once(authority: Authority) -> None:
    """Signing in again takes effect at the next request, however long the old JWT is valid."""
    session = authority.open()
    await token_of(session, authority)
    authority.sign_in("other-user")
    assert await token_of(session, authority) == f"eyJ{MARKER}-2"
    assert authority.sent[-1] == f"rt-{MARKER}-other-user"
    os.utime(authority.file, (1, 1))
    assert await token_of(session, authority) == f"eyJ{MARKER}-2"
    assert len(authority.sent) == 2


async def test_a_file_that_vanishes_is_a_failure_when_the_jwt_ends(authority: Authority) -> None:
    """A missing file does no harm while the JWT is valid; then the error names it."""
    session = authority.open()
    token = await token_of(session, authority)
    authority.file.unlink()
    assert await token_of(session, authority) == token
    authority.now += LIFETIME
    assert str(await failure(session, authority)) == f"{authority.file}: no such file"


Fill = Callable[[], None]


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Makes every sync of a file fail as on a full disk, until monkeypatch is undone."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", full)


async def test_on_a_full_disk_the_jwt_serves_and_the_token_is_kept(
    authority: Authority, fill_disk: Fill, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that cannot be written is kept in memory, unused, until it can be; one line is logged."""
    session = authority.open()
    fill_disk()
    token = await token_of(session, authority)
    for _ in range(30):
        authority.now += LIFETIME / 30
        if authority.now < NOW + LIFETIME:
            assert await token_of(session, authority) == token
    assert authority.saved == f"rt-{MARKER}-0"
    error = await failure(session, authority)
    assert str(error) == (
        f"{authority.file}: the new refresh token will not be used until it can be written (No space left on device)"
    )
    assert len(authority.sent) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert MARKER not in caplog.text
    assert {each.name for each in authority.file.parent.iterdir()} == {"operator", ".operator.lock"}
    monkeypatch.undo()
    authority.now += MAX_RETRY_DELAY
    assert await token_of(session, authority) == f"eyJ{MARKER}-2"
    assert authority.sent == [f"rt-{MARKER}-0", f"rt-{MARKER}-1"]
    assert authority.saved == authority.live


async def test_a_late_write_renews_nothing(
    authority: Authority, fill_disk: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there is space again, the token is written, and the JWT stays in use."""
    session = authority.open()
    fill_disk()
    token = await token_of(session, authority)
    monkeypatch.undo()
    authority.now += RETRY_DELAY
    assert await token_of(session, authority) == token
    assert (authority.saved, len(authority.sent)) == (authority.live, 1)


async def test_closing_writes_what_was_not_written(
    authority: Authority, fill_disk: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At shutdown, an unwritten token is written if possible."""
    session = authority.open()
    fill_disk()
    await token_of(session, authority)
    assert authority.saved != authority.live
    monkeypatch.undo()
    await session.finish_renewal()
    assert authority.saved == authority.live


async def test_signing_in_again_ends_a_full_disks_trouble(authority: Authority, fill_disk: Fill) -> None:
    """A token that somebody puts into the file takes precedence over one that could not be written."""
    session = authority.open()
    fill_disk()
    await token_of(session, authority)
    authority.sign_in("by-hand")
    assert await token_of(session, authority) == f"eyJ{MARKER}-2"
    assert authority.sent[-1] == f"rt-{MARKER}-by-hand"


async def test_a_session_shows_itself_nowhere(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """Neither repr nor log contains a token."""
    caplog.set_level(logging.DEBUG)
    session = authority.open()
    await token_of(session, authority)
    assert repr(session) == f"Session({str(authority.file)!r})"
    assert MARKER not in f"{session} {vars(session)} {caplog.text}"


def test_a_session_that_cannot_be_is_a_configuration_mistake(authority: Authority) -> None:
    """Mistakes are reported before any request is sent."""
    authority.file.write_text("")
    with pytest.raises(ConfigError, match="is empty; expected a refresh token"):
        authority.open()


# Over TCP


@dataclass(slots=True)
class Wire:
    """A session and its client, with a server that exchanges tokens. Mutable."""

    session: Session
    platform: Platform
    log: Log
    now: list[float]


@pytest.fixture
async def wire(server: Server, authority: Authority) -> Wire:
    now = [NOW]
    log = Log()
    platform = Platform(
        server.base_url,
        limits=Limits(5.0, 100_000),
        pacer=Pacer(1000, 8),
        log=log,
        trust=Trust(None),
        user_agent="cyberun-exporter/1.0.0",
        clock=lambda: now[0],
    )
    return Wire(Session.open(authority.file, clock=Clock(lambda: now[0], lambda: now[0] - NOW)), platform, log, now)


def refreshing_with(status: int, body: str) -> Script:
    """Answer a refresh with this, and refuse every other request."""

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        refreshing = request.path.endswith("/auth/refresh")
        return web.Response(status=status if refreshing else 401, text=body if refreshing else "{}")

    return script


PAIR = f'"refresh_token": "rt-{MARKER}-1"'


@pytest.mark.parametrize(
    ("answer", "saved", "reason"),
    [
        ((200, ""), "0", "decode"),
        ((200, "<html>"), "0", "decode"),
        ((200, "[]"), "0", "schema"),
        ((200, "[" * 150_000), "0", "too_large"),
        ((200, "[" * 50_000), "0", "decode"),
        ((200, f"[{'[],' * 33_000}[]]"), "0", "schema"),
        ((200, f'{{"access_token": "eyJ{MARKER}"}}'), "0", "schema"),
        ((200, '{"refresh_token": 7, "access_token": "a"}'), "0", "schema"),
        ((200, '{"refresh_token": "with space", "access_token": "a"}'), "0", "schema"),
        ((200, '{"refresh_token": "\\n", "access_token": "a"}'), "0", "schema"),
        ((200, '{"refresh_token": "é", "access_token": "a"}'), "0", "schema"),
        ((200, "{" + PAIR + "}"), "1", "schema"),
        ((200, "{" + PAIR + ', "access_token": "a\\r\\nX-Evil: 1"}'), "1", "schema"),
        ((401, f'{{"error_message": "no rt-{MARKER}-0 here"}}'), "0", "auth"),
        ((500, ""), "0", "http_5xx"),
        ((429, ""), "0", "rate_limited"),
    ],
)
async def test_answers_that_are_no_pair_of_tokens(
    server: Server, wire: Wire, authority: Authority, answer: tuple[int, str], saved: str, reason: str
) -> None:
    """Each failure counts under its reason and the path of the refresh, and quotes nothing; a refresh token is kept."""
    server.script = refreshing_with(*answer)
    async with aclosing(wire.platform) as platform:
        client = platform.team("render", wire.session, "019abc12")
        for _ in range(2):
            with pytest.raises(PlatformError) as caught:
                await client.get("/r/tasks", {})
            assert MARKER not in everything_in(caught.value)
    assert authority.saved == f"rt-{MARKER}-{saved}"
    assert wire.log.requests == [("render", "/auth/refresh")]
    refused = ("render", "/r/tasks", caught.value.reason)
    assert wire.log.failures == [("render", "/auth/refresh", reason), refused, refused]
    assert caught.value.reason == reason


@pytest.mark.parametrize("lifetime", ["null", '"3600"', "0", "-5", "true", "1e400", "9" * 400, "NaN"])
async def test_a_pair_with_an_odd_lifetime_is_used(server: Server, wire: Wire, lifetime: str) -> None:
    """With an invalid lifetime the JWT's expiry is unknown, and the refresh token is not lost."""
    body = "{" + PAIR + f', "access_token": "eyJ{MARKER}", "expires_in": {lifetime}}}'

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/auth/refresh"):
            assert (request.method, request.headers.get("Authorization")) == ("POST", None)
            return web.Response(text=body)
        assert request.headers["Authorization"] == f"Bearer eyJ{MARKER}"
        assert request.headers["X-Team-ID"] == "019abc12"
        return web.Response(text="{}")

    server.script = script
    async with aclosing(wire.platform) as platform:
        assert await platform.team("render", wire.session, "019abc12").get("/agents", {}) == b"{}"
    assert wire.session.expires_at is None


async def test_a_refusal_renews_and_asks_once_more(server: Server, wire: Wire) -> None:
    """After a 401 the request is sent once more, with the new JWT; a second 401 is final."""
    pairs = iter(range(1, 100))

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/auth/refresh"):
            n = next(pairs)
            return web.json_response({"refresh_token": f"rt-{n}", "access_token": f"eyJ{n}", "expires_in": 3600})
        good = request.headers["Authorization"] == "Bearer eyJ2"
        return web.Response(status=200 if good else 401, text="{}")

    server.script = script
    async with aclosing(wire.platform) as platform:
        client = platform.team("render", wire.session, "019abc12")
        with pytest.raises(Unauthorized, match="GET /agents: 401"):  # refused while it is young
            await client.get("/agents", {})
        wire.now[0] += RETRY_DELAY
        assert await client.get("/agents", {}) == b"{}"
    paths = [request.path.removeprefix("/api/v1") for request in server.requests]
    assert paths == ["/auth/refresh", "/agents", "/agents", "/auth/refresh", "/agents"]


async def test_no_failure_of_a_request_leads_to_the_jwt(server: Server, wire: Wire) -> None:
    """The refused JWT is in no frame of the error, even if its renewal fails."""
    exchanged: list[bool] = []

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        if not request.path.endswith("/auth/refresh"):
            return web.Response(status=401)
        exchanged.append(True)
        pair = {"refresh_token": f"rt-{MARKER}-1", "access_token": f"eyJ{MARKER}", "expires_in": 3600}
        return web.json_response(pair if len(exchanged) == 1 else {}, status=200 if len(exchanged) == 1 else 503)

    server.script = script
    async with aclosing(wire.platform) as platform:
        client = platform.team("render", wire.session, "019abc12")
        for age in (0.0, RETRY_DELAY):
            wire.now[0] += age
            with pytest.raises(PlatformError) as caught:
                await client.get("/r/tasks", {})
            assert MARKER not in everything_in(caught.value)
    assert caught.value.reason == "http_5xx"


async def test_a_missing_access_token_keeps_the_refresh_token(authority: Authority) -> None:
    """A new refresh token replaces the old one whatever else is missing, and is used for the next exchange."""
    session = authority.open()
    answers = iter([pair(f"rt-{MARKER}-x"), pair(f"rt-{MARKER}-y", f"eyJ{MARKER}", 60.0)])
    sent = []

    async def refresh(token: SecretStr) -> Tokens:
        sent.append(token.get_secret_value())
        return next(answers)

    with pytest.raises(SchemaMismatch):
        await session.token(refresh)
    authority.now += RETRY_DELAY
    assert await session.token(refresh) == SecretStr(f"eyJ{MARKER}")
    assert sent == [f"rt-{MARKER}-0", f"rt-{MARKER}-x"]


async def test_a_refusal_that_passes_ends_no_session(authority: Authority) -> None:
    """A restarting platform may refuse a valid token, so the one in the file is tried again from time to time."""
    session = authority.open()
    live, authority.live = authority.live, "not loaded yet"
    asked = []
    for _ in range(30):
        before = len(authority.sent)
        with pytest.raises(Unauthorized):
            await token_of(session, authority)
        asked += [authority.now - NOW] if len(authority.sent) > before else []
        authority.now += 30
    assert asked == [0, REFUSED_DELAY, 2 * REFUSED_DELAY]
    authority.live = live
    authority.now += REFUSED_DELAY
    assert (await token_of(session, authority)).startswith("eyJ")


@pytest.mark.parametrize("jump", [-1e6, -90.0, 90.0, 1e6])
async def test_a_clock_that_is_set_stops_no_renewal(authority: Authority, jump: float) -> None:
    """Renewal uses the monotonic clock, before and after a failure; only displayed times use the wall clock."""
    session = authority.open()
    await token_of(session, authority)
    authority.failure = ConnectFailed("POST /auth/refresh: no connection")
    authority.now += LIFETIME - RENEWAL_MARGIN
    await token_of(session, authority)
    authority.jump = jump
    authority.failure = None
    authority.now += RETRY_DELAY
    assert await token_of(session, authority) == f"eyJ{MARKER}-3"
    assert session.expires_at == authority.now + jump + LIFETIME
    authority.jump = 0.0
    authority.now += LIFETIME - RENEWAL_MARGIN - 1
    assert await token_of(session, authority) == f"eyJ{MARKER}-3"
    authority.now += 1
    assert await token_of(session, authority) == f"eyJ{MARKER}-4"


async def test_a_pair_may_be_created(server: Server, wire: Wire) -> None:
    """A 201 is accepted too, because some servers answer a POST with it."""
    made = json.dumps({"refresh_token": f"rt-{MARKER}-1", "access_token": f"eyJ{MARKER}", "expires_in": 3600})

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        refreshing = request.path.endswith("/auth/refresh")
        return web.Response(status=201 if refreshing else 200, text=made if refreshing else "{}")

    server.script = script
    async with aclosing(wire.platform) as platform:
        assert await platform.team("render", wire.session, "019abc12").get("/agents", {}) == b"{}"
