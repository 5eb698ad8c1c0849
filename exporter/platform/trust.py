"""Whose certificates the platform may show."""

import ssl
from pathlib import Path

from exporter.errors import ConfigError


def trust(ca_file: Path | None) -> ssl.SSLContext | None:
    """Trust the authorities of a PEM bundle and no others; None without a bundle: those of the system.

    Raises:
        ConfigError: when the bundle cannot be read or holds no certificate.
    """
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        problem = "is no PEM bundle of certificates"
    except (OSError, ValueError) as error:
        problem = f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
    raise ConfigError([f"{ca_file}: {problem}; expected the certificates of the authorities to trust"])
