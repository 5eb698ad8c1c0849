"""One GET at a time to the platform: limits, credentials, pacing, and failures as a closed set of reasons.

What is sent again, and when, is decided here alone: once after a 401, when the credential's source holds another one
by then. Everything else fails and waits for the next poll.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, Self

import aiohttp
from pydantic import SecretStr
from yarl import URL

from exporter.errors import (
    PlatformError,
    RequestTimeout,
    SchemaMismatch,
    TooLarge,
    Unauthorized,
    Undecodable,
)
from exporter.platform import paths, wire
from exporter.platform.body import read_body
from exporter.platform.credentials import TokenSource
from exporter.platform.failures import ConnectionBroken, connection_error, error_for_status, error_message
from exporter.platform.pacing import Pacer, parse_http_date, parse_retry_after
from exporter.redact import one_line

_MAX_ERROR_BYTES = 64 * 1024
"""As much of an error's body as is looked at for the platform's words."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost."""

    timeout: float
    """Seconds from the connect to the last byte; waiting for the pacer does not count."""
    max_response_bytes: int
    """Of a body, both as sent and decompressed."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send."""

    method: str
    path: str
    """Below the base URL; it is the `path` label, too."""
    secret: str = field(repr=False)
    """What it proves itself with, which no error repeats."""
    query: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, str] | None = field(default=None, repr=False)
    """Sent as JSON."""


class RequestLog(Protocol):
    """Whoever wants to know what the client did. Paths are templates, never URLs."""

    def request(self, team: str, path: str) -> None:
        """A request is being sent, a repetition included."""

    def answered(self, path: str, seconds: float) -> None:
        """A request ended after so many seconds, well or not."""

    def failed(self, team: str, path: str, reason: str) -> None:
        """A `get` failed for good; reason is one of `exporter.errors.REASONS`."""

    def clock_skew(self, seconds: float) -> None:
        """The platform's clock minus ours."""


class Platform:
    """The platform, over connections that all teams share. Mutable: it holds them from the first request to `close`."""

    def __init__(  # noqa: PLR0913  what the wiring decides, each by its name
        self,
        base_url: str,
        *,
        limits: Limits,
        pacer: Pacer,
        log: RequestLog,
        ssl_context: ssl.SSLContext | None,
        keepalive: float,
        user_agent: str,
        proxy: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            base_url: with the version prefix, as `https://core.cyberun.cloud/api/v1`.
            limits: of each request.
            pacer: of all requests.
            log: is told what happens.
            ssl_context: from `trust`; None trusts what the system trusts.
            keepalive: seconds an idle connection is kept; best longer than the longest interval.
            user_agent: the header.
            proxy: from `environment_proxy`; None connects directly.
            clock: Unix seconds.
        """
        self.pacer = pacer
        self.log = log
        self._limits = limits
        self._clock = clock
        self._base = URL(base_url)
        self._ssl = ssl_context
        self._keepalive = keepalive
        self._headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": user_agent}
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None
        self._sending = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections once the requests under way have left.

        Those that still wait for a permit are sent all the same: a reload costs nobody an answer.
        """
        self._closed = True
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._closed and not self._sending and self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        # No trust_env: aiohttp would look up ~/.netrc for each request and refuse it beside our Authorization header.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=self._keepalive, ssl=True if self._ssl is None else self._ssl
            ),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            middlewares=(_send_once,),
            proxy=self._proxy,
        )

    def team(self, name: str, credential: TokenSource, team_id: str | None) -> "TeamClient":
        """The client of one team; `team_id` is sent beside a JWT only."""
        return TeamClient(self, name, credential, team_id)

    async def send(self, call: Call) -> bytes | PlatformError:
        """Send one request now, in a slot of the pacer that the caller holds.

        Returns:
            The decompressed body of a 200, or why there is none. The error is returned and not raised, so that no
            traceback leads to frames that hold the credential.
        """
        started = asyncio.get_running_loop().time()
        kind: type[PlatformError]
        self._sending += 1
        try:
            async with asyncio.timeout(self._limits.timeout):
                return await self._exchange(call)
        except (TooLarge, Undecodable) as error:
            kind, why = type(error), f"200, but {error}"
        except (aiohttp.ClientError, OSError, ValueError, ConnectionBroken) as error:
            kind, why = connection_error(error, self._limits.timeout)
        finally:
            self.log.answered(call.path, asyncio.get_running_loop().time() - started)
            self._sending -= 1
            await self._close_if_unused()
        return kind(f"{call.method} {call.path}: {one_line(why, call.secret)}")

    async def _exchange(self, call: Call) -> bytes | PlatformError:
        self._session = self._session or self._opened()
        url = self._base.joinpath(call.path.lstrip("/")).with_query(call.query)
        started = asyncio.get_running_loop().time()
        response = await self._session.request(
            call.method, url, headers=call.headers, json=call.body, allow_redirects=False
        )
        try:
            elapsed = asyncio.get_running_loop().time() - started
            self._note_clock(response, elapsed)
            if response.status == HTTPStatus.OK:
                return await _body(response, self._limits.max_response_bytes)
            return await self._refused(call, response, (self._limits.timeout - elapsed) / 2)
        finally:
            response.close()  # back to the pool when it was read to its end; never drained

    async def _refused(self, call: Call, response: aiohttp.ClientResponse, patience: float) -> PlatformError:
        wait = parse_retry_after(response.headers.get("Retry-After"), self._clock())
        words = ""
        # A status is an answer already: the platform's words may be missing, and take half of the time left.
        with suppress(TimeoutError, aiohttp.ClientError, OSError, TooLarge, Undecodable):
            async with asyncio.timeout(patience):
                body = await _body(response, min(_MAX_ERROR_BYTES, self._limits.max_response_bytes))
                words = one_line(error_message(body), call.secret)
        text = f"{call.method} {call.path}: {response.status}{': ' if words else ''}{words}"
        return error_for_status(response.status)(text, retry_after=wait)

    def _note_clock(self, response: aiohttp.ClientResponse, elapsed: float) -> None:
        moment = parse_http_date(response.headers.get("Date", ""))
        if moment is not None:
            # Date is cut to the second; the platform wrote it about halfway.
            self.log.clock_skew(moment + 0.5 - (self._clock() - elapsed / 2))


