"""From file, environment and flags to settings, or to everything that is wrong with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from exporter.config.environment import from_environment, from_shorthand
from exporter.config.mistakes import Source, explain, key_path
from exporter.config.settings import Settings
from exporter.config.sources import from_file, from_flags
from exporter.errors import ConfigError


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read and validate the configuration. Flags win over the environment, which wins over the file.

    Args:
        path: the YAML file, if there is one. Paths in it are relative to its folder, all others to the working folder.
        environ: the environment; its `CYBERUN_EXPORTER_…` variables are read.
        overrides: values of flags, nested like the settings: `{"web": {"listen_address": ":1"}}`.

    Raises:
        ConfigError: with a line for each mistake. A file or list that cannot be parsed hides the mistakes beside it.
    """
    mistakes: list[str] = []
    file = from_file(path, mistakes) if path else Source({}, lambda loc: f"configuration: {key_path(loc)}")
    sources = [from_flags(overrides or {}), from_environment(environ, mistakes), file]
    single = from_shorthand(environ, _merged(sources).get("teams"), file.where(("teams",)), mistakes)
    settings, more = _validated([single, *sources])
    if mistakes or more or settings is None:
        raise ConfigError([*mistakes, *more])
    return _anchored(settings, file.values, [*sources[:2], single], path.parent) if path else settings


def _merged(sources: Sequence[Source]) -> dict[str, Any]:
    """The values of all sources; those of the first win, key by key within a section."""
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        for name, value in source.values.items():
            below = merged.get(name)
            sections = isinstance(below, Mapping) and isinstance(value, Mapping)
            merged[name] = dict(below or {}) | value if sections else value
    return merged


def _validated(sources: Sequence[Source]) -> tuple[Settings | None, list[str]]:
    """The settings or the mistakes. The error itself, which knows the values, goes no further."""
    try:
        return Settings(**_merged(sources)), []
    except ValidationError as error:
        return None, explain(error, sources)


def _anchored(settings: Settings, file: Mapping[str, Any], stronger: Sequence[Source], folder: Path) -> Settings:
    """The settings with the paths that come from the file made relative to its folder."""
    changes: dict[str, Any] = {}
    if settings.api.ca_file and not any("ca_file" in (source.values.get("api") or {}) for source in stronger):
        changes["api"] = settings.api.model_copy(update={"ca_file": folder / settings.api.ca_file})
    if file.get("teams") and not any(source.values.get("teams") for source in stronger):
        changes["teams"] = tuple(
            team.model_copy(update={"token_file": folder / team.token_file}) if team.token_file else team
            for team in settings.teams
        )
    return settings.model_copy(update=changes)
