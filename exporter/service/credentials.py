"""The credentials that a configuration names, each opened once however many teams share it."""

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from exporter.config.settings import Discover, Origin, Settings, TeamSettings
from exporter.config.types import format_duration
from exporter.errors import ConfigError
from exporter.platform.clock import CLOCK
from exporter.platform.credentials import Credential, TokenSource
from exporter.platform.session import Session

SOON: Final = 86_400.0
"""A credential that expires within this many seconds is worth a warning."""
OriginKey = tuple[Path | None, Path | None, str | None]


def open_credential(origin: Origin, environ: Mapping[str, str], *, lock: bool) -> TokenSource:
    """Read the credential that a team or a discovery names.

    Args:
        origin: says where the credential is.
        environ: the environment variables, for a credential that is in one.
        lock: whether to lock a refresh token against other processes, which is needed to use it.

    Raises:
        ConfigError: it cannot be used.
    """
    if origin.refresh_token_file is not None:
        return Session.open(origin.refresh_token_file, clock=CLOCK, lock=lock)
    if origin.token_file is not None:
        return Credential.from_file(origin.token_file, clock=time.time)
    return Credential.from_environment(origin.token_env or "", environ, clock=time.time)


def open_credentials(
    settings: Settings, environ: Mapping[str, str], known: Mapping[OriginKey, TokenSource], *, lock: bool
) -> dict[OriginKey, TokenSource]:
    """Read the credentials of all teams and discoveries, reusing those already known.

    Raises:
        ConfigError: with a line for each credential that cannot be used, or not for its purpose.
    """
    sources: dict[OriginKey, TokenSource] = {}
    mistakes: list[str] = []
    for name, origin in _named(settings):
        key = origin_key(origin)
        try:
            if key not in sources:
                sources[key] = known.get(key) or open_credential(origin, environ, lock=lock)
        except ConfigError as error:
            found = [(origin.credential_key, mistake) for mistake in error.mistakes]
        else:
            found = list(_misuses(origin, sources[key].kind))
        mistakes += [f"{origin.place(wrong)}: {name}: {mistake}" for wrong, mistake in found]
    if mistakes:
        release(source for key, source in sources.items() if key not in known)
        raise ConfigError(mistakes)
    return sources


def warnings(settings: Settings, sources: Mapping[OriginKey, TokenSource], now: float) -> Iterator[str]:
    """What will fail later or is probably not intended, a line for each. `now` is Unix seconds."""
    for name, origin in _named(settings):
        source = sources[origin_key(origin)]
        ends = source.expires_at or origin.token_expires
        if source.kind == "jwt" and not source.renews:
            yield from _ending(f"{name}: the JWT", ends, now, "; configure a session with refresh_token_file")
        elif not source.renews:
            yield from _ending(f"{name}: the key", ends, now, ", as token_expires says")
    yield from _duplicates(settings.teams, sources)


def _duplicates(teams: Iterable[TeamSettings], sources: Mapping[OriginKey, TokenSource]) -> Iterator[str]:
    """A key determines the team that is read, and with a JWT the team's id does."""
    names: dict[tuple[str, object], list[str]] = {}
    for team in teams:
        source = sources[origin_key(team)]
        if source.kind == "jwt":
            names.setdefault(("have the same team_id", team.team_id), []).append(team.name)
        elif isinstance(source, Credential):
            shared = "share one key, which reads only one team"
            names.setdefault((shared, source.current()), []).append(team.name)
    for (why, _), same in names.items():
        if len(same) > 1:
            yield f"teams {', '.join(same)}: they {why}, so all show the same data"


def _ending(what: str, ends: float | None, now: float, advice: str) -> Iterator[str]:
    if ends is None:
        return
    if ends <= now:
        yield f"{what} has expired{advice}"
    elif ends - now < SOON:
        left = format_duration(60 * max(1, round((ends - now) / 60)))
        yield f"{what} expires in {left}, and nothing renews it{advice}"


def _named(settings: Settings) -> Iterator[tuple[str, Origin]]:
    """Everything that names a credential, with the name to use in messages."""
    yield from ((f"team {team.name}", team) for team in settings.teams)
    yield from settings.discoveries()


async def close_credentials(sources: Collection[TokenSource]) -> None:
    """Release them as soon as no renewal is under way, because a new refresh token must not be lost."""
    try:
        await asyncio.gather(*(source.finish_renewal() for source in sources))
    finally:
        release(sources)


def release(sources: Iterable[TokenSource]) -> None:
    """Release their files."""
    for source in sources:
        source.release()


def origin_key(origin: Origin) -> OriginKey:
    """A key that is equal for origins that name the same credential."""
    return origin.token_file, origin.refresh_token_file, origin.token_env


def _misuses(origin: Origin, kind: str) -> Iterator[tuple[str, str]]:
    """The key that is wrong beside a credential of this kind, and what is wrong."""
    match origin:
        case TeamSettings(team_id=None) if kind == "jwt":
            yield "team_id", "found none; allowed: the team's id, which a user JWT needs"
        case TeamSettings(agents_path="/agents") if kind == "integration":
            why = "because an sk- key may use only runtime paths"
            yield "agents_path", f"found /agents; allowed: /r/agents, {why}"
        case Discover() if kind == "integration":
            why = "because an sk- key cannot list teams"
            yield origin.credential_key, f"found an sk- key; allowed: a dk- key or a user JWT, {why}"
