"""The settings: every key of the configuration, its type, default and meaning.

Field descriptions are the text of the configuration reference. Durations are seconds once validated.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from exporter.config.address import DEFAULT
from exporter.config.types import (
    Age,
    AgentId,
    Agents,
    AgentsPath,
    BaseUrl,
    ByteSize,
    Concurrency,
    File,
    Flag,
    Interval,
    Listen,
    LogFormat,
    LogLevel,
    Moment,
    Pages,
    Pattern,
    RequestRate,
    TeamId,
    TeamName,
    TelemetryPath,
    Timeout,
    VariableName,
    Workflows,
    format_duration,
)

Clash = tuple[tuple[int | str, ...], str, str]
"""Where (key path from the model that finds it), what was found, what is allowed."""


def clashing(*clashes: Clash) -> PydanticCustomError:
    """An error about values that are valid individually but not together."""
    return PydanticCustomError("clash", "values clash", {"clashes": clashes})


class Section(BaseModel):
    """Base of the sections: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Api(Section):
    """How to reach the platform."""

    base_url: BaseUrl = Field("https://core.cyberun.cloud/api/v1", description="The platform's API.")
    ca_file: File | None = Field(
        None, description="PEM bundle of private certificate authorities; read again when it changes."
    )
    timeout: Timeout = Field(10.0, description="Longest time for one request, from connect to the last byte.")
    max_requests_per_second: RequestRate = Field(
        10.0, description="Request rate over all teams; after a pause, one second's worth may go out at once."
    )
    max_concurrency: Concurrency = Field(8, description="Requests under way at once, over all teams.")
    max_response_bytes: ByteSize = Field(16_777_216, description="Largest answer accepted, compressed or not.")
    max_pages: Pages = Field(1000, description="Maximum number of pages read per list and poll.")


class Collect(Section):
    """When to poll and how much to keep."""

    interval: Interval = Field(30.0, description="Time between two polls of a team.")
    stale_after: Age = Field(120.0, description="Age at which a team's data is withheld; should be several intervals.")
    agent_memory: Age = Field(3600.0, description="How long a vanished agent stays visible as disconnected.")
    max_agents: Agents = Field(
        10_000, description="Maximum number of agents with series per team; more are only counted."
    )
    agent_labels: Flag = Field(default=False, description="Whether to expose a series for each label of an agent.")
    workflows: Workflows = Field(
        0, description="How many workflows, those with the most finished tasks, have series; the rest are `other`."
    )


CREDENTIAL_KEYS: Final = ("token_file", "refresh_token_file", "token_env")
"""The keys of an `Origin` of which exactly one is set."""


class Origin(Section):
    """Where a credential comes from: exactly one of three."""

    token_file: File | None = Field(None, description="File that holds the credential.")
    refresh_token_file: File | None = Field(
        None, description="File that holds the refresh token of a JWT session, which the exporter renews."
    )
    token_env: VariableName | None = Field(
        None, validate_default=True, description="Environment variable that holds the credential."
    )
    token_expires: Moment | None = Field(
        None, description="When a key expires, because keys do not carry their expiry; exposed, and alerted on."
    )
    _places: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def credential_key(self) -> str:
        """The one of `CREDENTIAL_KEYS` that is set."""
        return next(key for key in CREDENTIAL_KEYS if getattr(self, key) is not None)

    def note_places(self, where: Callable[[str], str]) -> None:
        """Remember where its keys are configured, because its credential is read later."""
        keys = {self.credential_key, "team_id"} | (self.model_fields_set & {"agents_path"})
        self._places = {key: where(key) for key in keys}

    def place(self, key: str) -> str:
        """Where a key is configured, for people, such as `file.yaml: teams[0].token_file`."""
        return self._places.get(key, key)

    @field_validator("token_env", mode="after")
    @classmethod
    def _one_credential(cls, token_env: str | None, info: ValidationInfo) -> str | None:
        if not {"token_file", "refresh_token_file"} <= info.data.keys():  # refused on its own
            return token_env
        given = [key for key in ("token_file", "refresh_token_file") if info.data[key] is not None]
        given += ["token_env"] if token_env is not None else []
        if len(given) != 1:
            found = f"both {' and '.join(given)}" if given else "no credential"
            raise clashing(((), found, "exactly one of token_file, token_env and refresh_token_file"))
        return token_env


class TeamSettings(Origin):
    """One team and the credential to read it with."""

    name: TeamName = Field(description="Value of the `team_name` label; unique.")
    team_id: TeamId | None = Field(None, description="The team's id; needed with a JWT.")
    interval: Interval | None = Field(None, description="Time between two polls, instead of `collect.interval`.")
    agents_path: AgentsPath | None = Field(
        None, description="The list of agents to read, instead of the one that fits the credential."
    )
    expected_agents: tuple[AgentId, ...] = Field(
        (), description="Agents reported as disconnected when they are absent from the start."
    )


