"""The settings of the commands that need them."""

import os

from exporter import log
from exporter.cli.arguments import Arguments
from exporter.config.load import load
from exporter.config.settings import Settings


def read_settings(given: Arguments) -> Settings:
    """Read the configuration from file, environment and flags.

    Raises:
        ConfigError: it has mistakes.
    """
    return load(given.config_file, os.environ, given.overrides)


def start_settings(given: Arguments) -> Settings:
    """Read the configuration and apply its log settings.

    Raises:
        ConfigError: it has mistakes.
    """
    settings = read_settings(given)
    log.configure(settings.log.level, settings.log.format)
    return settings
