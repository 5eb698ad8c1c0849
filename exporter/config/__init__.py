"""The configuration: YAML, environment and flags become frozen settings, or a list of mistakes."""

from exporter.config.load import load, load_web
from exporter.config.reference import reference
from exporter.config.settings import Api, Collect, Discover, Log, Origin, Settings, Team, Web
from exporter.config.types import ListenAddress, format_duration, parse_duration
from exporter.config.webfile import RateLimit, TlsServer, WebFile, load_web_file

__all__ = [
    "Api",
    "Collect",
    "Discover",
    "ListenAddress",
    "Log",
    "Origin",
    "RateLimit",
    "Settings",
    "Team",
    "TlsServer",
    "Web",
    "WebFile",
    "format_duration",
    "load",
    "load_web",
    "load_web_file",
    "parse_duration",
    "reference",
]
