"""The result of one successful poll of one list."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from exporter.errors import Expected, SchemaMismatch
from exporter.expose.series_store import CompressedFamilies
from exporter.fleet.snapshots import AgentsSnapshot, TasksSnapshot
from exporter.platform import wire

FetchAgents = Callable[[int], Awaitable[wire.Page[wire.Agent]]]
"""Requests a page of the agents by its number."""
UnknownValues: TypeAlias = Counter[str]
"""The number of values that were dropped or not understood, by field; counted even if the poll fails later."""

S = TypeVar("S", TasksSnapshot, AgentsSnapshot)


class TaskSource(Protocol):
    """The source of tasks: a team's client."""

    async def tasks(self, status: str | None, page: int, *, expected: Expected = ()) -> wire.Page[wire.Task]:
        """A page of the tasks of one status, or of all; failures that are `expected` are raised, but not counted."""

    async def total_tasks(self) -> int:
        """How many tasks there are in any status."""


class Implausible(SchemaMismatch):
    """The answers have the documented shape but contradict each other. The client has not counted this failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollResult(Generic[S]):
    """A list at one moment, as a snapshot and as series."""

    snapshot: S
    families: CompressedFamilies


AgentsResult: TypeAlias = PollResult[AgentsSnapshot]
