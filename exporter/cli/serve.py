"""`serve`: poll and answer until told to stop. `once`: poll once and print."""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from exporter import __version__
from exporter.cli.budget import requests_per_minute
from exporter.cli.wiring import connected
from exporter.collect.exporter import Exporter
from exporter.config import Settings
from exporter.log import event
from exporter.web.app import make_app
from exporter.web.serve import listening

_log = logging.getLogger(__name__)


@asynccontextmanager
async def stop_signal() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def serve(settings: Settings, environ: Mapping[str, str]) -> int:
    """Poll and serve until SIGTERM or SIGINT.

    Returns:
        0; 1 when polling ended by itself, which only a mistake of the exporter's does.

    Raises:
        ConfigError: a credential, the CA bundle or the proxy cannot be used.
        OSError: the address cannot be listened on.
    """
    async with stop_signal() as stop, connected(settings, environ) as exporter:
        app = make_app(exporter, telemetry_path=settings.web.telemetry_path)
        address = settings.web.listen_address
        async with listening(app, address.host, address.port) as ports:
            least, most = requests_per_minute(settings)
            event(
                _log,
                logging.INFO,
                "listening",
                version=__version__,
                address=f"{address.host or ''}:{ports[0]}",
                teams=len(settings.teams),
                requests_per_minute=f"{least:.0f} to {most:.0f}",
            )
            for doubt in settings.doubts():
                event(_log, logging.WARNING, doubt)
            return await _poll_until(stop, exporter)


async def _poll_until(stop: asyncio.Event, exporter: Exporter) -> int:
    polling, stopped = asyncio.create_task(exporter.run()), asyncio.create_task(stop.wait())
    await asyncio.wait((polling, stopped), return_when=asyncio.FIRST_COMPLETED)
    failed = polling.done()
    polling.cancel()
    stopped.cancel()
    [outcome, _] = await asyncio.gather(polling, stopped, return_exceptions=True)
    if failed:
        _log.critical("polling ended by itself", exc_info=outcome if isinstance(outcome, BaseException) else None)
        return 1
    event(_log, logging.INFO, "stopping")
    return 0


async def once(settings: Settings, environ: Mapping[str, str]) -> int:
    """Poll every team once and print the exposition.

    Returns:
        1 when a collector failed, else 0.

    Raises:
        ConfigError: a credential, the CA bundle or the proxy cannot be used.
    """
    async with connected(settings, environ) as exporter:
        await exporter.once()
        for part in exporter.exposition(openmetrics=False).text():
            sys.stdout.buffer.write(part)
        sys.stdout.flush()
        return 0 if all(team.up for team in exporter.status().teams) else 1
