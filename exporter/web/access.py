"""Access control according to the web configuration file, which is read again when it changes."""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from exporter.config.webfile import WebFile, load_web_file
from exporter.errors import ConfigError
from exporter.platform.files import Signature, signature
from exporter.platform.pacing import TokenBucket
from exporter.web.auth import BusyError, PasswordChecker
from exporter.web.responses import Handler, line
from exporter.web.tls import ReloadableContext, names_of, reloadable_context, server_context

CHALLENGE: Final = 'Basic realm="cyberun-exporter", charset="UTF-8"'


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The file's content, validated and loaded together."""

    file: WebFile
    context: ssl.SSLContext | None
    bucket: TokenBucket | None


class AccessControl:
    """Applies the rules of the file to each request. Mutable: `apply` replaces them."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Raises:
            ConfigError: the file, or a file that it names, has mistakes.
        """
        self._path = path
        self._clock = clock
        self._seen: tuple[Signature | None, ...] = ()
        self._files: tuple[Path, ...] = (path,)
        self._passwords = PasswordChecker()
        self._rules = self._read()
        self.ssl_context: ReloadableContext | None = (
            reloadable_context(self._rules.context) if self._rules.context else None
        )

    @property
    def file(self) -> WebFile:
        """The file in use."""
        return self._rules.file

    @property
    def wants_passwords(self) -> bool:
        """Whether users must authenticate."""
        return bool(self.file.basic_auth_users)

    def add_headers(self, response: web.StreamResponse) -> None:
        """Set the file's headers, replacing those of the same name."""
        response.headers.update(self.file.http_server_config.headers)

    def changed(self) -> bool:
        """Whether the file, or a file that it names, was written since the last attempt to read it."""
        return self._signatures() != self._seen

    async def read(self) -> AccessRules:
        """Read the file again; `apply` puts it to use.

        Raises:
            ConfigError: the file, or a file that it names, has mistakes, or it turns TLS on or off.
        """
        rules = await asyncio.to_thread(self._read)
        if (rules.context is None) != (self._rules.context is None):
            found = "nothing" if rules.context is None else "a section where there was none"
            allowed = "no change, because turning TLS on or off needs a restart"
            raise ConfigError([f"{self._path}: tls_server_config: found {found}; allowed: {allowed}"])
        return rules

    def apply(self, rules: AccessRules) -> None:
        """Use these rules: certificates and TLS versions for new connections, all else for new requests."""
        self._rules = rules
        if self.ssl_context is not None and rules.context is not None:
            self.ssl_context.current = rules.context

    def middleware(self, *open_handlers: Handler) -> Middleware:
        """The middleware that applies the rules.

        Args:
            open_handlers: handlers that need no password and have no rate limit.
        """

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            refused = self._refusal_of_connection(request)
            if refused is None and request.match_info.handler not in open_handlers:
                refused = await self._refusal(request)
            return await handler(request) if refused is None else refused

        return guard

    def _refusal_of_connection(self, request: web.Request) -> web.Response | None:
        """The response to a client whose certificate is missing or not allowed; None if it is allowed."""
        tls = self.file.tls_server_config
        if tls is None or not tls.needs_client_certificate:
            return None
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        if not certificate:
            # The connection was opened before certificates were required.
            return line(403, "A client certificate is required now.")
        if tls.client_allowed_sans and names_of(certificate).isdisjoint(tls.client_allowed_sans):
            return line(403, "None of the client certificate's names is allowed.")
        return None

    async def _refusal(self, request: web.Request) -> web.Response | None:
        """The response to a request beyond the rate limit or without a correct password; None for all others."""
        rules = self._rules
        if rules.bucket is not None:
            if rules.bucket.wait() > 0:
                return line(429, "Too many requests.")
            rules.bucket.take()
        users = rules.file.basic_auth_users
        if not users:
            return None
        try:
            if await self._passwords.admits(users, request.headers.getall(hdrs.AUTHORIZATION, ())):
                return None
        except BusyError:
            return line(503, "Too many passwords are being checked.", **{hdrs.RETRY_AFTER: "1"})
        return line(401, "A user name and a password are required.", **{hdrs.WWW_AUTHENTICATE: CHALLENGE})

    def _read(self) -> AccessRules:
        # Taken before reading, so that a change during the read is noticed the next time.
        self._seen = self._signatures()
        file = load_web_file(self._path)
        files = (self._path, *(file.tls_server_config.files if file.tls_server_config else ()))
        if files != self._files:
            self._files = files
            self._seen = (self._seen[0], *self._signatures()[1:])
        limit = file.rate_limit
        return AccessRules(
            file,
            server_context(self._path, file),
            TokenBucket(limit.interval, limit.burst, self._clock) if limit and limit.interval else None,
        )

    def _signatures(self) -> tuple[Signature | None, ...]:
        return tuple(map(signature, self._files))
