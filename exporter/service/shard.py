"""Several exporters that share the teams."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # a health check needs the command line, but not the settings
    from exporter.config.settings import Settings


class Shard(NamedTuple):
    """This process' part of the teams, when several share them."""

    number: int = 0
    total: int = 1

    def holds(self, team: str) -> bool:
        """Whether the team belongs to this shard, by a hash of its name that is equal on every machine."""
        from hashlib import blake2s  # noqa: PLC0415  a health check does without

        digest = blake2s(team.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.total == self.number

    def part(self, settings: "Settings") -> "Settings":
        """The same settings with only this shard's teams; discovered teams are not known yet."""
        teams = tuple(team for team in settings.teams if self.holds(team.name))
        return settings.model_copy(update={"teams": teams})
