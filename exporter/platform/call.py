"""One request to the platform, and the interface that records requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr

from exporter.redact import one_line


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send: a GET with a bearer token, or the POST that trades a refresh token for a new pair."""

    method: str
    path: str
    """Below the base URL; also the value of the `path` label."""
    secret: SecretStr
    """The bearer token of a GET, the refresh token of a POST. Only `Platform` opens it, to send it."""
    query: Mapping[str, str | int] = field(default_factory=dict)
    team_id: str | None = None
    """Sent as X-Team-ID when given."""
    fresh: bool = False
    """Whether to use a new connection."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def printable(self, text: str) -> str:
        """Text from outside as one short line, free of credentials, especially this call's own."""
        return one_line(text, self.secret.get_secret_value())


class RequestLog(Protocol):
    """Records what the client did. Paths are templates, never URLs."""

    def request(self, team: str, path: str) -> None:
        """A request is being sent, a repetition included."""

    def answered(self, path: str, seconds: float) -> None:
        """A request ended after so many seconds, successful or not."""

    def failed(self, team: str, path: str, reason: str) -> None:
        """A request of a team failed for good; reason is one of `exporter.errors.REASONS`."""

    def clock_skew(self, seconds: float) -> None:
        """The platform's clock minus ours."""
