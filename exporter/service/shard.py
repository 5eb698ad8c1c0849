"""Dividing the teams among several exporters."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # a health check must not load the settings
    from exporter.config.settings import Settings


class Shard(NamedTuple):
    """Which of several exporters this process is, and so which teams it polls."""

    number: int = 0
    total: int = 1

    def holds(self, team: str) -> bool:
        """Whether the team belongs to this shard, by a hash of its name that is the same on every machine."""
        from hashlib import blake2s  # noqa: PLC0415  a health check does not need it

        digest = blake2s(team.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.total == self.number

    def part(self, settings: "Settings") -> "Settings":
        """The same settings with only this shard's teams; discovered teams are not known yet."""
        teams = tuple(team for team in settings.teams if self.holds(team.name))
        return settings.model_copy(update={"teams": teams})
