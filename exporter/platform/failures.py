"""Maps failed requests to one of `exporter.errors`, with a message that contains no credential."""

import json
import os
import ssl

import aiohttp

from exporter.errors import (
    ClientRefused,
    ConnectFailed,
    Forbidden,
    NotFound,
    PlatformError,
    RateLimited,
    Redirected,
    RequestTimeout,
    ServerFailed,
    TlsFailed,
    Unauthorized,
    Undecodable,
)
from exporter.platform.connections import ConnectionBroken

_LEAVES: dict[int, type[PlatformError]] = {401: Unauthorized, 403: Forbidden, 404: NotFound, 429: RateLimited}
_FAMILIES: dict[int, type[PlatformError]] = {2: Undecodable, 3: Redirected, 4: ClientRefused}

_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""What various versions of OpenSSL report when the answer is not TLS."""


def error_message(body: bytes) -> str:
    """The platform's message in the body of an error: the missing licence feature, then `error_message`.

    It is documented that a 403 names the feature in its body, but not in which field.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    texts = {name: text for name, text in answer.items() if isinstance(text, str)} if isinstance(answer, dict) else {}
    message = texts.pop("error_message", "")
    features = [f"{name} {text}" for name, text in texts.items() if "feature" in name.lower() and text not in message]
    return ": ".join([*features[:1], *([message] if message else [])])


def error_for_status(status: int) -> type[PlatformError]:
    """The error class for a status other than 200."""
    return _LEAVES.get(status) or _FAMILIES.get(status // 100) or ServerFailed


def connection_error(error: Exception, timeout: float) -> tuple[type[PlatformError], str]:
    """The error class for a request without a complete answer, and a message.

    The messages of aiohttp's own errors are not used, because some quote headers.

    Args:
        error: what was raised.
        timeout: seconds that were allowed.
    """
    if isinstance(error, TimeoutError):
        return RequestTimeout, f"no complete answer within {timeout:g} s"
    if (refused := _tls_cause(error)) is not None:
        why = getattr(refused, "verify_message", None) or refused.reason or "no reason given"
        if refused.reason in _NOT_TLS:
            why = "the server does not speak TLS; the base URL may need http: or another port"
        return TlsFailed, f"TLS failed: {why}"
    return ConnectFailed, _why_broken(error.__cause__ if isinstance(error, ConnectionBroken) else error)


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    """The error of the ssl module that caused another one; aiohttp's own subclasses of it lack the details."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, aiohttp.ClientError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _why_broken(error: BaseException | None) -> str:
    match error:
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionError) and not error.os_error.errno:
            why = "the peer closed the connection during the TLS handshake"  # asyncio's own error, which has no text
        case aiohttp.ClientConnectorError():
            why = f"no connection: {_os_words(error.os_error)}"
        case aiohttp.ClientHttpProxyError():
            why = f"the proxy refused the connection with status {error.status}"
        case aiohttp.ServerDisconnectedError():
            why = "the platform closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            why = "the connection broke before the last byte"
        case aiohttp.ClientResponseError():
            why = "the answer is not valid HTTP, or its headers are too large"
        case OSError():
            why = f"the connection broke: {_os_words(error)}"
        case _:
            why = "the request could not be sent"
    return why


def _os_words(error: OSError) -> str:
    """The system's text for the error; asyncio's own text contains addresses instead."""
    if error.errno is not None and error.errno > 0:  # the resolver's numbers are negative
        return os.strerror(error.errno)
    return error.strerror or "no reason given"
