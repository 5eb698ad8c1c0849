"""Control endpoints for tests that drive the simulator as another process: faults and the journal over HTTP."""

from typing import Any

from aiohttp import web

from exporter.demo.faults import FaultError, Faults
from exporter.demo.journal import Journal

_FIELDS = {"kind", "team", "path", "value", "times"}


def add_routes(app: web.Application, faults: Faults, journal: Journal) -> None:
    """Add `/_simulate/faults` and `/_simulate/requests` to a server."""

    async def set_faults(request: web.Request) -> web.Response:
        try:
            _set(faults, await request.json())
        except ValueError as error:
            return web.json_response({"error_message": str(error)}, status=400)
        return _shown(faults)

    async def show_faults(_: web.Request) -> web.Response:
        return _shown(faults)

    async def clear_faults(_: web.Request) -> web.Response:
        faults.clear()
        return _shown(faults)

    async def show_requests(request: web.Request) -> web.Response:
        calls = journal.select(team=request.query.get("team"), path=request.query.get("path"))
        return web.json_response({"count": len(calls), "requests": [call.as_json() for call in calls]})

    async def clear_requests(_: web.Request) -> web.Response:
        journal.clear()
        return web.json_response({"count": 0, "requests": []})

    app.router.add_post("/_simulate/faults", set_faults)
    app.router.add_get("/_simulate/faults", show_faults)
    app.router.add_delete("/_simulate/faults", clear_faults)
    app.router.add_get("/_simulate/requests", show_requests)
    app.router.add_delete("/_simulate/requests", clear_requests)


def _set(faults: Faults, wanted: Any) -> None:
    match wanted:
        case {"faults": str(text)}:
            faults.parse(text)
        case {"kind": str(kind)} if wanted.keys() <= _FIELDS:
            times = wanted.get("times")
            if not (times is None or (isinstance(times, int) and not isinstance(times, bool))):
                raise FaultError(f"times is {times!r}; allowed: 1 and more")
            team, path = (_text(wanted, name) for name in ("team", "path"))
            faults.set(kind, team=team, path=path, value=wanted.get("value"), times=times)
        case _:
            raise FaultError(
                'allowed: {"faults": "team:path:kind=value"} or {"kind", "team", "path", "value", "times"}'
            )


def _text(wanted: dict[str, Any], name: str) -> str | None:
    value = wanted.get(name)
    if not isinstance(value, str | None):
        raise FaultError(f"{name} is {value!r}; allowed: text")
    return value


def _shown(faults: Faults) -> web.Response:
    active = [
        {
            "kind": fault.kind,
            "team": fault.team,
            "path": fault.path,
            "value": _readable(fault.value),
            "times": fault.left,
        }
        for fault in faults
    ]
    return web.json_response({"faults": active})


def _readable(value: object) -> object:
    return value if isinstance(value, str | int | float | list | None) else repr(value)
