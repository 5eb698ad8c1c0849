"""Decides which discovered teams are polled, which are left out for a reason, and which are not wanted."""

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.config.mistakes import words
from exporter.config.settings import Discover, Settings, TeamSettings
from exporter.config.types import TeamId, TeamName, trimmed
from exporter.errors import ExporterError
from exporter.platform.credentials import TokenSource
from exporter.service.credentials import OriginKey, origin_key
from exporter.service.discovery import Discovery, Findings, FoundTeam


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The decision about the teams that one discovery found.

    Attributes:
        name: of the discovery.
        findings: what it found.
        teams: those that are polled only because of this discovery.
        polled: names of all that are polled: `teams`, and those that are configured or that an earlier discovery found.
        left_out: those that are wanted but cannot be polled, and why.
        not_wanted: those that the patterns exclude.
    """

    name: str
    findings: Findings
    teams: tuple[TeamSettings, ...]
    polled: tuple[str, ...]
    left_out: Mapping[FoundTeam, str]
    not_wanted: tuple[FoundTeam, ...]


class LeftOut(ExporterError):
    """A team that was found cannot be polled; the text says why."""


class _Taken:
    """Names and ids in use. Mutable: each chosen team adds its own."""

    def __init__(self, settings: Settings) -> None:
        self.names = {name: "a discovery" for name, _ in settings.discoveries()}
        self.names |= {team.name: "a configured team" for team in settings.teams}
        self.ids = {team.team_id: team.name for team in settings.teams if team.team_id is not None}
        self.found: set[str] = set()


def choose(
    settings: Settings, credentials: Mapping[OriginKey, TokenSource], discoveries: Mapping[OriginKey, Discovery]
) -> tuple[Choice, ...]:
    """A choice for each discovery, in their order. No team is polled twice, and no name is used twice."""
    taken = _Taken(settings)
    choices = []
    for name, discover in settings.discoveries():
        key = origin_key(discover)
        choices.append(_choice(name, discover, discoveries[key].findings, credentials[key].kind, taken))
    return tuple(choices)


def _choice(name: str, discover: Discover, findings: Findings, kind: str, taken: _Taken) -> Choice:
    wanted = dict.fromkeys(team for team in findings.teams if discover.wants(trimmed(team.name)))  # a quick `in`
    teams: list[TeamSettings] = []
    polled: list[str] = []
    left_out: dict[FoundTeam, str] = {}
    for each in wanted:
        if (known := taken.ids.get(each.team_id)) is not None:
            polled.append(known)
            continue
        try:
            team = _team(discover, each, taken, readable=kind != "device" or len(wanted) == 1)
        except LeftOut as why:
            left_out[each] = str(why)
            continue
        taken.ids[each.team_id] = team.name
        taken.found.add(team.name)
        teams.append(team)
        polled.append(team.name)
    return Choice(
        name=name,
        findings=findings,
        teams=tuple(teams),
        polled=tuple(polled),
        left_out=left_out,
        not_wanted=tuple(team for team in findings.teams if team not in wanted),
    )


def _team(discover: Discover, found: FoundTeam, taken: _Taken, *, readable: bool) -> TeamSettings:
    """The team to poll. Of two discovered teams with the same name, the second gets its id appended."""
    if not readable:
        # The platform lists all teams of a device key's user, but always answers for the key's own team.
        raise LeftOut("a device key reads only one team, so include only that one")
    team = _settings(discover, found.name, found.team_id)
    if team.name in taken.found:
        team = _settings(discover, f"{team.name} ({found.team_id})", found.team_id)
    if team.name in taken.found:
        raise LeftOut("its name is already used by another discovered team")
    if team.name in taken.names:
        raise LeftOut(f"its name is already used by {taken.names[team.name]}")
    return team


def _settings(discover: Discover, name: str, team_id: str) -> TeamSettings:
    team = discover.team(name, team_id)
    if team is None:
        bad, kind = ("id", TeamId) if discover.team("a valid name", team_id) is None else ("name", TeamName)
        raise LeftOut(f"its {bad} cannot be used; allowed: {words(kind)}")
    return team
