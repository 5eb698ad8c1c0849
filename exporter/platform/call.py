"""One request to the platform, and the interface that records requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr

from exporter.platform.body import masked
from exporter.redact import one_line


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send: a GET with a bearer token, or the POST that exchanges a refresh token for a new pair."""

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

    async def without_secret(self, body: bytes) -> bytes:
        """The body of an answer, with this call's own secret masked, as its values may become labels.

        A POST may return the same refresh token again.
        """
        return await masked(body, self.secret.get_secret_value().encode()) if self.method == "GET" else body


class RequestLog(Protocol):
    """Records what the client did. Paths are templates, never URLs."""

    def request(self, team: str, path: str) -> None:
        """Record that a request is being sent, perhaps for the second time."""

    def answered(self, path: str, seconds: float) -> None:
        """Record how long a request took, successful or not."""

    def failed(self, team: str, path: str, reason: str) -> None:
        """Record that a request finally failed; the reason is one of `exporter.errors.REASONS`."""

    def clock_skew(self, seconds: float) -> None:
        """Record the platform's clock minus ours."""
