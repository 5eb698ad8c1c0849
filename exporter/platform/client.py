"""Sends single requests over connections that all teams share, and maps failures to a closed set of reasons."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, TypedDict

import aiohttp
from yarl import URL

from exporter.errors import ConnectFailed, PlatformError, StaleConnection, TooLarge, Undecodable
from exporter.platform.body import read_body
from exporter.platform.call import Call, RequestLog
from exporter.platform.connections import (
    MAX_FIELD_BYTES,
    MAX_HEADERS,
    ConnectionBroken,
    WatchedRequest,
    connector,
    send_once,
)
from exporter.platform.credentials import TokenSource
from exporter.platform.failures import connection_error, error_for_status, error_message
from exporter.platform.pacing import Pacer, parse_http_date, parse_retry_after
from exporter.platform.team import TeamClient
from exporter.platform.trust import Trust

_MAX_ERROR_BYTES = 64 * 1024
"""Maximum bytes of an error's body that are searched for the platform's message."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request."""

    timeout: float
    """Seconds from connecting to the last byte, without the wait for a permit."""
    max_response_bytes: int
    """Maximum bytes of a body, both as sent and decompressed."""


class _Sessions(NamedTuple):
    """The two HTTP sessions with the platform."""

    pooled: aiohttp.ClientSession
    fresh: aiohttp.ClientSession
    """Makes a new connection for each request."""


class Platform:
    """The platform, over connections that all teams share. Mutable: it keeps them open until `close`."""

    def __init__(  # noqa: PLR0913  dependencies, each passed by keyword
        self,
        base_url: str,
        *,
        limits: Limits,
        pacer: Pacer,
        log: RequestLog,
        trust: Trust,
        user_agent: str,
        proxy: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            base_url: with the version, such as `https://core.cyberun.cloud/api/v1`.
            limits: for each request.
            pacer: for all requests.
            log: records every request.
            trust: which certificate authorities are trusted.
            user_agent: the value of the header.
            proxy: from `environment_proxy`; None connects directly.
            clock: Unix seconds.
        """
        self.pacer = pacer
        self.log = log
        self.trust = trust
        self._limits = limits
        self._clock = clock
        self._base = URL(base_url)
        self._headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": user_agent}
        self._proxy = proxy
        self._sessions: _Sessions | None = None
        self._skew = 0.0
        self._sending = 0
        self._closed = False

    async def aclose(self) -> None:
        """Close the connections once the requests under way have ended.

        Requests that still wait for a permit are sent first, so that a reload loses none.
        """
        self._closed = True
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._closed and not self._sending and self._sessions is not None:
            sessions, self._sessions = self._sessions, None
            await sessions.pooled.close()
            await sessions.fresh.close()

    def _session(self, *, pooled: bool) -> aiohttp.ClientSession:
        # No trust_env: aiohttp would look up ~/.netrc for each request and refuse it beside our Authorization header.
        return aiohttp.ClientSession(
            connector=connector(pooled=pooled),
            request_class=WatchedRequest,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            middlewares=(send_once,),
            proxy=self._proxy,
            max_line_size=MAX_FIELD_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
        )

    def team(
        self, name: str, credential: TokenSource, team_id: str | None, agents_path: str | None = None
    ) -> TeamClient:
        """The client of one team; see `TeamClient`."""
        return TeamClient(self, name, credential, team_id=team_id, agents_path=agents_path)

    async def send(self, call: Call) -> bytes:
        """Send one request now; the caller holds a permit of the pacer.

        Returns:
            The decompressed body of a 200.

        Raises:
            PlatformError: its traceback does not contain the secret, because the frames that held it have ended.
        """
        started = asyncio.get_running_loop().time()
        self._sending += 1
        try:
            async with asyncio.timeout(self._limits.timeout):
                return await self._exchange(call)
        except PlatformError as error:
            failure = error.without_traceback()
        except (aiohttp.ClientError, OSError, ValueError, ConnectionBroken) as error:
            kind, why = connection_error(error, self._limits.timeout)
            stale = isinstance(error, ConnectionBroken) and error.stale
            if call.method == "GET" and kind is ConnectFailed and stale:
                kind = StaleConnection
            failure = kind(f"{call}: {call.printable(why)}")
        finally:
            self.log.answered(call.path, asyncio.get_running_loop().time() - started)
            self._sending -= 1
            await self._close_if_unused()
        raise failure

    async def _exchange(self, call: Call) -> bytes:
        self._sessions = self._sessions or _Sessions(self._session(pooled=True), self._session(pooled=False))
        session = self._sessions.fresh if call.fresh else self._sessions.pooled
        trusted = await self.trust.context() if self._base.scheme == "https" else True
        url = self._base.joinpath(call.path.lstrip("/")).with_query(call.query)
        started = asyncio.get_running_loop().time()
        response = await session.request(call.method, url, **_proof(call), ssl=trusted, allow_redirects=False)
        try:
            elapsed = asyncio.get_running_loop().time() - started
            self._note_clock(response, elapsed)
            if response.status == HTTPStatus.OK or (call.method == "POST" and response.status == HTTPStatus.CREATED):
                return await call.without_secret(await _body(call, response, self._limits.max_response_bytes))
            raise await self._refused(call, response, (self._limits.timeout - elapsed) / 2)
        finally:
            response.close()  # returned to the pool only if it was read to its end; never drained

    async def _refused(self, call: Call, response: aiohttp.ClientResponse, time_left: float) -> PlatformError:
        wait = parse_retry_after(response.headers.get("Retry-After"), self._clock() + self._skew)
        words = ""
        # The status alone is usable; reading the error text is optional and gets at most half of the remaining time.
        with suppress(TimeoutError, aiohttp.ClientError, OSError, TooLarge, Undecodable):
            async with asyncio.timeout(time_left):
                body = await _body(call, response, min(_MAX_ERROR_BYTES, self._limits.max_response_bytes))
                words = call.printable(error_message(body))
        text = f"{call}: {response.status}{': ' if words else ''}{words}"
        return error_for_status(response.status)(text, retry_after=wait)

    def _note_clock(self, response: aiohttp.ClientResponse, elapsed: float) -> None:
        moment = parse_http_date(response.headers.get("Date", ""))
        if moment is not None:
            # `Date` is truncated to seconds, and was written about halfway through the request.
            self._skew = moment + 0.5 - (self._clock() - elapsed / 2)
            self.log.clock_skew(self._skew)


class _Proof(TypedDict, total=False):
    """The aiohttp arguments that authenticate the request."""

    headers: dict[str, str]
    json: dict[str, str]


def _proof(call: Call) -> _Proof:
    """Reveal the secret, for the one expression that sends it."""
    secret = call.secret.get_secret_value()
    if call.method == "POST":
        return {"json": {"refresh_token": secret}}
    team = {"X-Team-ID": call.team_id} if call.team_id else {}
    return {"headers": {"Authorization": f"Bearer {secret}", **team}}


async def _body(call: Call, response: aiohttp.ClientResponse, limit: int) -> bytes:
    encoding = ", ".join(response.headers.getall("Content-Encoding", ()))
    try:
        return await read_body(response.content.iter_any(), encoding, limit, response.content_length)
    except (TooLarge, Undecodable) as error:
        raise type(error)(f"{call}: {response.status}, but {error}") from None
