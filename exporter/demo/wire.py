"""The parts of the platform's JSON: statuses, times, ids, paths."""

from datetime import UTC, datetime
from random import Random
from typing import Any, Final
from uuid import UUID

Item = dict[str, Any]
"""One task or agent as the platform sends it: JSON, unchecked, since tests put anything into it."""

TASKS: Final = "/r/tasks"
RUNTIME_AGENTS: Final = "/r/agents"
AGENTS: Final = "/agents"
ME: Final = "/users/me"
REFRESH: Final = "/auth/refresh"
WORKFLOWS: Final = "/r/workflows"
PATHS: Final = (TASKS, RUNTIME_AGENTS, AGENTS, ME, WORKFLOWS, REFRESH)
"""Path templates of the API, without the prefix."""

FINAL_STATUSES: Final = ("completed", "failed", "cancelled")
STATUSES: Final = ("pending", "waiting", "queued", "running", *FINAL_STATUSES)
"""The values that the `status` filter of the task list accepts."""
PROVISIONING: Final = "provisioning"
"""A task status that the documentation names, but not as a value of the filter."""


def rfc3339(moment: float) -> str:
    """A Unix time in seconds as RFC 3339 in UTC; milliseconds only where there are any."""
    time = datetime.fromtimestamp(round(moment, 3), UTC)
    return time.isoformat(timespec="milliseconds" if time.microsecond else "seconds").replace("+00:00", "Z")


def team_word(random: Random) -> str:
    """An id of a team as the documentation's introduction shows it."""
    return "team_01HX" + "".join(random.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=22))


def uuid7(random: Random, moment: float) -> str:
    """A UUID version 7: sorts by `moment` (Unix seconds), the rest from `random`."""
    value = (int(moment * 1000) & (1 << 48) - 1) << 80 | 0x7 << 76 | random.getrandbits(12) << 64
    return str(UUID(int=value | 0b10 << 62 | random.getrandbits(62)))
