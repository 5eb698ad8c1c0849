"""A scripted platform, and a client of it whose every failure is searched for the credential."""

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from exporter.errors import PlatformError
from exporter.platform.client import Limits, Platform
from exporter.platform.credentials import Credential
from exporter.platform.pacing import Pacer
from exporter.platform.team import TeamClient
from exporter.platform.trust import Trust

MARKER = "MARKERmarkerMARKER"
KEY = f"sk-{MARKER}"
JWT = f"eyJhbGciOiJIUzI1NiJ9.{MARKER}.c2ln"
NOW = 1739194200.25  # a quarter of a second after Mon, 10 Feb 2025 13:30:00 GMT

Script = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Server:
    """A real server on loopback. Mutable: a test sets the script and reads the requests."""

    script: Script
    base_url: str = ""
    requests: list[web.BaseRequest] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client left before its answer was complete."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Note the request and play the script."""
        self.requests.append(request)
        self.connections.add(request.transport)
        self.asked.set()
        try:
            return await self.script(request)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise


async def healthy(_: web.BaseRequest) -> web.StreamResponse:
    """Answer with the smallest JSON."""
    return web.Response(body=b"{}", content_type="application/json")


def answering(status: int = 200, body: bytes = b"{}", encoding: str = "", **headers: str) -> Script:
    """Answer with this; an underscore in a header's name stands for a hyphen."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if encoding:
        sent["Content-Encoding"] = encoding

    async def script(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=sent)

    return script


def raw(*parts: bytes, hang: bool = False) -> Script:
    """Write these bytes to the connection, then close it or keep it open."""

    async def script(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request.transport, asyncio.Transport)
        for part in parts:
            request.transport.write(part)
        if hang:
            await asyncio.Event().wait()
        request.transport.close()
        return web.Response()

    return script


async def reset(request: web.BaseRequest) -> web.StreamResponse:
    """Break the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.BaseRequest) -> web.StreamResponse:
    """Send without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 10_000)


@asynccontextmanager
async def serving(script: Script = healthy, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve until the context ends; hanging scripts are cut off."""
    server = Server(script)
    web_server = web.Server(server.handle, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(web_server, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    server.base_url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/api/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class Log:
    """What the client recorded. Mutable."""

    requests: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[str, float]] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    skews: list[float] = field(default_factory=list)

    def request(self, team: str, path: str) -> None:
        """Note it."""
        self.requests.append((team, path))

    def answered(self, path: str, seconds: float) -> None:
        """Note it."""
        self.answers.append((path, seconds))

    def failed(self, team: str, path: str, reason: str) -> None:
        """Note it."""
        self.failures.append((team, path, reason))

    def clock_skew(self, seconds: float) -> None:
        """Note it."""
        self.skews.append(seconds)


@dataclass(slots=True)
class Client:
    """A team's client with everything around it."""

    log: Log
    platform: Platform
    team: TeamClient

    async def get(self, path: str = "/r/tasks", query: Mapping[str, str | int] | None = None) -> bytes:
        """Ask for a body."""
        return await self.team.get(path, query or {})

    async def failure(self, path: str = "/r/tasks") -> PlatformError:
        """Request a body and expect a failure, nothing of which contains the credential."""
        with pytest.raises(PlatformError) as caught:
            await self.get(path)
        assert self.log.failures[-1] == ("render", path, caught.value.reason)
        assert str(caught.value).startswith(f"GET {path}: ")
        assert str(caught.value).isprintable()
        assert MARKER not in everything_in(caught.value)
        return caught.value


@dataclass(frozen=True, slots=True)
class Wiring:
    """The settings of a client, except the address."""

    credential: Credential
    limits: Limits = field(default_factory=lambda: Limits(timeout=5.0, max_response_bytes=100_000))
    pacer: Pacer = field(default_factory=lambda: Pacer(1000, 8))
    trust: Trust = field(default_factory=lambda: Trust(None))
    proxy: str | None = None

    @asynccontextmanager
    async def client(self, base_url: str) -> AsyncIterator[Client]:
        """Open a client of the server there."""
        log = Log()
        platform = Platform(
            base_url,
            limits=self.limits,
            pacer=self.pacer,
            log=log,
            trust=self.trust,
            user_agent="cyberun-exporter/1.0.0",
            proxy=self.proxy,
            clock=lambda: NOW,
        )
        async with aclosing(platform):
            yield Client(log, platform, platform.team("render", self.credential, "019abc12"))


def credential(token: str = KEY) -> Credential:
    """A credential that never changes."""
    return Credential.from_environment("TOKEN", {"TOKEN": token}, clock=lambda: NOW)


def everything_in(error: BaseException) -> str:
    """A traceback of an error, its causes and contexts, with the local variables of the package's frames."""
    pending: list[BaseException | None] = [error]
    texts = []
    while pending:
        one = pending.pop()
        if one is None:
            continue
        pending += [one.__cause__, one.__context__]
        trace = traceback.TracebackException.from_exception(one, capture_locals=True)
        frames = [frame for frame in trace.stack if "/exporter/" in Path(frame.filename).as_posix()]
        texts.append(f"{one!r} {one} {[(frame.name, frame.line, frame.locals) for frame in frames]}")
    return "\n".join(texts)
