"""How a session renews its JWT and its refresh token."""

import asyncio
from pathlib import Path

import pytest

from exporter.errors import ConnectFailed
from exporter.platform.session import RETRY_DELAY, Session
from support.issuer import LIFETIME, RENEWAL_MARGIN, TokenIssuer, failure, renewed, token_of
from support.scripted import MARKER, NOW

pytestmark = pytest.mark.loopback


async def test_the_new_token_is_saved_before_its_jwt_is_used(issuer: TokenIssuer) -> None:
    """An exchange puts the new refresh token into the file, keeps its mode, and leaves no other file behind."""
    session = issuer.open()
    assert (session.kind, session.renews, session.expires_at, session.loaded_at) == ("jwt", True, None, NOW)
    issuer.file.chmod(0o640)
    issuer.now += 5
    assert await token_of(session, issuer) == f"eyJ{MARKER}-1"
    assert issuer.saved == issuer.live == f"rt-{MARKER}-1"
    assert issuer.file.stat().st_mode & 0o777 == 0o640
    assert {each.name for each in issuer.file.parent.iterdir()} == {"operator", ".operator.lock"}
    assert (session.expires_at, session.loaded_at) == (NOW + 5 + LIFETIME, NOW + 5)


async def test_a_link_stays_a_link(issuer: TokenIssuer, tmp_path: Path) -> None:
    """If the path is a link, the file that it leads to is replaced."""
    link = tmp_path / "link"
    link.symlink_to(issuer.file)
    session = Session.open(link, clock=issuer.clock)
    issuer.gate.set()
    await token_of(session, issuer)
    assert link.is_symlink()
    assert issuer.saved == issuer.live


async def test_a_jwt_is_renewed_ahead_of_its_end(issuer: TokenIssuer) -> None:
    """A JWT is used for four fifths of its lifetime; then the next request renews it."""
    session = issuer.open()
    await token_of(session, issuer)
    issuer.now = NOW + LIFETIME - RENEWAL_MARGIN - 1
    assert await token_of(session, issuer) == f"eyJ{MARKER}-1"
    issuer.now += 1
    assert await token_of(session, issuer) == f"eyJ{MARKER}-2"
    assert session.expires_at == issuer.now + LIFETIME
    assert len(issuer.sent) == 2


async def test_the_life_of_a_jwt_counts_from_before_the_renewal(issuer: TokenIssuer) -> None:
    """The lifetime of a JWT counts from the start of the exchange."""
    session = issuer.open()
    issuer.gate.clear()
    waiting = asyncio.create_task(session.token(issuer.refresh))
    await issuer.asked.wait()
    issuer.now += 30
    issuer.gate.set()
    await waiting
    assert session.expires_at == NOW + LIFETIME


async def test_a_jwt_of_unknown_life_is_renewed_when_it_is_refused(issuer: TokenIssuer) -> None:
    """Without expires_in and without an `exp`, the expiry is unknown until a 401."""
    issuer.expires_in = None
    session = issuer.open()
    token = await token_of(session, issuer)
    assert session.expires_at is None
    issuer.now += 1e6
    assert await token_of(session, issuer) == token
    assert await renewed(session, token, issuer) == f"eyJ{MARKER}-2"


async def test_a_refused_jwt_is_renewed(issuer: TokenIssuer) -> None:
    """After a 401 the JWT is renewed; another request refused with the old one gets the new one without an exchange."""
    session = issuer.open()
    old = await token_of(session, issuer)
    issuer.now += RETRY_DELAY
    new = await renewed(session, old, issuer)
    assert new == f"eyJ{MARKER}-2"
    assert await renewed(session, old, issuer) == new
    assert len(issuer.sent) == 2


async def test_a_jwt_that_is_refused_at_once_is_not_renewed(issuer: TokenIssuer) -> None:
    """A platform that refuses its own JWTs causes an exchange only from time to time, not at every request."""
    session = issuer.open()
    token = await token_of(session, issuer)
    issuer.now += RETRY_DELAY - 1
    assert await renewed(session, token, issuer) == token
    assert len(issuer.sent) == 1


async def test_requests_that_wait_share_one_renewal(issuer: TokenIssuer) -> None:
    """However many requests of whatever teams need a JWT, there is one exchange."""
    session = issuer.open()
    tokens = await asyncio.gather(*(token_of(session, issuer) for _ in range(20)))
    assert (set(tokens), len(issuer.sent)) == ({f"eyJ{MARKER}-1"}, 1)
    issuer.now += RETRY_DELAY
    tokens = await asyncio.gather(*(renewed(session, tokens[0], issuer) for _ in range(20)))
    assert (set(tokens), len(issuer.sent)) == ({f"eyJ{MARKER}-2"}, 2)


async def test_a_cancelled_request_does_not_lose_the_token(issuer: TokenIssuer) -> None:
    """If a poll is cancelled during an exchange, the answer is still saved, and the next poll shares it."""
    session = issuer.open()
    issuer.gate.clear()
    first = asyncio.create_task(session.token(issuer.refresh))
    await issuer.asked.wait()
    first.cancel()
    await asyncio.wait((first,))
    second = asyncio.create_task(session.token(issuer.refresh))
    await asyncio.sleep(0)
    assert issuer.saved != issuer.live
    issuer.gate.set()
    assert (await second).get_secret_value() == f"eyJ{MARKER}-1"
    assert (issuer.saved, len(issuer.sent)) == (issuer.live, 1)


async def test_closing_waits_for_a_renewal(issuer: TokenIssuer) -> None:
    """Closing waits for an exchange under way; after that there are no more."""
    session = issuer.open()
    issuer.gate.clear()
    asked = asyncio.create_task(session.token(issuer.refresh))
    await issuer.asked.wait()
    asked.cancel()
    closing = asyncio.create_task(session.finish_renewal())
    await asyncio.sleep(0)
    assert not closing.done()
    issuer.gate.set()
    await closing
    assert issuer.saved == issuer.live
    session.release()
    issuer.now += LIFETIME
    await failure(session, issuer)
    assert len(issuer.sent) == 1


async def test_who_cannot_wait_says_what_may_be_lost(issuer: TokenIssuer, caplog: pytest.LogCaptureFixture) -> None:
    """An interrupted exchange is logged as an error, because the token in the file may be invalid."""
    session = issuer.open()
    issuer.gate.clear()
    asked = asyncio.create_task(session.token(issuer.refresh))
    await issuer.asked.wait()
    session.release()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "may be lost" in caplog.text
    asked.cancel()
    issuer.gate.set()
    await session.finish_renewal()


@pytest.mark.parametrize("jump", [-1e6, -90.0, 90.0, 1e6])
async def test_a_clock_that_is_set_stops_no_renewal(issuer: TokenIssuer, jump: float) -> None:
    """Renewal uses the monotonic clock, before and after a failure; only displayed times use the wall clock."""
    session = issuer.open()
    await token_of(session, issuer)
    issuer.failure = ConnectFailed("POST /auth/refresh: no connection")
    issuer.now += LIFETIME - RENEWAL_MARGIN
    await token_of(session, issuer)
    issuer.jump = jump
    issuer.failure = None
    issuer.now += RETRY_DELAY
    assert await token_of(session, issuer) == f"eyJ{MARKER}-3"
    assert session.expires_at == issuer.now + jump + LIFETIME
    issuer.jump = 0.0
    issuer.now += LIFETIME - RENEWAL_MARGIN - 1
    assert await token_of(session, issuer) == f"eyJ{MARKER}-3"
    issuer.now += 1
    assert await token_of(session, issuer) == f"eyJ{MARKER}-4"
