"""Faults on demand: which are switched on, how they are written, and which apply to a request."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, Final

from exporter.demo.fault_kinds import KINDS
from exporter.demo.wire import PATHS

EVERY: Final = "*"


class FaultError(ValueError):
    """A fault that does not exist or cannot have this value; the text says what is allowed."""


@dataclass(slots=True)
class Fault:
    """A fault that is switched on. Mutable: `left` counts down.

    Attributes:
        team: a team's name or `*`.
        path: a path template or `*`.
        left: how many more requests it affects; None without end.
    """

    kind: str
    team: str
    path: str
    value: object
    left: int | None

    def strikes(self, team: str | None, path: str) -> bool:
        """Whether it applies to a request; a request of an unknown team only matches `*`."""
        return self.team in {EVERY, team} and self.path in {EVERY, path}


class Faults:
    """The active faults. Mutable.

    Args:
        teams: the allowed names; read when a fault is set.
    """

    def __init__(self, teams: Container[str]) -> None:
        self._teams = teams
        self._active: list[Fault] = []

    def __len__(self) -> int:
        return len(self._active)

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._active))

    def set(
        self,
        kind: str,
        *,
        team: str | None = None,
        path: str | None = None,
        value: Any = None,
        times: int | None = None,
    ) -> Fault:
        """Switch a fault on, in place of the same kind for the same team and path.

        Args:
            kind: one of `KINDS`.
            team: a team's name; None or `*` for all.
            path: a path template such as `/r/tasks`; None or `*` for all.
            value: what the kind takes, as text or as the fitting JSON value.
            times: how many requests it affects before it is switched off; None for no end.

        Raises:
            FaultError: one of these is not allowed.
        """
        team, path = team or EVERY, path or EVERY
        if kind not in KINDS:
            raise FaultError(f"unknown fault {kind!r}; allowed: {', '.join(KINDS)}")
        if team != EVERY and team not in self._teams:
            raise FaultError(f"unknown team {team!r}")
        if path not in {EVERY, *PATHS}:
            raise FaultError(f"unknown path {path!r}; allowed: *, {', '.join(PATHS)}")
        if times is not None and times < 1:
            raise FaultError(f"times is {times}; allowed: 1 and more")
        fault = Fault(kind, team, path, _value(kind, value), times)
        self.clear(kind, team=team, path=path)
        self._active.append(fault)
        return fault

    def parse(self, text: str) -> None:
        """Switch on what `team:path:kind=value#times,…` says; `=value` and `#times` are optional.

        Raises:
            FaultError: it cannot be read; then none of it is switched on.
        """
        before = list(self._active)
        try:
            for part in filter(None, (part.strip() for part in text.split(","))):
                self._parse_one(part)
        except FaultError:
            self._active = before
            raise

    def clear(self, kind: str | None = None, *, team: str | None = None, path: str | None = None) -> None:
        """Switch off all faults, or those set with this kind, team and path."""

        def kept(fault: Fault) -> bool:
            return kind not in {None, fault.kind} or team not in {None, fault.team} or path not in {None, fault.path}

        self._active = list(filter(kept, self._active))

    def strike(self, team: str | None, path: str) -> dict[str, Any]:
        """The faults that apply to a request, kind to value; those with a count are used up by one."""
        struck = [fault for fault in self._active if fault.strikes(team, path)]
        for fault in struck:
            if fault.left is not None:
                fault.left -= 1
        self._active = [fault for fault in self._active if fault.left != 0]
        return {fault.kind: fault.value for fault in struck}

    def _parse_one(self, part: str) -> None:
        try:
            team, path, what = part.split(":", 2)
        except ValueError:
            allowed = "team:path:kind, team:path:kind=value#times"
            raise FaultError(f"cannot read the fault {part!r}; allowed: {allowed}") from None
        what, hash_, times = what.partition("#")
        if hash_ and not times.isdecimal():
            raise FaultError(f"times is {times!r} in {part!r}; allowed: 1 and more")
        kind, equals, value = what.partition("=")
        self.set(kind, team=team, path=path, value=value if equals else None, times=int(times) if hash_ else None)


def _value(kind: str, value: Any) -> object:
    try:
        return KINDS[kind].parse(value)
    except (ValueError, TypeError):
        raise FaultError(f"{kind} cannot be {value!r}; allowed: {KINDS[kind].allowed}") from None
