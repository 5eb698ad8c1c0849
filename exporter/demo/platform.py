"""The simulated platform: routes, errors and the server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from ssl import SSLContext
from typing import Any, Protocol

from aiohttp import web

from exporter.demo import answers, control, wire
from exporter.demo.access import PREFIXES, Access, Grant, Refused, authorise, team_of
from exporter.demo.answers import Answer
from exporter.demo.assumptions import ASSUMED, Assumptions, each, turned, with_twin
from exporter.demo.faults import Faults
from exporter.demo.fleet import Identity, Listing, SimulatedTeam
from exporter.demo.hostile import bury
from exporter.demo.journal import Call, Journal
from exporter.demo.pages import list_page
from exporter.demo.wire import PROVISIONING, STATUSES, Item, team_word, uuid7

_STOPPING = web.AppKey("stopping", asyncio.Event)


class Life(Protocol):
    """Something that changes teams as time passes."""

    def advance(self, to: float) -> None:
        """Simulate up to this time, in Unix seconds."""


class SimulatedPlatform:
    """The documented API for teams kept in memory. Mutable: teams may be changed while it serves.

    Args:
        seed: of ids and credentials; the same seed and clock always give the same ones.
        clock: returns Unix seconds; all times that the platform shows come from it.
        assumed: how it behaves where the documentation leaves something open.
        token_lifetime: seconds until a JWT expires.

    Attributes:
        teams: name to team, in the order they were added.
        life: advanced to the clock's time before each request is answered, if there is one.
    """

    prefix = "/api/v1"

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        assumed: Assumptions = ASSUMED,
        token_lifetime: float = 3600,
    ) -> None:
        self.teams: dict[str, SimulatedTeam] = {}
        self.life: Life | None = None
        self.assumed = assumed
        self.faults = Faults(self.teams)
        self.journal = Journal()
        self.clock = clock
        self._random = Random(seed)  # noqa: S311  repeatable on purpose; nothing here is secret
        self.access = Access(random=self._random, clock=clock, token_lifetime=token_lifetime)

    def add_team(
        self,
        name: str,
        *,
        team_id: str | None = None,
        token: str | None = None,
        kind: str | None = None,
        quotas: Mapping[str, float] | None = None,
    ) -> SimulatedTeam:
        """Add a team and a credential for it.

        Args:
            name: unique.
            team_id: generated if None.
            token: the key; generated if None. A JWT cannot be chosen.
            kind: integration, device or jwt; None takes the kind of the token, or integration without one.
            quotas: limits as `/users/me` shows them, -1 for unlimited.
        """
        if name in self.teams:
            raise ValueError(f"there is a team {name!r} already")
        kind = kind or next(
            (kind for kind, start in PREFIXES.items() if token and token.startswith(start)), "integration"
        )
        if team_id is None:
            uuids = self.assumed.uuid_team_ids
            team_id = uuid7(self._random, self.clock()) if uuids else team_word(self._random)
        identity = Identity(name, team_id, kind, name.title(), dict(quotas or {}))
        team = self.teams[name] = SimulatedTeam(identity, random=self._random, clock=self.clock)
        if kind == "jwt":
            self.access.add_user(f"{name}-operator", [team])
        else:
            team.token = self.access.add_key(team, kind, token=token)
        return team

    @asynccontextmanager
    async def serve(
        self, *, host: str = "127.0.0.1", port: int = 0, ssl_context: SSLContext | None = None
    ) -> AsyncIterator[str]:
        """Serve until the block ends; yield the base URL. May be entered again, even on the same port."""
        app = self._app()
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, ssl_context=ssl_context, reuse_address=True).start()
            scheme = "https" if ssl_context else "http"
            yield f"{scheme}://{host}:{runner.addresses[0][1]}{self.prefix}"
        finally:
            app[_STOPPING].set()
            await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application()
        app[_STOPPING] = asyncio.Event()
        control.add_routes(app, self.faults, self.journal)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        stopping = request.app[_STOPPING]
        if self.life is not None:
            self.life.advance(self.clock())
        call, grant = self._register(request)
        faults = self.faults.strike(call.team, call.path) if call.path in wire.PATHS else {}
        if "latency" in faults:
            await answers.pause(faults["latency"], stopping)
        if "hang" in faults:
            await answers.pause(None, stopping)
        if {"hang", "reset"} & faults.keys():
            return answers.reset(request)
        now = self.clock()
        answer = answers.instead(faults, now) or await self._answer(request, grant, call.path, faults)
        call.status = answer.status
        try:
            return await answers.send(request, answer, faults, now + faults.get("date", 0), stopping)
        except ConnectionError:  # the client left, which is its right
            return answers.reset(request)

    def _register(self, request: web.Request) -> tuple[Call, Grant | None]:
        grant = self.access.identify(request.headers)
        team = grant.team if grant else None
        if grant and grant.kind == "jwt":
            team_id = request.headers.get("X-Team-ID")
            team = next((team for team in grant.user.teams if team.team_id == team_id), None)
        call = Call(
            time=self.clock(),
            team=team.name if team else None,
            credential_kind=grant.kind if grant else None,
            method=request.method,
            path=request.path.removeprefix(self.prefix),
            query=dict(request.query),
        )
        self.journal.append(call)
        return call, grant

    async def _answer(self, request: web.Request, grant: Grant | None, path: str, faults: Mapping[str, Any]) -> Answer:
        try:
            payload = await self._payload(request, grant, path, faults)
        except Refused as refused:
            return Answer(refused.status, json.dumps({"error_message": str(refused)}).encode())
        return Answer(200, bury(json.dumps(payload).encode()))

    async def _payload(self, request: web.Request, grant: Grant | None, path: str, faults: Mapping[str, Any]) -> Item:
        if not request.path.startswith(self.prefix + "/"):
            raise Refused(404, "no such path")
        match request.method, path:
            case "POST", wire.REFRESH:
                return self.access.refresh(await _refresh_token(request))
            case "GET", wire.ME if self.assumed.users_me:
                return authorise(grant, request.headers, path).user.as_json(nested=self.assumed.nested_team_quotas)
            case "GET", wire.TASKS:
                return self._tasks(self._team(request, grant, path), request.query, faults)
            case "GET", wire.WORKFLOWS:
                workflows = self._team(request, grant, path).workflows()
                return list_page(self._ordered(workflows), "workflow_list", "id", request.query, faults)
            case "GET", wire.AGENTS | wire.RUNTIME_AGENTS:
                agents = self._team(request, grant, path).agents()
                agents = agents if self.assumed.unique_agent_ids else with_twin(agents)
                return list_page(self._ordered(agents), "agent_list", "agent_id", request.query, faults)
        raise Refused(404, "no such path")

    def _team(self, request: web.Request, grant: Grant | None, path: str) -> SimulatedTeam:
        return team_of(authorise(grant, request.headers, path), request.headers)

    def _tasks(self, team: SimulatedTeam, query: Mapping[str, str], faults: Mapping[str, Any]) -> Item:
        status = query.get("status")
        accepted = (*STATUSES, PROVISIONING) if self.assumed.provisioning_filter else STATUSES
        if status is not None and status not in accepted:
            raise Refused(400, f"status must be one of {', '.join(accepted)}")
        listing = self._ordered(each(team.tasks(None if "ignore_filter" in faults else status), self.assumed))
        if not self.assumed.filtered_total:
            listing = replace(listing, total=team.tasks().total)
        return list_page(listing, "task_list", "id", query, faults)

    def _ordered(self, listing: Listing) -> Listing:
        return listing if self.assumed.stable_order else turned(listing, 7 * len(self.journal))


async def _refresh_token(request: web.Request) -> object:
    try:
        body = await request.json()
    except ValueError:
        raise Refused(400, "the body must be JSON") from None
    return body.get("refresh_token") if isinstance(body, dict) else None
