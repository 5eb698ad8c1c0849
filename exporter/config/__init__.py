"""The configuration: YAML, environment and flags become frozen settings, or a list of mistakes."""

from exporter.config.load import load
from exporter.config.reference import reference
from exporter.config.settings import Api, Collect, Log, Settings, Team, Web
from exporter.config.types import ListenAddress, format_duration, parse_duration

__all__ = [
    "Api",
    "Collect",
    "ListenAddress",
    "Log",
    "Settings",
    "Team",
    "Web",
    "format_duration",
    "load",
    "parse_duration",
    "reference",
]
