"""The requests of one team: its lists, page by page, with its credential and within the common rate limit.

Only this module sends a request again, in two cases: a GET whose reused connection turned out to be dead, over a new
one; and a GET answered with 401, once, if the credential has changed since. Any other failure waits for the next poll.
A refresh token always goes over a new connection, because using it twice is not safe.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

from pydantic import SecretStr

from exporter.catalog import Scope
from exporter.errors import (
    Expected,
    PlatformError,
    RequestTimeout,
    SchemaMismatch,
    StaleConnection,
    Unauthorized,
    Undecodable,
)
from exporter.platform import account, paths, wire
from exporter.platform.bounds import takes_long
from exporter.platform.call import Call, RequestLog
from exporter.platform.credentials import TokenSource
from exporter.platform.pacing import SLOW, Pacer, PollPermit

T = TypeVar("T")
Query = Mapping[str, str | int]


class Sender(Protocol):
    """Sends requests over connections that all teams share: `exporter.platform.client.Platform`."""

    pacer: Pacer
    log: RequestLog

    async def send(self, call: Call) -> bytes:
        """The decompressed body of a 200; raises PlatformError."""


class TeamClient:
    """Sends one team's requests. Mutable.

    It remembers whether the last request timed out, how long recent ones took, and the last page read of each list.
    """

    def __init__(
        self, platform: Sender, name: str, credential: TokenSource, *, team_id: str | None, agents_path: str | None
    ) -> None:
        """Send requests for this team.

        Args:
            platform: sends the requests.
            name: the `team_name` label under which they are counted.
            credential: provides the token of each request.
            team_id: sent only with a JWT.
            agents_path: the path of the list of agents; None for the one that suits the credential.
        """
        self._platform = platform
        self._name = name
        self._credential = credential
        self._team_id = team_id
        self._agents_path = agents_path
        self._hung = False
        self._recent_seconds = 0.0  # the longest, halved with each request
        self._permit: PollPermit | None = None
        self._last_pages: dict[str, tuple[int, int | None]] = {}

    @property
    def agents_path(self) -> str:
        """The path of the list of agents; integration keys may call only runtime paths."""
        if self._agents_path is not None:
            return self._agents_path
        return paths.RUNTIME_AGENTS if self._credential.kind == "integration" else paths.AGENTS

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths that this team requests, except that of the workflows."""
        me = () if self._credential.kind == "integration" else (paths.ME,)
        refresh = (paths.REFRESH,) if self._credential.renews else ()
        return (paths.TASKS, self.agents_path, *me, *refresh)

    @asynccontextmanager
    async def poll_permit(self) -> AsyncIterator[None]:
        """Wait until this team may poll; the permit ends with the context."""
        permit = self._platform.pacer.poll_permit(likely_to_hang=self._hung, slow=self._recent_seconds > SLOW)
        async with permit:
            self._permit = permit
            try:
                yield
            finally:
                self._permit = None

    async def tasks(self, status: str | None, page: int, *, expected: Expected = ()) -> wire.Page[wire.Task]:
        """One page of the tasks that have this status, or of all tasks when it is None; the first is page 1.

        Raises:
            PlatformError: always one of its subclasses; counted already, unless it is `expected`.
        """

        def decode(body: bytes) -> wire.Page[wire.Task]:
            return self._refuse_repeat(wire.decode_tasks(body, page, status), status or "any")

        wanted: Query = {} if status is None else {"status": status}
        query = {**wanted, "current_page": page, "per_page": wire.PER_PAGE}
        return await self._get_decoded(paths.TASKS, query, decode, expected)

    async def total_tasks(self) -> int:
        """How many tasks there are, whatever their status.

        Raises:
            PlatformError: always one of its subclasses; counted already.
        """
        query = {"current_page": 1, "per_page": 1}
        return (await self._get_decoded(paths.TASKS, query, lambda body: wire.decode_tasks(body, 1, None))).total

    async def agents(self, page: int) -> wire.Page[wire.Agent]:
        """One page of the agents; the first is page 1.

        Raises:
            PlatformError: always one of its subclasses; counted already.
        """
        query: Query = {"current_page": page, "per_page": wire.PER_PAGE}
        return await self._get_decoded(
            self.agents_path, query, lambda body: self._refuse_repeat(wire.decode_agents(body, page))
        )

    async def workflows(self, page: int, *, expected: Expected = ()) -> wire.Page[wire.Workflow]:
        """One page of the workflows; the first is page 1.

        Raises:
            PlatformError: always one of its subclasses; counted already, unless it is `expected`.
        """
        query = {"current_page": page, "per_page": wire.PER_PAGE}
        return await self._get_decoded(paths.WORKFLOWS, query, lambda body: wire.decode_workflows(body, page), expected)

    async def me(self, *, expected: Expected = ()) -> account.Me:
        """The credential's user: teams and quotas. Not allowed for integration keys.

        Raises:
            PlatformError: always one of its subclasses; counted already, unless it is `expected`.
        """
        return await self._get_decoded(paths.ME, {}, account.decode_me, expected)

    async def teams(self, *, required: bool = False) -> list[account.OwnTeam]:
        """The teams of the credential's user that have an id; an empty list is a failure if some are `required`.

        Raises:
            PlatformError: always one of its subclasses; counted already.
        """
        return await self._get_decoded(paths.ME, {}, lambda body: account.decode_teams(body, required=required))

    def _refuse_repeat(self, page: wire.Page[wire.Item], status: str = "") -> wire.Page[wire.Item]:
        """Return the page, unless it repeats the one before it: then the platform ignores the page number."""
        number, fingerprint = self._last_pages.get(status, (page.number, None))
        self._last_pages[status] = page.number, page.fingerprint
        if fingerprint is not None and page.number != number and page.fingerprint == fingerprint:
            raise SchemaMismatch(f"page {page.number} repeats page {number}: the page number is ignored")
        return page

    async def _get_decoded(self, path: str, query: Query, decode: Callable[[bytes], T], expected: Expected = ()) -> T:
        body = await self.get(path, query, expected=expected)
        try:
            return await asyncio.to_thread(decode, body) if takes_long(body) else decode(body)
        except (Undecodable, SchemaMismatch) as error:
            if not isinstance(error, expected):
                self._count_failure(path, error)
            raise

    async def get(self, path: str, query: Query, *, expected: Expected = ()) -> bytes:
        """The decompressed body of a 200.

        Args:
            path: below the base URL, such as `/r/tasks`; also the value of the `path` label.
            query: parameters.
            expected: failures that are a valid answer here: raised, but not counted.

        Raises:
            PlatformError: one of its subclasses except `SchemaMismatch`; counted already, unless it is `expected`.
        """
        try:
            return await self._get_renewing_token(path, query)
        except PlatformError as error:
            if not isinstance(error, expected):
                self._count_failure(path, error)
            raise

    def count_contradiction(self, scope: Scope, error: SchemaMismatch) -> None:
        """Count a failure that only several pages of a list (tasks or agents) show together."""
        self._count_failure(paths.TASKS if scope is Scope.TASKS else self.agents_path, error)

    def _count_failure(self, path: str, error: PlatformError) -> None:
        self._platform.log.failed(self._name, path, error.reason)

    async def _get_renewing_token(self, path: str, query: Query) -> bytes:
        token = await self._token(path)
        try:
            return await self._get_with_token(path, query, token)
        except Unauthorized as error:
            renewed = await self._token(path, refused=token)
            if renewed == token:
                why = "; the JWT has expired" if self._credential.expired else ""
                raise Unauthorized(f"{error}{why}", retry_after=error.retry_after) from None
        return await self._get_with_token(path, query, renewed)

    async def _token(self, path: str, refused: SecretStr | None = None) -> SecretStr:
        try:
            if refused is None:
                return await self._credential.token(self._refresh)
            return await self._credential.renewed(refused, self._refresh)
        except Unauthorized as error:
            raise Unauthorized(f"GET {path}: no usable credential: {error}") from None

    async def _get_with_token(self, path: str, query: Query, token: SecretStr) -> bytes:
        team_id = self._team_id if self._credential.kind == "jwt" else None
        return await self._send_retrying_stale(Call("GET", path, token, query, team_id))

    async def _refresh(self, refresh_token: SecretStr) -> account.Tokens:
        """Exchange a refresh token for a new pair.

        A failure is raised after the `try`, so that no traceback holds a token.
        """
        call = Call("POST", paths.REFRESH, refresh_token, fresh=True)
        try:
            tokens = account.decode_tokens(await self._send_retrying_stale(call))
        except PlatformError as error:
            failure = error.without_traceback()
        else:
            if tokens.access_token is None:  # the refresh token is still usable
                self._count_failure(paths.REFRESH, SchemaMismatch("the answer contains no access_token"))
            return tokens
        self._count_failure(paths.REFRESH, failure)
        raise failure

    async def _send_retrying_stale(self, call: Call) -> bytes:
        try:
            return await self._send_once(call)
        except StaleConnection:
            return await self._send_once(replace(call, fresh=True))

    async def _send_once(self, call: Call) -> bytes:
        async with self._platform.pacer.request_permit(likely_to_hang=self._hung, slow=self._recent_seconds > SLOW):
            started = asyncio.get_running_loop().time()
            self._platform.log.request(self._name, call.path)
            try:
                body = await self._platform.send(call)
            except PlatformError as error:
                self._hung = isinstance(error, RequestTimeout)
                raise
            finally:
                took = asyncio.get_running_loop().time() - started
                self._recent_seconds = max(took, self._recent_seconds / 2)
                if self._permit is not None and took > SLOW:
                    self._permit.turned_slow()
        self._hung = False
        return body
