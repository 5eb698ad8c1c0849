"""What a session does when a renewal fails, or its file cannot be written."""

import errno
import logging
import os
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from exporter.errors import ConfigError, ConnectFailed, RateLimited, SchemaMismatch, Unauthorized
from exporter.platform.account import Tokens
from exporter.platform.session import MAX_RETRY_DELAY, REFUSED_DELAY, RETRY_DELAY
from support.issuer import LIFETIME, RENEWAL_MARGIN, TokenIssuer, failure, pair, token_of
from support.scripted import MARKER, NOW

pytestmark = pytest.mark.loopback


async def test_a_failed_renewal_leaves_the_jwt_until_its_end(
    issuer: TokenIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Failed exchanges are repeated after growing pauses; the JWT is used meanwhile."""
    session = issuer.open()
    token = await token_of(session, issuer)
    issuer.failure = ConnectFailed("POST /auth/refresh: no connection")
    issuer.now = start = NOW + LIFETIME - RENEWAL_MARGIN
    asked = []
    while issuer.now < NOW + LIFETIME:
        before = len(issuer.sent)
        assert await token_of(session, issuer) == token
        assert not session.expired
        asked += [issuer.now - start] if len(issuer.sent) > before else []
        issuer.now += 1
    assert asked == [
        0,
        RETRY_DELAY,
        3 * RETRY_DELAY,
        7 * RETRY_DELAY,
        *range(int(7 * RETRY_DELAY + MAX_RETRY_DELAY), int(RENEWAL_MARGIN), int(MAX_RETRY_DELAY)),
    ]
    assert session.expired
    assert str(await failure(session, issuer)) == "POST /auth/refresh: no connection"
    assert [record.getMessage() for record in caplog.records] == ["session not renewed"]
    issuer.failure = None
    issuer.now += MAX_RETRY_DELAY
    caplog.set_level(logging.INFO)
    assert await token_of(session, issuer) != token
    assert [record.getMessage() for record in caplog.records] == ["session not renewed", "session renewal works again"]


async def test_the_wait_that_the_platform_asks_for_is_kept(issuer: TokenIssuer) -> None:
    """Retry-After applies to exchanges too, and is passed on to the teams."""
    session = issuer.open()
    issuer.failure = RateLimited("POST /auth/refresh: 429", retry_after=500.0)
    for _ in range(5):
        assert (await failure(session, issuer)).retry_after == 500.0
        issuer.now += 100
    assert len(issuer.sent) == 1
    await failure(session, issuer)
    assert len(issuer.sent) == 2


async def test_a_dead_token_is_sent_once(issuer: TokenIssuer, caplog: pytest.LogCaptureFixture) -> None:
    """A refused refresh token is rarely tried again until somebody signs in, and is logged once."""
    session = issuer.open()
    issuer.live = "another"
    errors = set()
    expected = (
        "POST /auth/refresh: 401: unknown token; sign in again and put a new refresh token into " + f"{issuer.file}"
    )
    for _ in range(3):
        error = await failure(session, issuer)
        assert (type(error), str(error)) == (Unauthorized, expected)
        errors.add(error)
        issuer.now += REFUSED_DELAY / 4
    assert len(issuer.sent) == len(caplog.records) == 1
    assert len(errors) == 3  # one that is raised again drags the frames of before along
    issuer.sign_in("new")
    assert await token_of(session, issuer) == f"eyJ{MARKER}-2"


async def test_a_token_that_somebody_put_there_is_taken_at_once(issuer: TokenIssuer) -> None:
    """Signing in again takes effect at the next request, however long the old JWT is valid."""
    session = issuer.open()
    await token_of(session, issuer)
    issuer.sign_in("other-user")
    assert await token_of(session, issuer) == f"eyJ{MARKER}-2"
    assert issuer.sent[-1] == f"rt-{MARKER}-other-user"
    os.utime(issuer.file, (1, 1))
    assert await token_of(session, issuer) == f"eyJ{MARKER}-2"
    assert len(issuer.sent) == 2


async def test_a_file_that_vanishes_is_a_failure_when_the_jwt_ends(issuer: TokenIssuer) -> None:
    """A missing file does no harm while the JWT is valid; then the error names it."""
    session = issuer.open()
    token = await token_of(session, issuer)
    issuer.file.unlink()
    assert await token_of(session, issuer) == token
    issuer.now += LIFETIME
    assert str(await failure(session, issuer)) == f"{issuer.file}: no such file"


Fill = Callable[[], None]


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Makes every sync of a file fail as on a full disk, until monkeypatch is undone."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", full)


async def test_on_a_full_disk_the_jwt_serves_and_the_token_is_kept(
    issuer: TokenIssuer, fill_disk: Fill, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that cannot be written is kept in memory, unused, until it can be; one line is logged."""
    session = issuer.open()
    fill_disk()
    token = await token_of(session, issuer)
    for _ in range(30):
        issuer.now += LIFETIME / 30
        if issuer.now < NOW + LIFETIME:
            assert await token_of(session, issuer) == token
    assert issuer.saved == f"rt-{MARKER}-0"
    error = await failure(session, issuer)
    assert str(error) == (
        f"{issuer.file}: the new refresh token will not be used until it can be written (No space left on device)"
    )
    assert len(issuer.sent) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert MARKER not in caplog.text
    assert {each.name for each in issuer.file.parent.iterdir()} == {"operator", ".operator.lock"}
    monkeypatch.undo()
    issuer.now += MAX_RETRY_DELAY
    assert await token_of(session, issuer) == f"eyJ{MARKER}-2"
    assert issuer.sent == [f"rt-{MARKER}-0", f"rt-{MARKER}-1"]
    assert issuer.saved == issuer.live


async def test_a_late_write_renews_nothing(
    issuer: TokenIssuer, fill_disk: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there is space again, the token is written, and the JWT stays in use."""
    session = issuer.open()
    fill_disk()
    token = await token_of(session, issuer)
    monkeypatch.undo()
    issuer.now += RETRY_DELAY
    assert await token_of(session, issuer) == token
    assert (issuer.saved, len(issuer.sent)) == (issuer.live, 1)


async def test_closing_writes_what_was_not_written(
    issuer: TokenIssuer, fill_disk: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At shutdown, an unwritten token is written if possible."""
    session = issuer.open()
    fill_disk()
    await token_of(session, issuer)
    assert issuer.saved != issuer.live
    monkeypatch.undo()
    await session.finish_renewal()
    assert issuer.saved == issuer.live


async def test_signing_in_again_ends_a_full_disks_trouble(issuer: TokenIssuer, fill_disk: Fill) -> None:
    """A token that somebody puts into the file takes precedence over one that could not be written."""
    session = issuer.open()
    fill_disk()
    await token_of(session, issuer)
    issuer.sign_in("by-hand")
    assert await token_of(session, issuer) == f"eyJ{MARKER}-2"
    assert issuer.sent[-1] == f"rt-{MARKER}-by-hand"


async def test_a_session_shows_itself_nowhere(issuer: TokenIssuer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither repr nor log contains a token."""
    caplog.set_level(logging.DEBUG)
    session = issuer.open()
    await token_of(session, issuer)
    assert repr(session) == f"Session({str(issuer.file)!r})"
    assert MARKER not in f"{session} {vars(session)} {caplog.text}"


def test_a_session_that_cannot_be_is_a_configuration_mistake(issuer: TokenIssuer) -> None:
    """Mistakes are reported before any request is sent."""
    issuer.file.write_text("")
    with pytest.raises(ConfigError, match="is empty; expected a refresh token"):
        issuer.open()


async def test_a_missing_access_token_keeps_the_refresh_token(issuer: TokenIssuer) -> None:
    """A new refresh token replaces the old one whatever else is missing, and is used for the next exchange."""
    session = issuer.open()
    answers = iter([pair(f"rt-{MARKER}-x"), pair(f"rt-{MARKER}-y", f"eyJ{MARKER}", 60.0)])
    sent = []

    async def refresh(token: SecretStr) -> Tokens:
        sent.append(token.get_secret_value())
        return next(answers)

    with pytest.raises(SchemaMismatch):
        await session.token(refresh)
    issuer.now += RETRY_DELAY
    assert await session.token(refresh) == SecretStr(f"eyJ{MARKER}")
    assert sent == [f"rt-{MARKER}-0", f"rt-{MARKER}-x"]


async def test_a_refusal_that_passes_ends_no_session(issuer: TokenIssuer) -> None:
    """A restarting platform may refuse a valid token, so the one in the file is tried again from time to time."""
    session = issuer.open()
    live, issuer.live = issuer.live, "not loaded yet"
    asked = []
    for _ in range(30):
        before = len(issuer.sent)
        with pytest.raises(Unauthorized):
            await token_of(session, issuer)
        asked += [issuer.now - NOW] if len(issuer.sent) > before else []
        issuer.now += 30
    assert asked == [0, REFUSED_DELAY, 2 * REFUSED_DELAY]
    issuer.live = live
    issuer.now += REFUSED_DELAY
    assert (await token_of(session, issuer)).startswith("eyJ")
