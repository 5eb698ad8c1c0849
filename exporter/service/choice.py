"""Which of the teams that discoveries found are polled."""

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.config.settings import Discover, Settings, Team
from exporter.platform.credentials import TokenSource
from exporter.service.credentials import OriginKey, discovery_name, origin_key
from exporter.service.discovery import Discovery, FoundTeam
from exporter.status import LeftOutTeam


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the teams of one entry of `discover`.

    Attributes:
        polled: how many are polled.
        left_out: those that are wanted and cannot be polled.
        not_wanted: how many the patterns exclude.
    """

    polled: int
    left_out: tuple[LeftOutTeam, ...]
    not_wanted: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of the teams that were found.

    Attributes:
        outcomes: one for each entry of `discover`.
        teams: those to poll.
        left_out: those that are wanted and cannot be polled, by id, or by the discovery for all of its teams; and why.
    """

    outcomes: tuple[Outcome, ...]
    teams: tuple[Team, ...]
    left_out: Mapping[str, str]


def choose(
    settings: Settings,
    credentials: Mapping[OriginKey, TokenSource],
    discoveries: Mapping[OriginKey, Discovery],
) -> Choice:
    """The found teams that are wanted: none twice, and a name that is taken is left to whoever has it."""
    names, ids = {team.name for team in settings.teams}, {team.team_id for team in settings.teams}
    teams: list[Team] = []
    left_out: dict[str, str] = {}
    outcomes: list[Outcome] = []
    for i, discover in enumerate(settings.discover):
        key = origin_key(discover)
        wanted = wanted_teams(discover, discoveries[key])
        not_wanted = len(discoveries[key].findings.teams) - len(wanted)
        if credentials[key].kind == "device" and len(wanted) > 1:
            # The platform lists all teams of the key's user, and answers for that of the key whatever is asked.
            all_names = ", ".join(found.name for found in wanted)
            why = f"a device key reads one team; include that one alone of {all_names}"
            left_out[discovery_name(i)] = why
            outcomes.append(Outcome(0, tuple(LeftOutTeam(found.name, why) for found in wanted), not_wanted))
            continue
        without: list[LeftOutTeam] = []
        for found in wanted:
            team = discover.team(found.name, found.team_id)
            if found.team_id in ids:
                continue
            if team is None or team.name in names:
                left_out[found.team_id] = f"the name {found.name} is taken" if team else "no usable name or id"
                without.append(LeftOutTeam(found.name, left_out[found.team_id]))
                continue
            names.add(team.name)
            ids.add(team.team_id)
            teams.append(team)
        outcomes.append(Outcome(len(wanted) - len(without), tuple(without), not_wanted))
    return Choice(tuple(outcomes), tuple(teams), left_out)


def wanted_teams(discover: Discover, discovery: Discovery) -> list[FoundTeam]:
    """The found teams that the patterns of a discovery select."""
    return [found for found in discovery.findings.teams if discover.wants(found.name)]
