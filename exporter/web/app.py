"""The application: which path is answered by what."""

from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from exporter.web.responses import ADD_HEADERS, NOTE_INTERNAL_ERROR, AddHeaders, Handler, line
from exporter.web.routes import PROBE_PATH, Reload, Routes, Source

if TYPE_CHECKING:  # loaded only where there is a web configuration file
    from exporter.web.access import AccessControl

STATUS_PATH: Final = "/api/v1/status"
HEALTHY_PATH: Final = "/-/healthy"
READY_PATH: Final = "/-/ready"
RELOAD_PATH: Final = "/-/reload"
DISCOVERY_PATH: Final = "/sd"


def make_app(
    source: Source,
    *,
    telemetry_path: str = "/metrics",
    reload: Reload | None = None,
    access: "AccessControl | None" = None,
) -> web.Application:
    """Build the application.

    Args:
        source: what to show.
        telemetry_path: the path of the metrics; "/" replaces the status page.
        reload: reads the configuration again; None if that is not allowed over HTTP.
        access: applies the web configuration file; None if there is none.
    """
    routes = Routes(source, telemetry_path, reload, access)
    app = web.Application(middlewares=[_plain_errors])
    add_headers: AddHeaders = partial(_add_headers, access)
    app[ADD_HEADERS] = add_headers
    app[NOTE_INTERNAL_ERROR] = source.note_internal_error

    async def prepare(_: web.Request, response: web.StreamResponse) -> None:
        add_headers(response)

    app.on_response_prepare.append(prepare)
    if access is not None:
        # Kubernetes' probes cannot send a password, and these two responses contain nothing secret.
        app.middlewares.insert(0, access.middleware(routes.healthy, routes.ready))
    paths: dict[str, Handler] = {
        "/": routes.page,
        STATUS_PATH: routes.status,
        HEALTHY_PATH: routes.healthy,
        READY_PATH: routes.ready,
        PROBE_PATH: routes.probe,
        DISCOVERY_PATH: routes.discovery,
        telemetry_path: routes.metrics,
    }
    app.add_routes([web.get(path, handler) for path, handler in paths.items()])
    app.add_routes([web.post(RELOAD_PATH, routes.reload), web.put(RELOAD_PATH, routes.reload)])
    return app


def _add_headers(access: "AccessControl | None", response: web.StreamResponse) -> None:
    """Name the server without a version, forbid content sniffing, and add the web configuration's headers."""
    response.headers[hdrs.SERVER] = "cyberun-exporter"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if access is not None:
        access.add_headers(response)


@web.middleware
async def _plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a wrong path or method with one line of plain text."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return line(404, "Not found. / links to every page.")
    except web.HTTPMethodNotAllowed as refused:
        allowed = ", ".join(sorted(refused.allowed_methods))
        return line(405, f"Method not allowed. Allowed here: {allowed}.", **{hdrs.ALLOW: allowed})
