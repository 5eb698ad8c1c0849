"""What one successful poll of one list gives."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from exporter.errors import SchemaMismatch
from exporter.expose.series_store import CompressedFamilies
from exporter.expose.text import Samples
from exporter.fleet.presence import Presence
from exporter.fleet.timings import Timings
from exporter.platform import wire

FetchAgents = Callable[[int], Awaitable[wire.Page[wire.Agent]]]
"""Get a page of the agents by its number."""
FetchTasks = Callable[[str, int], Awaitable[wire.Page[wire.Task]]]
"""Get a page of the tasks of one status by its number."""


class Implausible(SchemaMismatch):
    """Each answer had the documented shape, but what they say together cannot be; the client did not count it."""


@dataclass(frozen=True, slots=True)
class PollResult:
    """The samples of one list, and how far they can be trusted."""

    samples: Samples
    packed: tuple[CompressedFamilies, ...]
    """The samples of earlier pages, compressed already."""
    pages: int
    items: int
    """Read, each counted once."""
    reported: int
    """What the platform said there were."""
    truncated: bool
    series_dropped: int


@dataclass(frozen=True, slots=True)
class AgentsResult(PollResult):
    """One complete walk over a team's agents."""

    presence: Presence
    offered: frozenset[frozenset[str]]
    """The distinct label sets of the connected agents."""


@dataclass(frozen=True, slots=True)
class TasksResult(PollResult):
    """One look at a team's tasks."""

    timings: Timings
    required: Mapping[frozenset[str], int]
    """How many of the waiting tasks that were read require each set of labels."""


Unknown = Counter[str]
"""Values dropped or not understood, by field; counted also when the poll fails in the end."""
