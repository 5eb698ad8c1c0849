"""`serve`: poll and answer until told to stop. `once`: poll once and print."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from exporter import __version__
from exporter.cli.budget import doubts, requests_per_minute
from exporter.cli.reload import Reloader
from exporter.cli.wiring import Assembly, Shard, assembled
from exporter.config import Settings
from exporter.log import event
from exporter.web.access import AccessControl
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


async def serve(
    settings: Settings, environ: Mapping[str, str], shard: Shard, load: Callable[[], Settings] | None = None
) -> int:
    """Poll and serve until SIGTERM or SIGINT.

    Args:
        settings: the configuration.
        environ: where credentials may be.
        shard: this process' part of the teams.
        load: reads the configuration anew, at SIGHUP and when asked over HTTP; None where there is nothing to read.

    Returns:
        0; 1 when polling ended by itself, which only a mistake of the exporter's does.

    Raises:
        ConfigError: a credential, the CA bundle, the proxy or the web configuration cannot be used.
        OSError: the address cannot be listened on.
    """
    async with stop_signal() as stop, assembled(settings, environ, shard) as assembly:
        path, address = settings.web.config_file, settings.web.listen_address
        access = None if path is None else await asyncio.to_thread(AccessControl, path)
        reloader = Reloader(assembly, settings, load or (lambda: settings), access)
        lifecycle = reloader.reload if settings.web.enable_lifecycle else None
        app = make_app(assembly.exporter, telemetry_path=settings.web.telemetry_path, reload=lifecycle, access=access)
        context = None if access is None else access.ssl_context
        async with listening(app, address.host, address.port, context) as ports, reloader.running():
            _announce(settings, f"{address.host or ''}:{ports[0]}", access)
            settle()
            return await _poll_until(stop, assembly)


def settle() -> None:
    """Leave what is loaded by now to itself: garbage collections would walk it for ever, 30 ms each time."""
    gc.collect()
    gc.freeze()


def _announce(settings: Settings, address: str, access: AccessControl | None) -> None:
    least, most = requests_per_minute(settings)
    event(
        _log,
        logging.INFO,
        "listening",
        version=__version__,
        address=address,
        tls=access is not None and access.ssl_context is not None,
        basic_auth=access is not None and access.wants_passwords,
        teams=len(settings.teams),
        requests_per_minute=f"{least:.0f} to {most:.0f}",
    )
    for doubt in (*doubts(settings), *(access.file.doubts() if access else ())):
        event(_log, logging.WARNING, doubt)


async def _poll_until(stop: asyncio.Event, assembly: Assembly) -> int:
    polling, stopped = asyncio.create_task(assembly.run()), asyncio.create_task(stop.wait())
    await asyncio.wait((polling, stopped), return_when=asyncio.FIRST_COMPLETED)
    failed = polling.done()
    assembly.stop()
    polling.cancel()
    stopped.cancel()
    [outcome, _] = await asyncio.gather(polling, stopped, return_exceptions=True)
    if failed:
        _log.critical("polling ended by itself", exc_info=outcome if isinstance(outcome, BaseException) else None)
        return 1
    event(_log, logging.INFO, "stopping")
    return 0


async def once(settings: Settings, environ: Mapping[str, str], shard: Shard) -> int:
    """Poll every team once and print the exposition.

    Returns:
        1 when a collector failed, or teams could not be discovered, else 0.

    Raises:
        ConfigError: a credential, the CA bundle or the proxy cannot be used.
    """
    async with assembled(settings, environ, shard) as assembly:
        exporter = assembly.exporter
        found = await assembly.look()
        await exporter.once()
        for part in exporter.exposition(openmetrics=False).text():
            sys.stdout.buffer.write(part)
        sys.stdout.flush()
        return 0 if found and all(team.up for team in exporter.status().teams) else 1
