"""The credentials whose teams are to be found, and which of the teams that they find are polled."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from exporter.cli.credentials import OriginKey, discovery_name, origin_key
from exporter.collect.discovery import Discovery, Found
from exporter.collect.history import Clock
from exporter.config import Discover, Settings, Team
from exporter.expose.counters import ApiCounters
from exporter.log import event
from exporter.platform import paths
from exporter.platform.client import Platform
from exporter.platform.credentials import TokenSource

_log = logging.getLogger(__name__)


class Discoveries:
    """One discovery for each credential that is to find teams. Mutable: a reload changes which there are."""

    def __init__(self, clock: Clock, counters: ApiCounters) -> None:
        self._clock = clock
        self._counters = counters
        self._known: dict[OriginKey, Discovery] = {}
        self._sources: Mapping[OriginKey, TokenSource] = {}
        self._names: set[str] = set()
        self._left_out: Mapping[str, str] = {}
        self._changed = asyncio.Event()

    def reconfigure(
        self,
        discover: Sequence[Discover],
        sources: Mapping[OriginKey, TokenSource],
        platform: Platform,
        *,
        same_platform: bool,
    ) -> None:
        """Look for the teams of these credentials, and at once: who reloads wants to see what there is.

        Args:
            discover: what the configuration says.
            sources: the credentials.
            platform: whom to ask.
            same_platform: whether what was found until now is still true.
        """
        before, self._known = self._known if same_platform else {}, {}
        names = set()
        for i, one in enumerate(discover):
            key, name = origin_key(one), discovery_name(i)
            if key in self._known:  # another choice among the teams of the same credential
                continue
            client = platform.team(name, sources[key], None)
            self._known[key] = before.get(key) or Discovery(name, client, self._clock.monotonic, random.random)
            self._known[key].reconfigure(name, client)
            self._counters.start(name, (paths.ME, paths.REFRESH) if sources[key].renews else (paths.ME,))
            names.add(name)
        for name in self._names - names:
            self._counters.forget(name)
        self._names, self._sources = names, sources
        self._changed.set()

    @property
    def attempted(self) -> bool:
        """Whether each of them has asked at least once."""
        return all(discovery.attempted for discovery in self._known.values())

    @property
    def failed(self) -> bool:
        """Whether the last look of any of them gave nothing."""
        return any(discovery.failure for discovery in self._known.values())

    def of(self, discover: Discover) -> Discovery:
        """What is known through one of them."""
        return self._known[origin_key(discover)]

    def teams(self, settings: Settings) -> Iterator[Team]:
        """The found teams that are wanted: none twice, and a name that is taken is left to whoever has it."""
        names, ids = {team.name for team in settings.teams}, {team.team_id for team in settings.teams}
        left_out: dict[str, str] = {}
        for i, discover in enumerate(settings.discover):
            wanted = self._wanted(discover)
            if self._sources[origin_key(discover)].kind == "device" and len(wanted) > 1:
                # The platform lists all teams of the key's user, and answers for that of the key whatever is asked.
                all_names = ", ".join(found.name for found in wanted)
                left_out[discovery_name(i)] = f"a device key reads one team; include that one alone of {all_names}"
                continue
            for found in wanted:
                team = discover.team(found.name, found.team_id)
                if found.team_id in ids:
                    continue
                if team is None or team.name in names:
                    left_out[found.team_id] = f"the name {found.name} is taken" if team else "no usable name or id"
                    continue
                names.add(team.name)
                ids.add(team.team_id)
                yield team
        self._tell(left_out)

    def _wanted(self, discover: Discover) -> list[Found]:
        return [found for found in self.of(discover).teams if discover.wants(found.name)]

    def _tell(self, left_out: Mapping[str, str]) -> None:
        """Log who is left out, once and not at every look."""
        for team, why in left_out.items():
            if self._left_out.get(team) != why:
                event(_log, logging.WARNING, "discovered team left out", team=team, why=why)
        self._left_out = left_out

    async def look(self) -> None:
        """Ask with each of them once."""
        await asyncio.gather(*(discovery.look() for discovery in self._known.values()))

    async def keep_looking(self, tell: Callable[[], Awaitable[None]]) -> None:
        """Look with all of them until cancelled, and tell after each look; anew whenever they are reconfigured."""
        while True:
            self._changed.clear()
            async with asyncio.TaskGroup() as group:
                looking = [group.create_task(discovery.keep_looking(tell)) for discovery in self._known.values()]
                await self._changed.wait()
                for task in looking:
                    task.cancel()
