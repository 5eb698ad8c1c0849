"""The status as JSON.

Keys are the field names of `exporter.status` and the properties named here; docs/http-api.md lists them.
"""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final

from exporter.status import ExporterStatus, TeamStatus

_COMPUTED: Final[dict[type, tuple[str, ...]]] = {
    TeamStatus: ("up", "attempted", "backoff_until"),
    ExporterStatus: ("ready",),
}


def render(status: ExporterStatus) -> Iterator[str]:
    """Yield the document in pieces: the head, one per team, the tail. Times are Unix seconds, durations seconds."""
    head = _plain_fields(status, leave_out="teams")
    yield json.dumps(head)[:-1] + ', "teams": ['
    for number, team in enumerate(status.teams):
        yield (",\n" if number else "\n") + json.dumps(_plain(team))
    yield "\n]}\n"


def _plain(value: Any) -> Any:
    """Turn dataclasses and tuples into what JSON has. `dataclasses.asdict` would copy every leaf as well."""
    if is_dataclass(value):
        return _plain_fields(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _plain_fields(value: Any, leave_out: str = "") -> dict[str, Any]:
    names = [each.name for each in fields(value) if each.name != leave_out]
    return {name: _plain(getattr(value, name)) for name in (*names, *_COMPUTED.get(type(value), ()))}
