"""What one successful poll of one list gives."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from exporter.errors import Expected, SchemaMismatch
from exporter.expose.series_store import CompressedFamilies
from exporter.fleet.snapshots import AgentsSnapshot, TasksSnapshot
from exporter.platform import wire

FetchAgents = Callable[[int], Awaitable[wire.Page[wire.Agent]]]
"""Get a page of the agents by its number."""
UnknownValues: TypeAlias = Counter[str]
"""Values dropped or not understood, by field; counted also when the poll fails in the end."""

S = TypeVar("S", TasksSnapshot, AgentsSnapshot)


class TaskSource(Protocol):
    """Where tasks are read from: a team's client."""

    async def tasks(self, status: str, page: int, *, expected: Expected = ()) -> wire.Page[wire.Task]:
        """A page of the tasks of one status; failures that are `expected` are raised, but not counted."""

    async def total_tasks(self) -> int:
        """How many tasks there are, whatever their status."""


class Implausible(SchemaMismatch):
    """Each answer had the documented shape, but what they say together cannot be; the client did not count it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollResult(Generic[S]):
    """A list at one moment, and the same as series."""

    snapshot: S
    families: CompressedFamilies


AgentsResult: TypeAlias = PollResult[AgentsSnapshot]
TasksResult: TypeAlias = PollResult[TasksSnapshot]
