"""Turns file, environment and flags into settings, or into a list of all mistakes."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from exporter.config.environment import from_environment, from_shorthand
from exporter.config.mistakes import Source, explain, key_path, place
from exporter.config.settings import Origin, Settings
from exporter.config.sources import from_file, from_flags
from exporter.config.variables import LISTS
from exporter.errors import ConfigError


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read and validate the configuration. Flags win over the environment, which wins over the file.

    Args:
        path: the YAML file, if there is one. Paths in it are relative to its folder, all others to the working folder.
        environ: the environment, of which the `CYBERUN_EXPORTER_…` variables are read.
        overrides: values of flags, nested like the settings: `{"web": {"listen_address": ":1"}}`.

    Raises:
        ConfigError: with a line for each mistake. A file or list that cannot be parsed hides further mistakes.
    """
    mistakes: list[str] = []
    file = from_file(path, mistakes) if path else Source({}, lambda loc: f"configuration: {key_path(loc)}")
    sources = [from_flags(overrides or {}), from_environment(environ, mistakes), file]
    single = from_shorthand(environ, _merged(sources), file.where(("teams",)), mistakes)
    settings, more = _validated([single, *sources])
    if mistakes or more or settings is None:
        raise ConfigError([*mistakes, *more])
    settings = _anchored(settings, file.values, [*sources[:2], single], path.parent) if path else settings
    _note_places(settings, [single, *sources])
    return settings


def _merged(sources: Sequence[Source]) -> dict[str, Any]:
    """The values of all sources; earlier sources win, key by key within a section."""
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        for name, value in source.values.items():
            below = merged.get(name)
            sections = isinstance(below, Mapping) and isinstance(value, Mapping)
            merged[name] = dict(below or {}) | value if sections else value
    return merged


def _validated(sources: Sequence[Source]) -> tuple[Settings | None, list[str]]:
    """The settings or the mistakes. The error itself contains the values and is not passed on."""
    try:
        return Settings.model_validate(_merged(sources)), []
    except ValidationError as error:
        return None, explain(error, sources)


def _anchored(settings: Settings, file: Mapping[str, Any], stronger: Sequence[Source], folder: Path) -> Settings:
    """The settings with the paths from the file resolved against its folder."""
    changes: dict[str, Any] = {}
    for name, key in (("api", "ca_file"), ("web", "config_file")):
        section = getattr(settings, name)
        path = getattr(section, key)
        if path and not any(key in (source.values.get(name) or {}) for source in stronger):
            changes[name] = section.model_copy(update={key: folder / path})
    for key in LISTS:
        if file.get(key) and not any(source.values.get(key) for source in stronger):
            changes[key] = tuple(_below(folder, origin) for origin in getattr(settings, key))
    return settings.model_copy(update=changes)


def _note_places(settings: Settings, sources: Sequence[Source]) -> None:
    """Let the credentials know where they are configured."""
    for name in LISTS:
        for i, origin in enumerate(getattr(settings, name)):
            origin.note_places(partial(_place_in_list, sources, name, i))


def _place_in_list(sources: Sequence[Source], name: str, index: int, key: str) -> str:
    return place((name, index, key), sources)


def _below(folder: Path, origin: Origin) -> Origin:
    """The same with its files resolved against `folder`."""
    files = {"token_file": origin.token_file, "refresh_token_file": origin.refresh_token_file}
    return origin.model_copy(update={key: folder / path for key, path in files.items() if path is not None})
