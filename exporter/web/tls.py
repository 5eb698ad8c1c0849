"""TLS exactly as the web configuration file describes it, or an error, but never with less protection."""

import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from exporter.config.webfile import TlsServer, WebFile
from exporter.config.webtypes import CURVES, SUITES, canonical_name
from exporter.errors import ConfigError

VERSIONS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
OLD: Final = ("TLS10", "TLS11")
"""Versions that OpenSSL serves only at its lowest security level."""
SUITES_FOR_OLD: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"
"""Suites for an old version if the file names none, because Python's default list contains none for it."""
CLIENT_AUTH: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class ReloadableContext(ssl.SSLContext):
    """Opens each connection with the current context. Mutable: `current` is replaced when certificates change.

    OpenSSL can replace a certificate inside a context but cannot remove a client authority, so a reload needs a new
    context for new connections.
    """

    current: ssl.SSLContext

    def wrap_bio(self, *args: Any, **more: Any) -> ssl.SSLObject:
        """Begin a connection; asyncio calls this once for each."""
        return self.current.wrap_bio(*args, **more)


def reloadable_context(context: ssl.SSLContext) -> ReloadableContext:
    """Wrap a context so that it can be replaced while it serves."""
    outer = ReloadableContext(ssl.PROTOCOL_TLS_SERVER)
    outer.current = context
    return outer


def server_context(path: Path, file: WebFile) -> ssl.SSLContext | None:
    """The context that the file describes; None if it has no TLS section.

    Args:
        path: of the file, for error messages.
        file: its content. Certificates and keys are read here.

    Raises:
        ConfigError: a file that it names cannot be read or used, or this OpenSSL does not support an option.
    """
    tls = file.tls_server_config
    if tls is None:
        return None
    unreadable = [f"{path}: tls_server_config.{key}: {text}" for key, text in _unreadable(tls)]
    if unreadable:
        raise ConfigError(unreadable)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for key, do in (
        ("cert_file", _load_certificate),
        ("client_ca_file", _load_authorities),
        ("cipher_suites", _choose_suites),
        ("curve_preferences", _choose_curve),
        ("min_version", _choose_versions),
    ):
        try:
            do(context, tls)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise ConfigError([f"{path}: tls_server_config.{_blamed(key, error)}: {_problem(key, error)}"]) from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _unreadable(tls: TlsServer) -> Iterator[tuple[str, str]]:
    for key in ("cert_file", "key_file", "client_ca_file"):
        path: Path | None = getattr(tls, key)
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            yield key, _no_file(error)


def _no_file(error: OSError) -> str:
    return f"found {(error.strerror or 'an unreadable file').lower()}; allowed: a readable PEM file"


def _blamed(key: str, error: Exception) -> str:
    is_of_key = isinstance(error, _EncryptedError) or getattr(error, "reason", None) == "KEY_VALUES_MISMATCH"
    return "key_file" if is_of_key else key


def _problem(key: str, error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return _no_file(error)
    reason = getattr(error, "reason", None) or "no PEM"
    if reason == "KEY_VALUES_MISMATCH":
        return "found the key of another certificate; allowed: the key of cert_file"
    if isinstance(error, _EncryptedError):
        return "found an encrypted key; allowed: a key without a password"
    allowed = {
        "cert_file": "a PEM certificate followed by its intermediates, with its key in key_file",
        "client_ca_file": "certificates as PEM",
    }
    words = reason.lower().replace("_", " ")
    return f"found something that OpenSSL rejects ({words}); allowed: {allowed.get(key, 'what it offers')}"


class _EncryptedError(ValueError):
    """A key needs a password."""


def _no_password() -> str:
    raise _EncryptedError  # otherwise OpenSSL would wait for input on the terminal


def _load_certificate(context: ssl.SSLContext, tls: TlsServer) -> None:
    context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)


def _load_authorities(context: ssl.SSLContext, tls: TlsServer) -> None:
    context.verify_mode = CLIENT_AUTH[tls.client_auth_type]
    if tls.client_ca_file is not None or tls.client_ca is not None:
        # Python accepts only ASCII, but comments between certificates may contain other letters.
        inline = tls.client_ca.encode("ascii", "replace").decode() if tls.client_ca is not None else None
        context.load_verify_locations(cafile=tls.client_ca_file, cadata=inline)


def _choose_suites(context: ssl.SSLContext, tls: TlsServer) -> None:
    chosen = [SUITES[name] for name in tls.cipher_suites if name in SUITES]
    if tls.min_version in OLD:
        context.set_ciphers(":".join(chosen or [SUITES_FOR_OLD]) + ":@SECLEVEL=0")
    elif chosen:
        context.set_ciphers(":".join(chosen))
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE


def _choose_curve(context: ssl.SSLContext, tls: TlsServer) -> None:
    for curve in tls.curve_preferences:
        context.set_ecdh_curve(CURVES[curve])


def _choose_versions(context: ssl.SSLContext, tls: TlsServer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # an old version is served only to clients that ask for it
        context.minimum_version = VERSIONS[tls.min_version]
        context.maximum_version = VERSIONS[tls.max_version]


def names_of(certificate: Any) -> frozenset[str]:
    """The subject alternative names of a verified certificate, as `getpeercert` gives it: DNS, IP, URI and e-mail."""
    kinds = ("DNS", "IP Address", "URI", "email")
    names = (certificate or {}).get("subjectAltName", ())
    return frozenset(canonical_name(text) if kind == "IP Address" else text for kind, text in names if kind in kinds)
