"""Reading the configuration again while the exporter runs."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from exporter import log
from exporter.catalog import Operation
from exporter.config.settings import Settings
from exporter.errors import ConfigError
from exporter.log import event
from exporter.service.service import Service

if TYPE_CHECKING:  # only those who have a web configuration file pay for reading one
    from exporter.web.access import AccessControl

_log = logging.getLogger(__name__)

WATCH_EVERY: Final = 2.0
"""Seconds between two checks for changes of the web configuration and its certificates."""


class Reloader:
    """Reloads the configuration, one reload at a time. Mutable: it keeps the settings in use."""

    def __init__(
        self, service: Service, settings: Settings, load: Callable[[], Settings], access: "AccessControl | None"
    ) -> None:
        self._service = service
        self._settings = settings
        self._load = load
        self._access = access
        self._settings_ok = True
        """Whether the last reload succeeded, so that the settings on disk are those in use."""
        self._reloading = asyncio.Lock()

    async def reload(self) -> Sequence[str]:
        """Read the configuration and the web configuration, and apply both or neither.

        Returns:
            The mistakes, a line for each; none when the new configuration is in use.
        """
        async with self._reloading:
            try:
                # Reading thousands of teams takes a second, which would block the event loop for too long.
                settings = await asyncio.to_thread(self._load)
                rules = await self._access.read() if self._access else None
                await self._service.apply(settings)
            except Exception as error:  # noqa: BLE001  no mistake in a file may end a running exporter
                self._settings_ok = False
                return self._refuse(error)
            if self._access and rules:
                self._access.apply(rules)
            self._settings_ok = True
            self._service.exporter.note_reload(ok=True)
            self._announce(settings)
            return ()

    def _announce(self, settings: Settings) -> None:
        log.configure(settings.log.level, settings.log.format)
        event(_log, logging.INFO, "configuration reloaded", teams=len(self._service.assembly.own_settings.teams))
        if settings.web != self._settings.web:
            event(_log, logging.WARNING, "changes to the web section need a restart")
        self._settings = settings

    async def renew(self) -> None:
        """Apply the web configuration and its certificates if they changed; with a mistake, keep the old ones."""
        if self._access is None:
            return
        try:
            if not await asyncio.to_thread(self._access.changed):
                return
        except RuntimeError:  # no thread is available now; try again at the next check
            return
        async with self._reloading:
            try:
                rules = await self._access.read()
            except Exception as error:  # noqa: BLE001  as above
                self._refuse(error)
                return
            self._access.apply(rules)
            self._service.exporter.note_reload(ok=self._settings_ok)
            event(_log, logging.INFO, "web configuration reloaded")

    def _refuse(self, error: Exception) -> Sequence[str]:
        self._service.exporter.note_reload(ok=False)
        if not isinstance(error, ConfigError):
            self._service.counters.internal_error(Operation.RELOAD)
            _log.error("internal error while reading the configuration", exc_info=error)
            return (f"an internal error, see the log: {type(error).__name__}",)
        for mistake in error.mistakes:
            event(_log, logging.ERROR, "configuration not reloaded", mistake=mistake)
        return error.mistakes

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until the block ends, reload at each SIGHUP and watch the web configuration; an unhandled error ends it."""
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, asked.set)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._whenever(asked)), group.create_task(self._watch())]
                yield
                for task in tasks:
                    task.cancel()
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # by default it would kill the process while it stops

    async def _whenever(self, asked: asyncio.Event) -> None:
        while True:
            await asked.wait()
            asked.clear()
            await self.reload()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY)
            await self.renew()
