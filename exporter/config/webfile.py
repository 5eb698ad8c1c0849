"""The web configuration file: TLS, authentication and headers, in the format of Prometheus' exporter-toolkit.

An option that Python's ssl cannot apply exactly as specified is a mistake, so that a file never protects less here than
it does with another exporter.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from exporter.config.mistakes import Source, explain, key_path
from exporter.config.settings import Section, clashing
from exporter.config.types import QUOTE_IT, File, Flag, needs_quotes
from exporter.config.webtypes import (
    COSTS,
    CURVES,
    HEADERS,
    SUITES,
    SUITES_13,
    TLS_VERSIONS,
    Between,
    Burst,
    ClientAuthType,
    Curve,
    Inline,
    Pem,
    San,
    Suite,
    Version,
)
from exporter.config.yamlfile import parse_yaml, read
from exporter.errors import ConfigError

_HASH = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")


class TlsServer(Section):
    """How TLS is served."""

    cert: Inline = None
    key: Inline = None
    cert_file: File
    key_file: File
    client_auth_type: ClientAuthType = "NoClientCert"
    client_ca: Pem | None = Field(None, repr=False)
    client_ca_file: File | None = None
    client_allowed_sans: tuple[San, ...] = ()
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[Suite, ...] = ()
    prefer_server_cipher_suites: Flag = True
    curve_preferences: tuple[Curve, ...] = ()

    @property
    def needs_client_certificate(self) -> bool:
        """Whether every client must present a certificate."""
        return self.client_auth_type == "RequireAndVerifyClientCert"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file it names."""
        return tuple(path for path in (self.cert_file, self.key_file, self.client_ca_file) if path is not None)


class HttpServer(Section):
    """HTTP options.

    Attributes:
        http2: accepted because the format has it; the exporter speaks HTTP/1.1, as does every HTTP/2 client.
    """

    http2: Flag = True
    headers: dict[str, str] = Field({})

    @field_validator("headers", mode="before")
    @classmethod
    def _known_headers(cls, value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping | None):
            raise clashing((("headers",), "something else", f"a mapping of {', '.join(HEADERS)} to text"))
        clashes = [
            (("headers", str(name)), *wrong) for name, text in (value or {}).items() if (wrong := _header(name, text))
        ]
        if clashes:
            raise clashing(*clashes)
        return {name: text for name, text in (value or {}).items() if text}


class RateLimit(Section):
    """Limits the requests that are answered: a bucket of `burst` tokens gets one new token every `interval` seconds."""

    interval: Between = 0.0
    burst: Burst = 0


