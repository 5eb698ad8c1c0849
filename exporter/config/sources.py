"""The configuration file and the flags, each as a `Source`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from exporter.config.mistakes import Source, key_path, nearest, shown
from exporter.config.settings import Settings
from exporter.config.variables import Loc
from exporter.config.yamlfile import parse_yaml, read
from exporter.errors import ConfigError

_FLAGS: Final[Mapping[Loc, str]] = {("web", "config_file"): "web.config.file"}
"""Flags whose names differ from their keys, to match the official exporters."""


def from_file(path: Path, mistakes: list[str]) -> Source:
    """The configuration file; unknown sections are left out and added to `mistakes`.

    Raises:
        ConfigError: the file is missing, unreadable, not UTF-8, not YAML or not a mapping.
    """
    document = parse_yaml(read(path), str(path))
    if not isinstance(document, dict | None):
        raise ConfigError([f"{path}: found {shown(document)}; allowed: a mapping of sections"])
    values = document or {}
    sections = list(Settings.model_fields)
    mistakes += [
        f"{path}: {key_path((str(key),))}: unknown key; allowed: {nearest(str(key), sections)}"
        for key in values
        if key not in sections
    ]
    known = {key: value for key, value in values.items() if key in sections}
    return Source(known, lambda loc: f"{path}: {key_path(loc)}")


def from_flags(values: Mapping[str, Any]) -> Source:
    """Values of the command line, nested like the settings."""
    return Source(values, lambda loc: f"flag --{_FLAGS.get(loc, key_path(loc).replace('_', '-'))}")
