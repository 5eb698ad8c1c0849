"""Records requests to the simulated platform."""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, overload

_KEPT = 100_000
"""How many of the last requests are kept."""


@dataclass(slots=True)
class Call:
    """One request. Mutable: `status` is filled in when the answer is known.

    Attributes:
        time: Unix seconds by the simulated clock, when it arrived.
        team: name of the team it was for; None where no credential tells.
        credential_kind: integration, device or jwt; None for unknown credentials and for none.
        path: the path template without the prefix, for example `/r/tasks`.
        status: the HTTP status answered; None while there is no answer, and for ever after a hang or a reset.
    """

    time: float
    team: str | None
    credential_kind: str | None
    method: str
    path: str
    query: dict[str, str]
    status: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


class Journal:
    """The last 100,000 requests, oldest first. Mutable."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=_KEPT)

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(tuple(self._calls))

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> list[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | list[Call]:
        return list(self._calls)[index] if isinstance(index, slice) else self._calls[index]

    def append(self, call: Call) -> None:
        """Add the newest request."""
        self._calls.append(call)

    def select(self, *, team: str | None = None, path: str | None = None) -> list[Call]:
        """The requests for a team, for a path, or both; all of them without either."""
        return [call for call in self._calls if team in {None, call.team} and path in {None, call.path}]

    def count(self, *, team: str | None = None, path: str | None = None) -> int:
        """How many requests `select` would give."""
        return len(self.select(team=team, path=path))

    def clear(self) -> None:
        """Forget all requests."""
        self._calls.clear()
