"""`check --online`: try every credential on every endpoint, and explain what is wrong."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from exporter.config.settings import Origin, Settings
from exporter.config.types import format_duration
from exporter.errors import ConfigError, advice, explained
from exporter.platform import paths
from exporter.redact import one_line, quoted
from exporter.service.credentials import open_credential
from exporter.service.service import Service, started
from exporter.service.shard import Shard
from exporter.status import NOTABLE_SKEW, CollectorStatus, ExporterStatus, QuotaStatus, TeamStatus

MAX_NAMES: Final = 20
"""Maximum number of team names on one line."""
USES: Final = {
    "integration": "integration key, for /r/ paths, of one team",
    "device": "device key, for all paths, of one team",
    "jwt": "user JWT, for all paths",
}
"""Where each kind of credential may be used."""

_O = TypeVar("_O", bound=Origin)


class _Line(NamedTuple):
    """The result of one endpoint."""

    name: str
    path: str
    ok: bool
    words: str
    warning: bool = False
    """Whether something optional is missing, which is not a failure."""


async def online(settings: Settings, environ: Mapping[str, str], shard: Shard) -> int:
    """Poll every team once and print a line for each endpoint. Sessions in use by a running exporter are skipped.

    Returns:
        1 when any of them failed, else 0.

    Raises:
        ConfigError: a credential, the CA bundle or the proxy cannot be used.
    """
    logging.getLogger("exporter").setLevel(logging.ERROR)  # failures are printed here
    settings, held = _free(settings, environ, shard)
    async with started(settings, environ, shard) as service:
        await service.discover_once()
        await service.exporter.once()
        lines = [*_discoveries(service), *_teams(service)]
        print("", *_platform(settings, service.exporter.status()), sep="\n")
        print(*held, *_aligned(lines), *_total(service), sep="\n")
    return 0 if all(line.ok for line in lines) else 1


def _free(settings: Settings, environ: Mapping[str, str], shard: Shard) -> tuple[Settings, list[str]]:
    """The settings without teams and discoveries whose session another process uses, and a line for each of those.

    Teams of other shards are kept, so that a discovery that finds them leaves them to their shard.
    """
    named: list[tuple[str, Origin]] = [(team.name, team) for team in shard.part(settings).teams]
    named += settings.discoveries()
    held = {name: origin for name, origin in named if origin.refresh_token_file and _is_held(origin, environ)}
    rest = {
        "teams": tuple(_without(settings.teams, held)),
        # Keep names by position: they would change when earlier entries are removed.
        "discover": tuple(
            each.model_copy(update={"name": name}) for name, each in settings.discoveries() if name not in held
        ),
    }
    lines = [
        f"{name}  skipped: {origin.refresh_token_file} is in use by a running exporter; see its status page"
        for name, origin in held.items()
    ]
    return settings.model_copy(update=rest), lines


def _is_held(origin: Origin, environ: Mapping[str, str]) -> bool:
    try:
        open_credential(origin, environ, lock=True).release()
    except ConfigError:
        return True
    return False


def _without(origins: tuple[_O, ...], held: Mapping[str, Origin]) -> Iterator[_O]:
    return (origin for origin in origins if not any(origin is each for each in held.values()))


def _platform(settings: Settings, status: ExporterStatus) -> Iterator[str]:
    encrypted = settings.api.base_url.startswith("https:")
    trusted = f"the authorities in {settings.api.ca_file}" if settings.api.ca_file else "the system's authorities"
    yield f"tls        {f'verified against {trusted}' if encrypted else 'none: credentials are sent unencrypted'}"
    if status.clock_skew is not None:
        way = "ahead of" if status.clock_skew > 0 else "behind"
        words = f"the platform's is {abs(status.clock_skew):.1f} s {way} ours"
        yield f"clock      {words}{'; correct one of them' if abs(status.clock_skew) >= NOTABLE_SKEW else ''}"


def _discoveries(service: Service) -> Iterator[_Line]:
    for choice in service.choices():
        yield from _refreshed(choice.name, service)
        if (failure := choice.findings.failure) is not None:
            yield _Line(choice.name, paths.ME, ok=False, words=_failed(*explained(failure)))
            continue
        parts = [counted(len(choice.findings.teams), "team")]
        polled = "polled" if service.assembly.shard.total == 1 else "polled by one of the shards"
        parts += [f"{polled}: {_listed(choice.polled)}"] if choice.polled else []
        not_wanted = [one_line(team.name) for team in choice.not_wanted]
        parts += [f"not wanted: {_listed(not_wanted)}"] if not_wanted else []
        wanted = bool(choice.polled or choice.left_out)
        words = "; ".join(parts if wanted else [*parts, "no team is polled"])
        yield _Line(choice.name, paths.ME, ok=wanted, words=words)
        for team, why in choice.left_out.items():
            words = f"team {quoted(one_line(team.name))} is wanted but left out: {why}"
            yield _Line(choice.name, paths.ME, ok=False, words=words)


def counted(number: int, thing: str) -> str:
    """`1 team`, `2 teams`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _teams(service: Service) -> Iterator[_Line]:
    for status in service.exporter.status().teams:
        team = service.exporter.team(status.name)
        yield from _refreshed(status.name, service)
        for collector in status.collectors:
            path = team.agents_path if team and collector.name == "agents" else paths.TASKS
            yield _collected(status, collector, path, service.counters.requests[status.name, path])
        if status.quotas is not None:
            yield _quotas(status.name, status.quotas)


