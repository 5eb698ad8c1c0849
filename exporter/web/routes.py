"""Answers to requests. All come from memory; only `/probe` waits for the platform."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import hdrs, web

from exporter.expose.compression import Exposition
from exporter.status import ExporterStatus
from exporter.web import negotiate, page, status_json
from exporter.web.responses import NO_STORE, line
from exporter.web.send import send
from exporter.web.words import listed

if TYPE_CHECKING:  # loaded only where there is a web configuration file
    from exporter.web.access import AccessControl

Reload = Callable[[], Awaitable[Sequence[str]]]
"""Reads the configuration again and returns its mistakes; none when the new one is in use."""

PROBE_PATH: Final = "/probe"
SCRAPE_TIMEOUT: Final = "X-Prometheus-Scrape-Timeout-Seconds"
TIMEOUT_MARGIN: Final = 0.5
"""Seconds of the scrape timeout reserved for sending the response."""
MAX_PROBE: Final = 30.0
"""Seconds that a probe may take if the client does not say how long it waits."""

_PAGE_HEADERS: Final[dict[str, str]] = NO_STORE | {
    hdrs.CONTENT_TYPE: "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src '{page.STYLE_HASH}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_PARTS_AT_A_TIME: Final = 10
"""Parts of a page, one per team, rendered before other tasks may run: a few milliseconds of work."""


class Source(Protocol):
    """What the routes show. Only `probe` waits for the platform."""

    async def scrape(self, *, openmetrics: bool) -> Exposition:
        """Return the exposition of all teams, in OpenMetrics 1.0.0 or in the text format 0.0.4."""

    async def probe(self, name: str, *, openmetrics: bool, within: float) -> Exposition:
        """Poll one existing team and return its exposition, after `within` seconds with the data known so far."""

    def status(self) -> ExporterStatus:
        """Return the current state of all polls."""

    def note_internal_error(self) -> None:
        """Count a request that failed because of a bug."""

    def healthy(self) -> bool:
        """Return whether the event loop and the poll schedule advance."""


class Routes:
    """The handlers of one source."""

    def __init__(
        self, source: Source, telemetry_path: str, reload: Reload | None, access: "AccessControl | None"
    ) -> None:
        self._source = source
        self._telemetry_path = telemetry_path
        self._reload = reload
        self._access = access

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Send the metrics of all teams, which were rendered and compressed after their polls."""
        openmetrics = negotiate.prefers_openmetrics(_header(request, hdrs.ACCEPT))
        return await _send_exposition(
            request, await self._source.scrape(openmetrics=openmetrics), openmetrics=openmetrics
        )

    async def probe(self, request: web.Request) -> web.StreamResponse:
        """Poll one team and send its metrics. Names are looked up, so a caller cannot choose an address."""
        names = request.query.getall("team", ())
        if len(names) != 1 or not names[0]:
            return line(400, "Exactly one team is required: /probe?team=NAME.")
        if all(team.name != names[0] for team in self._source.status().teams):
            return line(404, "No such team; /sd lists the teams.")
        openmetrics = negotiate.prefers_openmetrics(_header(request, hdrs.ACCEPT))
        within = scrape_timeout(_header(request, SCRAPE_TIMEOUT))
        exposition = await self._source.probe(names[0], openmetrics=openmetrics, within=within)
        return await _send_exposition(request, exposition, openmetrics=openmetrics)

    async def discovery(self, request: web.Request) -> web.Response:
        """Send one target per team, for Prometheus' HTTP service discovery."""
        targets = [
            {
                "targets": [request.host],
                "labels": {
                    "__scheme__": request.scheme,
                    "__metrics_path__": PROBE_PATH,
                    "__param_team": team.name,
                },
            }
            for team in self._source.status().teams
        ]
        return web.json_response(targets, headers=NO_STORE)

    async def reload(self, _: web.Request) -> web.Response:
        """Read the configuration again, if that is allowed."""
        if self._reload is None:
            return line(403, "Not enabled: start with --web.enable-lifecycle.")
        mistakes = await self._reload()
        if mistakes:
            return line(500, "\n".join(mistakes))
        return line(200, "Reloaded.")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Send the status page."""
        texts = page.render(self._source.status(), self._telemetry_path, request.query.get("team"))
        return await _send_parts(request, _PAGE_HEADERS, texts)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Send the same as JSON."""
        headers: dict[str, str] = NO_STORE | {hdrs.CONTENT_TYPE: "application/json"}
        return await _send_parts(request, headers, status_json.render(self._source.status()))

    async def healthy(self, _: web.Request) -> web.Response:
        """Say whether this process works; the platform is not asked."""
        if self._source.healthy():
            return line(200, "Healthy.")
        return line(503, "Not healthy: the poll schedule is stalled.")

    async def ready(self, _: web.Request) -> web.Response:
        """Say whether each team was polled and each discovery was run once, and which teams were not."""
        status = self._source.status()
        if status.ready:
            return line(200, "Ready.")
        if self._access is not None and self._access.wants_passwords:
            # This path needs no password, so it must not show names.
            return line(503, "Not ready.")
        missing = [team.name for team in status.teams if not team.attempted]
        if not missing:
            return line(503, "Not ready: teams are not discovered yet.")
        return line(503, f"Not ready: not polled yet: {listed(missing, 20)}.")


def _header(request: web.Request, name: str) -> str:
    """Return all values of a header as one; empty when there is none."""
    return ",".join(request.headers.getall(name, ()))


async def _send_exposition(request: web.Request, exposition: Exposition, *, openmetrics: bool) -> web.StreamResponse:
    headers: dict[str, str] = NO_STORE | {
        hdrs.CONTENT_TYPE: negotiate.OPENMETRICS_TYPE if openmetrics else negotiate.TEXT_TYPE,
        hdrs.VARY: "Accept, Accept-Encoding",
    }
    if negotiate.accepts_gzip(_header(request, hdrs.ACCEPT_ENCODING)):
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        return await send(request, headers, sum(map(len, exposition.gzip)), exposition.gzip)
    return await send(request, headers, exposition.text_length, exposition.text())


def scrape_timeout(header: str) -> float:
    """Seconds that a probe may take: Prometheus' scrape timeout minus a margin for sending the response."""
    try:
        stated = float(header)
    except ValueError:
        stated = math.nan
    return max(stated - TIMEOUT_MARGIN, stated / 2) if 0 < stated <= MAX_PROBE else MAX_PROBE - TIMEOUT_MARGIN


async def _send_parts(request: web.Request, headers: dict[str, str], texts: Iterable[str]) -> web.StreamResponse:
    """Send a page that is rendered part by part, so that thousands of teams do not stall the polls."""
    parts: list[bytes] = []
    for number, text in enumerate(texts, start=1):
        parts.append(text.encode())
        if number % _PARTS_AT_A_TIME == 0:
            await asyncio.sleep(0)
    return await send(request, headers, sum(map(len, parts)), parts)
