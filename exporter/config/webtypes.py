"""Named types of values in the web configuration file, and the names and numbers that its format allows."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, PlainValidator

from exporter.config.types import Allowed, parse_duration

TLS_VERSIONS: Final = ("TLS10", "TLS11", "TLS12", "TLS13")
"""Oldest first."""
SUITES_13: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""The suites of TLS 1.3, which are always enabled."""
SUITES: Final = {
    f"TLS_ECDHE_{key}_WITH_{cipher}": f"ECDHE-{key}-{name}"
    for key in ("ECDSA", "RSA")
    for cipher, name in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
    )
}
"""The suites up to TLS 1.2 that the format allows, with OpenSSL's names."""
CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
"""With OpenSSL's names."""
HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
"""The headers that may be set, each with its allowed values; an empty tuple allows any text."""
COSTS: Final = range(4, 17)
"""Allowed costs of bcrypt: each step doubles the time; 16 takes several seconds, as long as a scrape may take."""

_FILES_ONLY = "Python's ssl reads certificates and keys from files only"


def _one_of(names: Any, reason: str = "") -> Allowed:
    *most, last = names
    return Allowed(f"{', '.join(most)} or {last}{reason}")


def _refused(value: object) -> None:
    if value is not None:
        raise ValueError(_FILES_ONLY)


def _pem(value: object) -> str:
    if not isinstance(value, str) or "-----BEGIN CERTIFICATE-----" not in value:
        raise ValueError("no PEM")
    return value


def _choice(names: Any) -> BeforeValidator:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError("none of them")
        return value

    return BeforeValidator(check)


def _san(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("no name")
    return canonical_name(value)


def canonical_name(text: str) -> str:
    """A subject alternative name in the form in which it is compared: an IP address can be written in many ways."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


ClientAuth = Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"]
Inline = Annotated[None, BeforeValidator(_refused), Allowed(f"null; {_FILES_ONLY}", secret=True)]
ClientAuthType = Annotated[
    ClientAuth, _one_of(get_args(ClientAuth), "; Python's ssl cannot request a certificate without verifying it")
]
Version = Annotated[Literal["TLS10", "TLS11", "TLS12", "TLS13"], _one_of(TLS_VERSIONS)]
Suite = Annotated[str, _choice((*SUITES, *SUITES_13)), _one_of((*SUITES, *SUITES_13))]
Curve = Annotated[str, _choice(CURVES), _one_of(CURVES)]
Pem = Annotated[str, BeforeValidator(_pem), Allowed("certificates as PEM", secret=True)]
San = Annotated[str, BeforeValidator(_san), Allowed("a DNS name, IP address, URI or e-mail address")]


def _interval(value: object) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else parse_duration(value)


Between = Annotated[float, PlainValidator(_interval), Allowed("0, or a duration such as 500ms or 1s")]
Burst = Annotated[int, Field(strict=True, ge=0, le=1_000_000), Allowed("a whole number from 0 to 1000000")]
