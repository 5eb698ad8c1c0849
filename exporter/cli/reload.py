"""Reading the configuration again while the exporter runs."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from exporter import log
from exporter.cli.wiring import Assembly
from exporter.config import Settings
from exporter.errors import ConfigError
from exporter.log import event

_log = logging.getLogger(__name__)


class Reloader:
    """Reloads, one at a time. Mutable: it knows the settings in force."""

    def __init__(self, assembly: Assembly, settings: Settings, load: Callable[[], Settings]) -> None:
        self._assembly = assembly
        self._settings = settings
        self._load = load
        self._one = asyncio.Lock()

    async def reload(self) -> Sequence[str]:
        """Read the configuration and go by it, or change nothing.

        Returns:
            The mistakes, a line each; none when the new configuration is in force.
        """
        async with self._one:
            try:
                # Thousands of teams take a second to read: not in the loop that answers scrapes.
                settings = await asyncio.to_thread(self._load)
                await self._assembly.apply(settings)
            except ConfigError as error:
                self._assembly.exporter.note_reload(ok=False)
                for mistake in error.mistakes:
                    event(_log, logging.ERROR, "configuration not reloaded", mistake=mistake)
                return error.mistakes
            self._assembly.exporter.note_reload(ok=True)
            self._settle(settings)
            return ()

    def _settle(self, settings: Settings) -> None:
        log.configure(settings.log.level, settings.log.format)
        event(_log, logging.INFO, "configuration reloaded", teams=len(settings.teams))
        if settings.web != self._settings.web:
            event(_log, logging.WARNING, "changes of the section web need a restart")
        self._settings = settings

    @asynccontextmanager
    async def on_signal(self) -> AsyncIterator[None]:
        """Reload at each SIGHUP until the block ends."""
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, asked.set)
        waiting = asyncio.create_task(self._whenever(asked))
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            waiting.cancel()

    async def _whenever(self, asked: asyncio.Event) -> None:
        while True:
            await asked.wait()
            asked.clear()
            await self.reload()