class WebFile(Section):
    """The content of the file. It contains password hashes, which its repr leaves out."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[str, str] = Field({}, repr=False)
    rate_limit: RateLimit | None = None

    def warnings(self) -> list[str]:
        """Settings that are valid but probably not intended, a line for each."""
        http = self.http_server_config
        lines = []
        if http.http2 and "http2" in http.model_fields_set:
            lines.append("web configuration: http2 is enabled, but only HTTP/1.1 is served")
        if self.basic_auth_users and self.tls_server_config is None:
            lines.append("web configuration: passwords are sent unencrypted without tls_server_config")
        return lines

    @field_validator("tls_server_config", "http_server_config", "rate_limit", mode="before")
    @classmethod
    def _empty_section(cls, value: Any) -> Any:
        return {} if value is None else value  # an empty TLS section still means TLS: report its missing files

    @field_validator("tls_server_config", mode="after")
    @classmethod
    def _consistent(cls, tls: TlsServer) -> TlsServer:
        clashes = [(("tls_server_config", key), found, allowed) for key, found, allowed in _contradictions(tls)]
        if clashes:
            raise clashing(*clashes)
        return tls

    @field_validator("basic_auth_users", mode="before")
    @classmethod
    def _hashed(cls, value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping | None):
            raise clashing((("basic_auth_users",), "something else", "a mapping of user names to bcrypt hashes"))
        clashes = [
            (("basic_auth_users", str(name)), *wrong)
            for name, text in (value or {}).items()
            if (wrong := _user(name, text))
        ]
        if clashes:
            raise clashing(*clashes)
        return dict(value or {})

    @field_validator("rate_limit", mode="after")
    @classmethod
    def _some_pass(cls, limit: RateLimit) -> RateLimit:
        if limit.interval and not limit.burst:
            raise clashing((("rate_limit", "burst"), "0", "at least 1, or no request is ever answered"))
        return limit


def _header(name: object, text: object) -> tuple[str, str] | None:
    """What is wrong with a header: what was found and what is allowed."""
    if name not in HEADERS:
        return "a header that cannot be set", ", ".join(HEADERS)
    values = HEADERS[str(name)]
    if text in ("", None) or (isinstance(text, str) and text.lower() in values):
        return None
    if values or not isinstance(text, str) or not (text.isascii() and text.isprintable()):
        advice = "" if values or not needs_quotes(text) else QUOTE_IT
        return "another value", (" or ".join(values) or "one line of ASCII text") + advice
    return None


def _user(name: object, text: object) -> tuple[str, str] | None:
    """What is wrong with a user, without any part of the hash."""
    if not isinstance(name, str) or not name or ":" in name or not name.isprintable():
        return "an invalid user name", "printable text without a colon" + (QUOTE_IT if needs_quotes(name) else "")
    match = _HASH.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return "something that is not a bcrypt hash", "a hash such as `htpasswd -nBC 10 ''` prints"
    if int(match["cost"]) not in COSTS:
        return f"a hash of cost {match['cost']}", f"costs from {COSTS[0]} to {COSTS[-1]}; a higher cost delays scrapes"
    return None


def _contradictions(tls: TlsServer) -> Iterator[tuple[str, str, str]]:
    """Values that are valid individually but contradict each other: key, what was found, what is allowed."""
    has_ca = tls.client_ca_file is not None or tls.client_ca is not None
    if tls.client_ca_file is not None and tls.client_ca is not None:
        yield "client_ca", "client_ca_file as well", "one of the two"
    if has_ca and tls.client_auth_type == "NoClientCert":
        yield "client_auth_type", "NoClientCert although a client CA is set", "a type that verifies, or no CA"
    if not has_ca and tls.client_auth_type != "NoClientCert":
        yield "client_ca_file", "nothing", f"the CA of the clients, which {tls.client_auth_type} needs"
    if tls.client_allowed_sans and not tls.needs_client_certificate:
        yield (
            "client_allowed_sans",
            f"client_auth_type {tls.client_auth_type}",
            "only with RequireAndVerifyClientCert, as other types do not require a certificate",
        )
    if TLS_VERSIONS.index(tls.min_version) > TLS_VERSIONS.index(tls.max_version):
        yield "min_version", tls.min_version, f"at most max_version, {tls.max_version}"
    if len(tls.curve_preferences) > 1:
        yield "curve_preferences", "several", f"one of {', '.join(CURVES)}; Python's ssl cannot rank curves"
    yield from _suite_contradictions(tls)


def _suite_contradictions(tls: TlsServer) -> Iterator[tuple[str, str, str]]:
    chosen = set(tls.cipher_suites)
    if chosen & set(SUITES_13) not in (set(), set(SUITES_13)):
        yield (
            "cipher_suites",
            "some suites of TLS 1.3",
            "all three or none, because they are always enabled together",
        )
    if chosen and not chosen & SUITES.keys() and tls.min_version != "TLS13":
        yield "cipher_suites", "no suite of TLS 1.2", "at least one, or min_version TLS13"


# Reading ----------------------------------------------------------------------------------------------------------


def load_web_file(path: Path) -> WebFile:
    """Read and validate the file. Paths in it are relative to its folder.

    Raises:
        ConfigError: with a line for each mistake, none of which contains a hash or a key.
    """
    document = parse_yaml(read(path), str(path))
    if not isinstance(document, dict | None):
        raise ConfigError(
            [f"{path}: found something else; allowed: a mapping with the keys {', '.join(WebFile.model_fields)}"]
        )
    source = Source(document or {}, lambda loc: f"{path}: {key_path(loc)}")
    file, mistakes = _validated(source)
    if file is None:
        raise ConfigError(mistakes)
    return _anchored(file, path.parent)


def _validated(source: Source) -> tuple[WebFile | None, list[str]]:
    """The file's values or its mistakes. The error itself contains the values and is not passed on."""
    try:
        return WebFile.model_validate(source.values), []
    except ValidationError as error:
        return None, explain(error, [source], WebFile)


def _anchored(file: WebFile, folder: Path) -> WebFile:
    tls = file.tls_server_config
    if tls is None:
        return file
    keys = ("cert_file", "key_file", "client_ca_file")
    paths = {key: folder / path for key in keys if (path := getattr(tls, key)) is not None}
    return file.model_copy(update={"tls_server_config": tls.model_copy(update=paths)})
