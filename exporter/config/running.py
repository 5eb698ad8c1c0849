"""Where a running exporter listens, found without loading the validation of settings.

A health check uses this every few seconds, next to GPU work, so it must cost almost nothing. A value with a mistake
counts as absent, because the running exporter still uses the configuration that it read before the edit.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from exporter.config.address import DEFAULT, ListenAddress, parse_addresses
from exporter.config.variables import variable
from exporter.errors import ConfigError


class Running(NamedTuple):
    """How to reach a running exporter."""

    addresses: tuple[ListenAddress, ...]
    tls: bool
    """Whether it is likely to serve HTTPS, because it has a web configuration, which may configure TLS."""


def find(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Running:
    """The section `web` of the same sources that `load` reads, in the same order of precedence.

    Args:
        path: the YAML file, if there is one.
        environ: the environment.
        flags: values of flags, nested like the settings.
    """
    sections = list(_sections(path, environ, flags))
    addresses: tuple[ListenAddress, ...] = DEFAULT
    for section in reversed(sections):
        with suppress(ValueError):
            addresses = parse_addresses(section.get("listen_address"))
    return Running(addresses, tls=any(section.get("config_file") for section in sections))


def _sections(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The section in each source, highest precedence first."""
    yield flags.get("web", {})
    yield {key: environ.get(variable(("web", key))) for key in ("listen_address", "config_file")}
    if path is not None:
        from exporter.config.yamlfile import parse_yaml, read  # noqa: PLC0415  takes as long as the rest together

        with suppress(ConfigError):
            document = parse_yaml(read(path), str(path))
            section = document.get("web") if isinstance(document, dict) else None
            yield section if isinstance(section, dict) else {}