class TeamClient:
    """What one team may ask the platform. Mutable: it knows whether the last answer kept it waiting in vain."""

    def __init__(self, platform: Platform, name: str, credential: TokenSource, team_id: str | None) -> None:
        self._platform = platform
        self._name = name
        self._credential = credential
        self._team_id = team_id
        self._hung = False

    def poll_permit(self) -> AbstractAsyncContextManager[object]:
        """The team's turn to be polled; it ends with the block."""
        return self._platform.pacer.poll_permit(likely_to_hang=self._hung)

    async def get(self, path: str, query: Mapping[str, str | int]) -> bytes:
        """The decompressed body of a 200.

        Args:
            path: below the base URL, as `/r/tasks`; it is the `path` label, too.
            query: parameters.

        Raises:
            PlatformError: one of its leaves but `SchemaMismatch`; counted already.
        """
        outcome = await self._outcome(path, query)
        if isinstance(outcome, PlatformError):
            self.fail(path, outcome)
            raise outcome
        return outcome

    def fail(self, path: str, error: PlatformError) -> None:
        """Count a failure that was found only when the body of `path` was looked at."""
        self._platform.log.failed(self._name, path, error.reason)

    async def _outcome(self, path: str, query: Mapping[str, str | int]) -> bytes | PlatformError:
        try:
            token = await self._credential.token(self._refresh)
            outcome = await self._request(path, query, token)
            if isinstance(outcome, Unauthorized):
                renewed = await self._credential.renewed(token, self._refresh)
                if renewed != token:
                    outcome = await self._request(path, query, renewed)
        except Unauthorized as error:
            outcome = Unauthorized(f"GET {path}: no usable credential: {error}")
        except PlatformError as error:  # of the session's own request
            outcome = error.anew()
        return outcome

    async def _request(self, path: str, query: Mapping[str, str | int], token: str) -> bytes | PlatformError:
        headers = {"Authorization": f"Bearer {token}"}
        if self._team_id and self._credential.kind == "jwt":
            headers["X-Team-ID"] = self._team_id
        return await self._send(Call("GET", path, token, query, headers))

    async def _refresh(self, refresh_token: SecretStr) -> wire.Tokens | PlatformError:
        token = refresh_token.get_secret_value
        outcome = await self._send(Call("POST", paths.REFRESH, token(), body={"refresh_token": token()}))
        tokens = outcome if isinstance(outcome, PlatformError) else wire.decode_tokens(outcome)
        if isinstance(tokens, PlatformError):
            self.fail(paths.REFRESH, tokens)
        elif tokens.access_token is None:  # what remains is of use all the same
            self.fail(paths.REFRESH, SchemaMismatch("the answer holds no access_token"))
        return tokens

    async def _send(self, call: Call) -> bytes | PlatformError:
        async with self._platform.pacer.request_permit(likely_to_hang=self._hung):
            self._platform.log.request(self._name, call.path)
            outcome = await self._platform.send(call)
        self._hung = isinstance(outcome, RequestTimeout)
        return outcome


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionBroken from error


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    if (response.content_length or 0) > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")
    encoding = ", ".join(response.headers.getall("Content-Encoding", ()))
    return await read_body(response.content.iter_any(), encoding, limit)
