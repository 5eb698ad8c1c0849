"""What can go wrong, as a tree.

ExporterError
├── ConfigError             the configuration or a credential file is wrong; one line per mistake
└── PlatformError           one request to the platform failed; each leaf has the reason that metrics show
    ├── RequestTimeout      timeout       no complete answer within api.timeout
    ├── ConnectFailed       connect       no connection, or it broke
    │   └── StaleConnection               an idle one broke before any byte of an answer: sent again once
    ├── TlsFailed           tls           the certificate was not accepted, or the handshake failed
    ├── Redirected          redirect      3xx; never followed, because the credential would be sent along
    ├── Unauthorized        auth          401, or there is no usable credential
    ├── Forbidden           forbidden     403: the credential lacks the permission, or the licence the feature
    ├── NotFound            not_found     404
    ├── RateLimited         rate_limited  429
    ├── ClientRefused       http_4xx      any other 4xx
    ├── ServerFailed        http_5xx      5xx, and any status not listed here
    ├── TooLarge            too_large     more bytes than api.max_response_bytes
    ├── Undecodable         decode        not JSON, truncated, empty, or of an unknown encoding
    └── SchemaMismatch      schema        JSON, but not what the platform documents
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Self, TypeAlias


class ExporterError(Exception):
    """Base class of everything this program raises on purpose."""


class ConfigError(ExporterError):
    """The configuration cannot be used.

    Attributes:
        mistakes: a line for each: where, what was found, what is allowed. Without credentials.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


class PlatformError(ExporterError):
    """A request to the platform failed.

    Attributes:
        reason: the value of the `reason` label; closed set, see `REASONS`.
        retry_after: seconds the platform asked us to wait, if it did.
    """

    reason: ClassVar[str]

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    def without_traceback(self) -> Self:
        """A copy without traceback: frames in the traceback of this one may hold a credential."""
        return type(self)(str(self), retry_after=self.retry_after)


class RequestTimeout(PlatformError):
    """No complete answer within the time allowed for one request."""

    reason = "timeout"


class ConnectFailed(PlatformError):
    """No connection could be made, or it broke before the last byte."""

    reason = "connect"


class StaleConnection(ConnectFailed):
    """An idle connection broke before the first byte of an answer, so a GET may be sent again on a new one."""


class TlsFailed(PlatformError):
    """The TLS handshake failed: usually an unknown authority or another host's certificate."""

    reason = "tls"


class Redirected(PlatformError):
    """The platform answered with a redirect, which is never followed."""

    reason = "redirect"


class Unauthorized(PlatformError):
    """401, or the credential file is missing or empty."""

    reason = "auth"


class Forbidden(PlatformError):
    """403: the credential lacks the permission or the licence lacks the feature."""

    reason = "forbidden"


class NotFound(PlatformError):
    """404: usually a wrong base URL or path."""

    reason = "not_found"


class RateLimited(PlatformError):
    """429."""

    reason = "rate_limited"


class ClientRefused(PlatformError):
    """Any other 4xx."""

    reason = "http_4xx"


class ServerFailed(PlatformError):
    """A 5xx, or a status outside what HTTP defines."""

    reason = "http_5xx"


class TooLarge(PlatformError):
    """The body, compressed or not, is larger than api.max_response_bytes."""

    reason = "too_large"


class Undecodable(PlatformError):
    """The body is not JSON: truncated, HTML, empty, badly compressed, or that of another 2xx than 200."""

    reason = "decode"


class SchemaMismatch(PlatformError):
    """The body is JSON, but does not have the documented shape, or contradicts the filter or itself."""

    reason = "schema"


Expected: TypeAlias = tuple[type[PlatformError], ...]
"""Failures that are a valid answer for the caller: raised, but not counted."""
NOT_OFFERED: Final[Expected] = (Unauthorized, Forbidden, NotFound, ClientRefused)
"""How a platform refuses what is optional: it does not serve it, or not to this credential."""
REASONS: tuple[str, ...] = tuple(leaf.reason for leaf in PlatformError.__subclasses__())
"""Every value of the `reason` label, in the order of the tree."""
INTERNAL: Final = "internal"
"""The reason of a failure of the exporter itself. It concerns no request, so it has its own counter."""


def explained(error: Exception) -> tuple[str, str]:
    """The reason of a failure, one of `REASONS` or `INTERNAL`, and its message, without credentials.

    Of an unforeseen error only the type is shown, because its text may contain anything.
    """
    if isinstance(error, PlatformError):
        return error.reason, str(error)
    return INTERNAL, f"internal error of the exporter: {type(error).__name__}"


def advice(reason: str) -> str:
    """What to do about a failure for this reason."""
    return ADVICE.get(reason, "see the exporter's log, and report what it says")


ADVICE: Final[dict[str, str]] = {
    "timeout": "nothing answered in time: try again, look for a firewall or proxy in between, or raise api.timeout",
    "connect": "check the host and port of api.base_url, name resolution, firewalls and the proxy variables",
    "tls": "check that the certificate is for this host and still valid; for a private authority set api.ca_file",
    "redirect": "set api.base_url to the redirect's target: credentials are never sent along a redirect",
    "auth": "the credential is unknown, expired or revoked: create a new one and replace this one",
    "forbidden": (
        "the credential may not do this: sk- keys are accepted only on /r/ paths, users only for their own teams,"
        " and the licence may lack the feature"
    ),
    "not_found": "check the path of api.base_url; it usually ends in /api/v1",
    "rate_limited": "lower api.max_requests_per_second, or lengthen collect.interval",
    "http_4xx": "the platform rejects the request itself: check team_id and agents_path, and the platform's version",
    "http_5xx": "the platform or a proxy in front of it has a problem: try again, or contact its operator",
    "too_large": "if answers of this size are expected, raise api.max_response_bytes",
    "decode": "something other than the API answered: check api.base_url and look for a login page or proxy in between",
    "schema": "the answer differs from the documented one: check the platform's version, and report this line",
}
"""What to do, by the reason of a failed request."""
