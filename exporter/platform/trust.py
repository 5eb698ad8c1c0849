"""Which certificate authorities are trusted to identify the platform."""

import asyncio
import logging
import ssl
from pathlib import Path

from exporter.errors import ConfigError
from exporter.log import event
from exporter.platform.files import signature

_log = logging.getLogger(__name__)


class Trust:
    """The authorities of a PEM bundle and no others, or those of the system. Mutable: it follows the bundle.

    Every certificate in the bundle is a trust anchor, on every version of Python: also an issuing authority without
    its root, and a root that lacks extensions that RFC 5280 requires.
    """

    def __init__(self, ca_file: Path | None) -> None:
        """Trust the bundle, or if it is None, what the system trusts.

        Raises:
            ConfigError: the bundle cannot be read or holds no certificate.
        """
        self._path = ca_file
        self._signature = None if ca_file is None else signature(ca_file)
        self._context = None if ca_file is None else _context(ca_file)

    def reload(self) -> None:
        """Read the bundle again.

        Raises:
            ConfigError: it cannot be used; the previous one stays in use.
        """
        if self._path is not None:
            self._signature = signature(self._path)
            self._context = _context(self._path)

    async def context(self) -> ssl.SSLContext:
        """The context to verify the next connection with; a bundle that appears to have changed is read again first."""
        if self._path is not None and signature(self._path) != self._signature:
            try:
                await asyncio.to_thread(self.reload)
            except ConfigError as error:
                event(_log, logging.ERROR, "the previous CA bundle stays in use", error=str(error))
            else:
                event(_log, logging.INFO, "CA bundle read again", file=str(self._path))
        if self._context is None:
            self._context = await asyncio.to_thread(_context, None)
        return self._context


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        problem = "not a PEM certificate bundle"
    except (OSError, ValueError) as error:
        problem = f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
    else:
        # A name that is only in the subject proves nothing; browsers and Go have refused it for years.
        context.hostname_checks_common_name = False
        context.set_alpn_protocols(["http/1.1"])
        if ca_file is not None:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context
    raise ConfigError([f"api.ca_file: {ca_file}: {problem}; expected the certificates of the authorities to trust"])