def _quotas(team: str, quotas: QuotaStatus) -> _Line:
    if quotas.error is not None:
        words = f"quotas are optional and cannot be read: {quotas.error}"
        return _Line(team, paths.ME, ok=True, words=words, warning=True)
    found = counted(quotas.limits, "limit") if quotas.limits else "no limits"
    return _Line(team, paths.ME, ok=True, words=f"{found} found")


def _refreshed(name: str, service: Service) -> Iterator[_Line]:
    if service.counters.requests[name, paths.REFRESH]:
        yield _asked(name, paths.REFRESH, "session renewed, the new refresh token is in its file", service)


def _asked(name: str, path: str, words: str, service: Service) -> _Line:
    failures = service.counters.failures
    reason = next(
        (why for team, each, why in failures if (team, each) == (name, path) and failures[team, each, why]), None
    )
    return _Line(name, path, reason is None, words if reason is None else _failed(reason, reason))


def _collected(team: TeamStatus, collector: CollectorStatus, path: str, requests: int) -> _Line:
    attempt = collector.attempts[0]
    if attempt.reason is not None:
        return _Line(team.name, path, False, _failed(attempt.reason, attempt.error or ""))
    parts = [
        USES[team.credential_kind],
        *_of_team(team),
        counted(collector.items_reported or 0, collector.name.removesuffix("s")),
        f"{counted(requests, 'request')} in {attempt.duration:.1f} s, every {format_duration(collector.interval)}",
        *(["only some of them could be read"] if collector.truncated else []),
        *(_filter(team) if collector.name == "tasks" else ()),
    ]
    return _Line(team.name, path, True, "; ".join(parts))


def _filter(team: TeamStatus) -> Iterator[str]:
    if team.provisioning_filtered is True:
        yield "provisioning is counted as a status"
    elif team.provisioning_filtered is False:
        yield "the platform does not filter by provisioning, so such tasks are counted as other"
    if team.totals_ignore_filter:
        yield "the platform's totals ignore the status filter, so lists are counted by their pages"


def _of_team(team: TeamStatus) -> Iterator[str]:
    if team.team_id is not None and team.credential_kind != "jwt":
        yield f"team_id {team.team_id} is not checked, because the key determines its team"
    elif team.team_id is not None:
        yield f"team {team.team_id}"
    if team.credential_expires_at is not None:
        yield f"expires in {format_duration(max(0, round(team.credential_expires_at - time.time())))}"


def _failed(reason: str, error: str) -> str:
    return f"{error}; {advice(reason)}"


def _aligned(lines: list[_Line]) -> Iterator[str]:
    width = max((len(line.name) for line in lines), default=0)
    for line in lines:
        state = "warning" if line.warning else "ok" if line.ok else "FAILED"
        yield f"{line.name.ljust(width)}  {line.path:<13} {state:<7} {line.words}"


def _total(service: Service) -> Iterator[str]:
    status, requests = service.exporter.status(), service.counters.requests
    yield (
        f"\n{counted(sum(requests.values()), 'request')} for one poll of {counted(len(status.teams), 'team')};"
        f" {sum(team.series for team in status.teams)} series"
    )
