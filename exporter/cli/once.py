"""`once`: poll every team once and print the exposition."""

import os
import sys
from collections.abc import Mapping

from exporter.cli.arguments import Arguments
from exporter.cli.running import run_once
from exporter.cli.settings import start_settings
from exporter.config.settings import Settings
from exporter.service.service import started
from exporter.service.shard import Shard


def run(given: Arguments) -> int:
    """Poll once and print; see `once`."""
    return run_once(once(start_settings(given), os.environ, given.shard))


async def once(settings: Settings, environ: Mapping[str, str], shard: Shard) -> int:
    """Poll every team once and print the exposition.

    Returns:
        1 when a collector failed, or teams could not be discovered, else 0.

    Raises:
        ConfigError: a credential, the CA bundle or the proxy cannot be used.
    """
    async with started(settings, environ, shard) as service:
        exporter = service.exporter
        found = await service.discover_once()
        await exporter.once()
        exposition = await exporter.scrape(openmetrics=False)
        for part in exposition.text():
            sys.stdout.buffer.write(part)
        sys.stdout.flush()
        return 0 if found and all(team.up for team in exporter.status().teams) else 1