class Discover(Origin):
    """A device key or user JWT whose teams are discovered through the platform."""

    name: TeamName | None = Field(
        None, description="Value of the `discovery` label; unique; its position, as `discover[0]`, when not set."
    )
    include: tuple[Pattern, ...] = Field((), description="Only teams whose whole name matches one; all when empty.")
    exclude: tuple[Pattern, ...] = Field((), description="Teams to exclude: those whose whole name matches one.")
    interval: Interval | None = Field(None, description="Time between two polls, instead of `collect.interval`.")

    def wants(self, name: str) -> bool:
        """Whether a team of that name is to be polled."""
        included = not self.include or any(re.fullmatch(pattern, name) for pattern in self.include)
        return included and not any(re.fullmatch(pattern, name) for pattern in self.exclude)

    def team(self, name: str, team_id: str) -> TeamSettings | None:
        """The team to poll with this credential; None if its name or id could not be configured."""
        origin = {"token_file": self.token_file and str(self.token_file), "token_env": self.token_env}
        origin["refresh_token_file"] = self.refresh_token_file and str(self.refresh_token_file)
        try:
            team = TeamSettings.model_validate({**origin, "name": name, "team_id": team_id})
        except ValidationError:
            return None
        return team.model_copy(update={"interval": self.interval, "token_expires": self.token_expires})


class Web(Section):
    """What the exporter serves."""

    listen_address: Listen = Field(
        DEFAULT, description="Address to listen on, or a list of them; without a host every interface."
    )
    telemetry_path: TelemetryPath = Field("/metrics", description="Path of the metrics.")
    config_file: File | None = Field(
        None, description="File with TLS and authentication; see [web-configuration.md](web-configuration.md)."
    )
    enable_lifecycle: Flag = Field(default=False, description="Whether `/-/reload` is enabled.")


class Log(Section):
    """What the exporter logs, to standard error."""

    level: LogLevel = Field("info", description="Lowest severity that is logged.")
    format: LogFormat = Field("logfmt", description="Format of the log lines.")


class Settings(Section):
    """The whole configuration, as returned by `exporter.config.load`."""

    api: Api = Api()
    collect: Collect = Collect()
    teams: tuple[TeamSettings, ...] = Field(
        (), description="The teams to poll; at least one, unless `discover` is set."
    )
    discover: tuple[Discover, ...] = Field(
        (), description="Credentials (JWT, dk-) whose teams are discovered through the platform."
    )
    web: Web = Web()
    log: Log = Log()

    @field_validator("api", "collect", "web", "log", mode="before")
    @classmethod
    def _empty_section(cls, value: Any) -> Any:
        return {} if value is None else value  # a section whose keys are all commented out

    @field_validator("teams", mode="after")
    @classmethod
    def _unique_names(cls, teams: tuple[TeamSettings, ...]) -> tuple[TeamSettings, ...]:
        clashes = list(_repeated_names(teams))
        if clashes:
            raise clashing(*clashes)
        return teams

    @field_validator("discover", mode="after")
    @classmethod
    def _unique_discoveries(cls, discover: tuple[Discover, ...], info: ValidationInfo) -> tuple[Discover, ...]:
        clashes = list(_taken_names(info.data.get("teams", ()), discover))
        if clashes:
            raise clashing(*clashes)
        return discover

    def discoveries(self) -> Iterator[tuple[str, Discover]]:
        """Each discovery credential and its name, which replaces a team's name in metrics and logs."""
        for i, each in enumerate(self.discover):
            yield each.name or f"discover[{i}]", each

    def interval_of(self, team: TeamSettings) -> float:
        """Seconds between two polls of the team."""
        return self.collect.interval if team.interval is None else team.interval

    def warnings(self) -> list[str]:
        """Settings that are valid but probably not intended, a line for each: data withheld before the next poll."""
        stale = format_duration(self.collect.stale_after)
        return [
            f"team {team.name}: polled every {format_duration(self.interval_of(team))},"
            f" so its data is withheld between polls: collect.stale_after is {stale}"
            for team in self.teams
            if self.interval_of(team) > self.collect.stale_after
        ]


def _repeated_names(teams: tuple[TeamSettings, ...]) -> Iterator[Clash]:
    first: dict[str, int] = {}
    for i, team in enumerate(teams):
        if first.setdefault(team.name, i) != i:
            yield ("teams", i, "name"), f"the name of teams[{first[team.name]}] again", "a unique name"


def _taken_names(teams: tuple[TeamSettings, ...], discover: tuple[Discover, ...]) -> Iterator[Clash]:
    """Requests of discoveries are counted like those of teams, so no two may have the same name."""
    first = {team.name: f"teams[{i}]" for i, team in enumerate(teams)}
    for i, each in enumerate(discover):
        if each.name is not None and (taken := first.setdefault(each.name, f"discover[{i}]")) != f"discover[{i}]":
            yield ("discover", i, "name"), f"the name of {taken} again", "a unique name"
