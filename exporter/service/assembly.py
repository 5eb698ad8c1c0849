"""The resources that a configuration needs: connections, credentials and discoveries, opened and closed together."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from exporter import __version__
from exporter.config.settings import Api, Settings
from exporter.expose.counters import ApiCounters
from exporter.log import event
from exporter.platform.client import Limits, Platform
from exporter.platform.clock import CLOCK
from exporter.platform.credentials import TokenSource
from exporter.platform.pacing import Pacer
from exporter.platform.proxy import environment_proxy
from exporter.platform.trust import Trust
from exporter.service.credentials import OriginKey, close_credentials, open_credentials, origin_key
from exporter.service.discovery import Discovery, Findings
from exporter.service.shard import Shard
from exporter.service.shared import Shared

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The open resources of one configuration. Immutable: another configuration gets another assembly.

    Attributes:
        settings: the configuration, with the teams of all shards.
        shard: which teams belong to this process.
        platform: the connections to the platform.
        credentials: those of this shard's teams and of the discoveries; several teams may share one.
        discoveries: one for each credential in `discover`.
    """

    settings: Settings
    shard: Shard
    platform: Platform
    credentials: Mapping[OriginKey, TokenSource]
    discoveries: Mapping[OriginKey, Discovery]

    @property
    def own_settings(self) -> Settings:
        """The configuration with only this shard's teams."""
        return self.shard.part(self.settings)

    def findings(self, settings: Settings) -> Mapping[OriginKey, Findings]:
        """What the discoveries found, as far as it is valid for these settings: nothing if the platform differs."""
        same = settings.api.base_url == self.settings.api.base_url
        return {key: each.findings for key, each in self.discoveries.items()} if same else {}


class Assembler:
    """Opens assemblies; those open at the same time share equal resources. Mutable: it tracks what is open."""

    def __init__(self, environ: Mapping[str, str], shard: Shard, counters: ApiCounters) -> None:
        self._environ = environ
        self._shard = shard
        self._counters = counters
        self._credentials = Shared[OriginKey, TokenSource](close_credentials)
        self._platforms = Shared[Api, Platform](_disconnect)

    @asynccontextmanager
    async def assembled(self, settings: Settings, found: Mapping[OriginKey, Findings]) -> AsyncIterator[Assembly]:
        """The assembly of these settings, open until the block ends.

        Args:
            settings: the configuration, with the teams of all shards.
            found: what earlier discoveries with the same credentials found.

        Raises:
            ConfigError: a credential, the CA bundle or the proxy cannot be used. Nothing is left open.
        """

        async def credentials(known: Mapping[OriginKey, TokenSource]) -> dict[OriginKey, TokenSource]:
            mine = self._shard.part(settings)
            return await asyncio.to_thread(open_credentials, mine, self._environ, known, lock=True)

        api = settings.api

        async def platform(known: Mapping[Api, Platform]) -> dict[Api, Platform]:
            if api not in known:
                return {api: await asyncio.to_thread(self._platform, api)}
            await asyncio.to_thread(known[api].trust.reload)
            return {api: known[api]}

        async with (
            self._platforms.holding(platform) as platforms,
            self._credentials.holding(credentials) as sources,
        ):
            yield Assembly(
                settings=settings,
                shard=self._shard,
                platform=platforms[api],
                credentials=sources,
                discoveries=self._discoveries(settings, sources, platforms[api], found),
            )

    def _discoveries(
        self,
        settings: Settings,
        credentials: Mapping[OriginKey, TokenSource],
        platform: Platform,
        found: Mapping[OriginKey, Findings],
    ) -> dict[OriginKey, Discovery]:
        """One for each credential; entries with the same credential but different patterns share it."""
        discoveries: dict[OriginKey, Discovery] = {}
        for name, each in settings.discoveries():
            if (key := origin_key(each)) not in discoveries:
                client = platform.team(name, credentials[key], None)
                findings = found.get(key, Findings())
                discoveries[key] = Discovery(
                    name,
                    client=client,
                    findings=findings,
                    counters=self._counters,
                    clock=CLOCK.monotonic,
                    random=random.random,
                )
        return discoveries

    def _platform(self, api: Api) -> Platform:
        proxy = environment_proxy(api.base_url)
        if proxy is not None:
            event(_log, logging.INFO, "requests to the platform go through a proxy", proxy=str(proxy))
        return Platform(
            api.base_url,
            limits=Limits(api.timeout, api.max_response_bytes),
            pacer=Pacer(api.max_requests_per_second, api.max_concurrency),
            log=self._counters,
            trust=Trust(api.ca_file),
            user_agent=f"cyberun-exporter/{__version__}",
            proxy=proxy.url if proxy else None,
        )


async def _disconnect(platforms: Collection[Platform]) -> None:
    for platform in platforms:
        await platform.aclose()
