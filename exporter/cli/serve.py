"""`serve`: poll and serve until stopped."""

import asyncio
import gc
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from exporter import __version__
from exporter.cli.arguments import Arguments
from exporter.cli.running import run_loop, stop_signal
from exporter.cli.settings import read_settings, start_settings
from exporter.config.settings import Settings
from exporter.log import event
from exporter.service.budget import requests_per_minute
from exporter.service.budget import warnings as budget_warnings
from exporter.service.credentials import warnings as credential_warnings
from exporter.service.reload import Reloader
from exporter.service.service import Service, started
from exporter.service.shard import Shard
from exporter.web.app import make_app
from exporter.web.serve import listening

if TYPE_CHECKING:
    from exporter.web.access import AccessControl

_log = logging.getLogger(__name__)


def run(given: Arguments) -> int:
    """Poll and serve according to the flags and the configuration; see `serve`."""
    settings = start_settings(given)
    return run_loop(serve(settings, os.environ, given.shard, lambda: read_settings(given)))


async def serve(
    settings: Settings,
    environ: Mapping[str, str],
    shard: Shard,
    load: Callable[[], Settings] | None = None,
    *,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Poll and serve until SIGTERM or SIGINT.

    Args:
        settings: the configuration.
        environ: the environment variables, which may contain credentials.
        shard: which teams belong to this process.
        load: reads the configuration again, on SIGHUP and on request over HTTP; None if there is nothing to read.
        ready: called once the exporter listens on all addresses.

    Returns:
        0; or 1 when polling ended unexpectedly, which only a bug in the exporter can cause.

    Raises:
        ConfigError: a credential, the CA bundle, the proxy or the web configuration cannot be used.
        OSError: an address cannot be listened on.
    """
    begun = asyncio.Event()

    def begin() -> None:
        ready()
        begun.set()

    async with stop_signal() as stop:
        serving = asyncio.create_task(_serve(settings, environ, shard, load, begin, stop))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if stop.is_set() and not begun.is_set():  # a name may be resolved, or a file read, for minutes
            serving.cancel()
            await asyncio.wait((serving,))
            return 0
        return await serving


async def _serve(
    settings: Settings,
    environ: Mapping[str, str],
    shard: Shard,
    load: Callable[[], Settings] | None,
    begin: Callable[[], None],
    stop: asyncio.Event,
) -> int:
    async with started(settings, environ, shard) as service:
        path, places = settings.web.config_file, settings.web.listen_address
        access = None if path is None else await asyncio.to_thread(_access_control, path)
        reloader = Reloader(service, settings, load or (lambda: settings), access)
        lifecycle = reloader.reload if settings.web.enable_lifecycle else None
        app = make_app(service.exporter, telemetry_path=settings.web.telemetry_path, reload=lifecycle, access=access)
        context = None if access is None else access.ssl_context
        async with listening(app, *places, ssl_context=context) as addresses, reloader.running():
            _announce(service, ", ".join(map(str, addresses)), access)
            begin()
            freeze_startup_objects()
            code = await _poll_until(stop, service)
            closing = asyncio.create_task(service.close())  # while the web server finishes its responses
        await closing
        return code


def _access_control(web_file: Path) -> "AccessControl":
    from exporter.web.access import AccessControl  # noqa: PLC0415  2 MB that most installations do not need

    return AccessControl(web_file)


def freeze_startup_objects() -> None:
    """Exempt objects loaded so far from garbage collection, which would spend 30 ms walking them each time."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _announce(service: Service, address: str, access: "AccessControl | None") -> None:
    settings, credentials = service.assembly.own_settings, service.assembly.credentials
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
    warnings = [*budget_warnings(settings), *credential_warnings(settings, credentials, time.time())]
    for warning in (*warnings, *(access.file.warnings() if access else ())):
        event(_log, logging.WARNING, warning)


async def _poll_until(stop: asyncio.Event, service: Service) -> int:
    polling, stopped = asyncio.create_task(service.run()), asyncio.create_task(stop.wait())
    await asyncio.wait((polling, stopped), return_when=asyncio.FIRST_COMPLETED)
    failed = polling.done()
    polling.cancel()
    stopped.cancel()
    [outcome, _] = await asyncio.gather(polling, stopped, return_exceptions=True)
    if failed:
        _log.critical("polling ended unexpectedly", exc_info=outcome if isinstance(outcome, BaseException) else None)
        return 1
    event(_log, logging.INFO, "stopping")
    return 0
