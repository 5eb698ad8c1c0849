"""The routes. Handlers read one source, which has everything at hand: none waits for the network or renders metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, Protocol

from aiohttp import hdrs, web

from exporter.status import ExporterStatus
from exporter.web import negotiate, page, status_json
from exporter.web.send import send
from exporter.web.words import listed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATUS_PATH: Final = "/api/v1/status"
HEALTHY_PATH: Final = "/-/healthy"
READY_PATH: Final = "/-/ready"

_NEVER_STORED: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-store"}
_LINE: Final[dict[str, str]] = _NEVER_STORED | {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8"}
_PAGE_HEADERS: Final[dict[str, str]] = _NEVER_STORED | {
    hdrs.CONTENT_TYPE: "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src '{page.STYLE_HASH}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_PIECES_AT_A_TIME: Final = 10
"""How many pieces of a page (a team each) are made before others get their turn: a few milliseconds' worth."""


class Exposition(Protocol):
    """One payload in one format, prepared; immutable, so that a slow reader gets what it was promised."""

    @property
    def gzip(self) -> tuple[bytes, ...]:
        """One gzip member, in parts to send in order."""

    @property
    def text_length(self) -> int:
        """Bytes when decompressed."""

    def text(self) -> Iterator[bytes]:
        """Yield the decompressed bytes, in slices of at most 256 KiB."""


class Source(Protocol):
    """What the routes show. Every call answers at once."""

    def exposition(self, *, openmetrics: bool) -> Exposition:
        """Return the payload of this moment, in OpenMetrics 1.0.0 or in the text format 0.0.4."""

    def status(self) -> ExporterStatus:
        """Return what is known about the polls at this moment."""

    def healthy(self) -> bool:
        """Tell whether the event loop and the poll schedule advance."""


def make_app(source: Source, *, telemetry_path: str = "/metrics") -> web.Application:
    """Build the application.

    Args:
        source: what to show.
        telemetry_path: where the metrics are. "/" takes the place of the status page.
    """
    routes = _Routes(source, telemetry_path)
    app = web.Application(middlewares=[_plain_errors])
    app.on_response_prepare.append(_common_headers)
    paths: dict[str, Handler] = {
        "/": routes.page,
        STATUS_PATH: routes.status,
        HEALTHY_PATH: routes.healthy,
        READY_PATH: routes.ready,
        telemetry_path: routes.metrics,
    }
    app.add_routes([web.get(path, handler) for path, handler in paths.items()])
    return app


class _Routes:
    """The handlers of one source."""

    def __init__(self, source: Source, telemetry_path: str) -> None:
        self._source = source
        self._telemetry_path = telemetry_path

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Send prepared bytes: nothing is rendered or compressed here."""
        openmetrics = negotiate.prefers_openmetrics(_header(request, hdrs.ACCEPT))
        exposition = self._source.exposition(openmetrics=openmetrics)
        headers: dict[str, str] = _NEVER_STORED | {
            hdrs.CONTENT_TYPE: negotiate.OPENMETRICS_TYPE if openmetrics else negotiate.TEXT_TYPE,
            hdrs.VARY: "Accept, Accept-Encoding",
        }
        if negotiate.accepts_gzip(_header(request, hdrs.ACCEPT_ENCODING)):
            headers[hdrs.CONTENT_ENCODING] = "gzip"
            return await send(request, headers, sum(map(len, exposition.gzip)), exposition.gzip)
        return await send(request, headers, exposition.text_length, exposition.text())

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Send the status page."""
        pieces = page.render(self._source.status(), self._telemetry_path, request.query.get("team"))
        return await _send_pieces(request, _PAGE_HEADERS, pieces)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Send the same as JSON."""
        headers: dict[str, str] = _NEVER_STORED | {hdrs.CONTENT_TYPE: "application/json"}
        return await _send_pieces(request, headers, status_json.render(self._source.status()))

    async def healthy(self, _: web.Request) -> web.Response:
        """Say whether this process works; the platform is not asked."""
        if self._source.healthy():
            return web.Response(text="Healthy.\n", headers=_LINE)
        return web.Response(status=503, text="Not healthy: the poll schedule stands still.\n", headers=_LINE)

    async def ready(self, _: web.Request) -> web.Response:
        """Say whether every team was polled once, and which were not."""
        missing = [team.name for team in self._source.status().teams if not team.attempted]
        if not missing:
            return web.Response(text="Ready.\n", headers=_LINE)
        return web.Response(status=503, text=f"Not ready: not polled yet: {listed(missing, 20)}.\n", headers=_LINE)


def _header(request: web.Request, name: str) -> str:
    """Return all lines of a header as one; empty when there is none."""
    return ",".join(request.headers.getall(name, ()))


async def _send_pieces(request: web.Request, headers: dict[str, str], pieces: Iterable[str]) -> web.StreamResponse:
    """Send a page whose pieces are made one by one, so that thousands of teams do not stall the polls."""
    parts: list[bytes] = []
    for number, piece in enumerate(pieces, start=1):
        parts.append(piece.encode())
        if number % _PIECES_AT_A_TIME == 0:
            await asyncio.sleep(0)
    return await send(request, headers, sum(map(len, parts)), parts)


async def _common_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Name the server without its versions, and have browsers take the type as it is said."""
    response.headers[hdrs.SERVER] = "cyberun-exporter"
    response.headers["X-Content-Type-Options"] = "nosniff"


@web.middleware
async def _plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a wrong path or method in one line of plain text."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return web.Response(status=404, text="Not found. / lists what there is.\n", headers=_LINE)
    except web.HTTPMethodNotAllowed as refused:
        allowed = ", ".join(sorted(refused.allowed_methods))
        headers = _LINE | {hdrs.ALLOW: allowed}
        return web.Response(status=405, text=f"Method not allowed. Allowed here: {allowed}.\n", headers=headers)
