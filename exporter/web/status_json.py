"""The status as JSON.

Keys are the field names of `exporter.status` and the properties named here; docs/http-api.md lists them.
"""

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

from exporter.redact import redact
from exporter.status import (
    Attempt,
    CollectorStatus,
    DiscoveryStatus,
    ExporterStatus,
    FleetStatus,
    LeftOutTeam,
    QuotaStatus,
    TeamStatus,
)

_COMPUTED: Final[dict[type, tuple[str, ...]]] = {
    ExporterStatus: ("ready",),
    TeamStatus: ("up", "attempted", "backoff_until"),
    FleetStatus: (),
    CollectorStatus: (),
    DiscoveryStatus: (),
    LeftOutTeam: (),
    QuotaStatus: (),
    Attempt: (),
}
_KEYS: Final = {
    kind: (*(each.name for each in fields(kind)), *computed)  # looked up once: thousands of teams have tens of polls
    for kind, computed in _COMPUTED.items()
}


def render(status: ExporterStatus) -> Iterator[str]:
    """Yield the document in pieces: the head, one per team, the tail. Times are Unix seconds, durations seconds."""
    head = {key: getattr(status, key) for key in _KEYS[ExporterStatus] if key != "teams"}
    yield json.dumps(head, default=_plain)[:-1] + ', "teams": ['
    for number, team in enumerate(status.teams):
        yield (",\n" if number else "\n") + json.dumps(team, default=_plain)
    yield "\n]}\n"


def _plain(value: Any) -> dict[str, Any]:
    found = {key: getattr(value, key) for key in _KEYS[type(value)]}
    if error := found.get("error"):
        found["error"] = redact(error)  # text from the platform, which may echo what was sent to it
    return found
