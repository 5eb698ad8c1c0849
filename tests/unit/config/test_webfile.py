from pathlib import Path

import pytest

from exporter.config.webfile import WebFile, load_web_file
from exporter.errors import ConfigError

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
FILES = "cert_file: a, key_file: b"
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "web.yml"


def read(folder: Path, text: str) -> WebFile:
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    return load_web_file(path)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return [line.removeprefix(f"{folder / 'web.yml'}: ") for line in caught.value.mistakes]


@pytest.mark.parametrize("text", ["", "{}", "basic_auth_users:\nhttp_server_config:\nrate_limit:\n"])
def test_an_empty_file_asks_for_nothing(tmp_path: Path, text: str) -> None:
    """Missing or empty sections mean no TLS, no passwords, no headers and no limit."""
    file = read(tmp_path, text)
    assert file.tls_server_config is None
    assert not file.basic_auth_users
    assert not file.http_server_config.headers
    assert file.rate_limit is None or not file.rate_limit.interval
    assert file.warnings() == []


def test_the_example_uses_what_it_explains() -> None:
    """The file in docs/examples is valid, and its paths are relative to its folder."""
    file = load_web_file(EXAMPLE)
    assert file.tls_server_config is not None
    assert file.tls_server_config.files == tuple(
        EXAMPLE.with_name(name) for name in ("server.pem", "server.key", "clients.pem")
    )
    assert file.tls_server_config.needs_client_certificate
    assert list(file.basic_auth_users) == ["prometheus"]


def test_every_key_of_the_format(tmp_path: Path) -> None:
    """Everything that the exporter-toolkit documents has the same meaning here."""
    file = read(
        tmp_path,
        f"""
tls_server_config:
  cert_file: server.pem
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prom.example, "2001:DB8:0:0::1", "spiffe://prom", ops@example.com]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519]
http_server_config:
  http2: true
  headers: {{Strict-Transport-Security: max-age=5, X-Frame-Options: SAMEORIGIN, X-XSS-Protection: ""}}
basic_auth_users: {{prom: "{HASH}"}}
rate_limit: {{interval: 500ms, burst: 5}}
""",
    )
    tls = file.tls_server_config
    assert tls is not None
    assert tls.files == (tmp_path / "server.pem", Path("/keys/server.key"), tmp_path / "ca.pem")
    assert tls.client_allowed_sans == ("prom.example", "2001:db8::1", "spiffe://prom", "ops@example.com")
    assert not tls.prefer_server_cipher_suites
    assert file.http_server_config.headers == {
        "Strict-Transport-Security": "max-age=5",
        "X-Frame-Options": "SAMEORIGIN",
    }
    assert file.basic_auth_users == {"prom": HASH}
    assert file.rate_limit is not None
    assert (file.rate_limit.interval, file.rate_limit.burst) == (0.5, 5)
    assert file.warnings() == ["web configuration: http2 is enabled, but only HTTP/1.1 is served"]
    assert HASH not in repr(file)


def test_passwords_without_tls_are_doubted(tmp_path: Path) -> None:
    """Unencrypted passwords are allowed, for use behind a proxy, but cause a warning."""
    (warning,) = read(tmp_path, f"basic_auth_users: {{a: '{HASH}'}}").warnings()
    assert warning == "web configuration: passwords are sent unencrypted without tls_server_config"


CASES = {
    "tsl_server_config: {}": ["tsl_server_config: unknown key; allowed: tls_server_config or http_server_config"],
    "- a": [
        (
            "found something else; allowed: a mapping with the keys tls_server_config, http_server_config, "
            "basic_auth_users, rate_limit"
        )
    ],
    "a: [": None,
    "tls_server_config:": [
        "tls_server_config.cert_file: found nothing; allowed: the path of a file, not a credential itself",
        "tls_server_config.key_file: found nothing; allowed: the path of a file, not a credential itself",
    ],
    f"tls_server_config: {{{FILES}, min_versoin: TLS12}}": [
        "tls_server_config.min_versoin: unknown key; allowed: min_version or max_version"
    ],
    f"tls_server_config: {{{FILES}, key: SECRET}}": [
        "tls_server_config.key: found a value; allowed: null; Python's ssl reads certificates and keys from files only"
    ],
    "tls_server_config:\n  cert_file: a\n  key_file: |\n    -----BEGIN PRIVATE KEY-----\n    SECRET\n": [
        'tls_server_config.key_file: found "***"; allowed: the path of a file, not a credential itself'
    ],
    f"tls_server_config: {{{FILES}, client_ca: SECRET}}": [
        "tls_server_config.client_ca: found a value; allowed: certificates as PEM, or null"
    ],
    **{
        f"tls_server_config: {{{FILES}, client_auth_type: {name}}}": [
            (
                f'tls_server_config.client_auth_type: found "{name}"; allowed: NoClientCert, '
                "VerifyClientCertIfGiven or RequireAndVerifyClientCert; "
                "Python's ssl cannot request a certificate without verifying it"
            )
        ]
        for name in ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert", "requireandverifyclientcert")
    },
    f"tls_server_config: {{{FILES}, client_auth_type: RequireAndVerifyClientCert}}": [
        (
            "tls_server_config.client_ca_file: found nothing; allowed: the CA of the clients, "
            "which RequireAndVerifyClientCert needs"
        )
    ],
    f"tls_server_config: {{{FILES}, client_ca_file: c}}": [
        (
            "tls_server_config.client_auth_type: found NoClientCert although a client CA is set; "
            "allowed: a type that verifies, or no CA"
        )
    ],
    f"tls_server_config: {{{FILES}, client_ca_file: c, client_auth_type: VerifyClientCertIfGiven, "
    "client_allowed_sans: [a]}": [
        (
            "tls_server_config.client_allowed_sans: found client_auth_type VerifyClientCertIfGiven; "
            "allowed: only with RequireAndVerifyClientCert, as other types do not require a certificate"
        )
    ],
    f"tls_server_config: {{{FILES}, min_version: SSL3}}": [
        'tls_server_config.min_version: found "SSL3"; allowed: TLS10, TLS11, TLS12 or TLS13'
    ],
    f"tls_server_config: {{{FILES}, min_version: TLS13, max_version: TLS12}}": [
        "tls_server_config.min_version: found TLS13; allowed: at most max_version, TLS12"
    ],
    f"tls_server_config: {{{FILES}, cipher_suites: [TLS_AES_128_GCM_SHA256], min_version: TLS13}}": [
        (
            "tls_server_config.cipher_suites: found some suites of TLS 1.3; "
            "allowed: all three or none, because they are always enabled together"
        )
    ],
    f"tls_server_config: {{{FILES}, cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, "
    "TLS_CHACHA20_POLY1305_SHA256]}": [
        "tls_server_config.cipher_suites: found no suite of TLS 1.2; allowed: at least one, or min_version TLS13"
    ],
    f"tls_server_config: {{{FILES}, curve_preferences: [X25519, CurveP256]}}": [
        (
            "tls_server_config.curve_preferences: found several; allowed: one of CurveP256, CurveP384, CurveP521, "
            "X25519; Python's ssl cannot rank curves"
        )
    ],
    "http_server_config: {headers: {X-Powered-By: me}}": [
        (
            "http_server_config.headers.X-Powered-By: found a header that cannot be set; "
            "allowed: Content-Security-Policy, X-Frame-Options, X-Content-Type-Options, X-XSS-Protection, "
            "Strict-Transport-Security"
        )
    ],
    "http_server_config: {headers: {X-Frame-Options: allow}}": [
        "http_server_config.headers.X-Frame-Options: found another value; allowed: deny or sameorigin"
    ],
    'http_server_config: {headers: {Content-Security-Policy: "a\\r\\nX-Evil: 1"}}': [
        "http_server_config.headers.Content-Security-Policy: found another value; allowed: one line of ASCII text"
    ],
    "http_server_config: {headers: {X-XSS-Protection: 0}}": [
        (
            "http_server_config.headers.X-XSS-Protection: found another value; "
            "allowed: one line of ASCII text; quote it if it is meant as text"
        )
    ],
    "basic_auth_users: {7: SECRET}": [
        (
            "basic_auth_users.7: found an invalid user name; "
            "allowed: printable text without a colon; quote it if it is meant as text"
        )
    ],
    "basic_auth_users: {prom: SECRET}": [
        (
            "basic_auth_users.prom: found something that is not a bcrypt hash; "
            "allowed: a hash such as `htpasswd -nBC 10 ''` prints"
        )
    ],
    f"basic_auth_users: {{prom: '{HASH}x', 'a:b': SECRET}}": [
        (
            "basic_auth_users.prom: found something that is not a bcrypt hash; "
            "allowed: a hash such as `htpasswd -nBC 10 ''` prints"
        ),
        "basic_auth_users.a:b: found an invalid user name; allowed: printable text without a colon",
    ],
    f"basic_auth_users: {{prom: '{HASH.replace('10', '31')}'}}": [
        "basic_auth_users.prom: found a hash of cost 31; allowed: costs from 4 to 16; a higher cost delays scrapes"
    ],
    "basic_auth_users: [SECRET]": [
        "basic_auth_users: found something else; allowed: a mapping of user names to bcrypt hashes"
    ],
    "rate_limit: {interval: 1s}": ["rate_limit.burst: found 0; allowed: at least 1, or no request is ever answered"],
    "rate_limit: {interval: 5, burst: 1}": [
        "rate_limit.interval: found 5; allowed: 0, or a duration such as 500ms or 1s"
    ],
}


@pytest.mark.parametrize(("text", "lines"), CASES.items(), ids=range(len(CASES)))
def test_a_mistake_says_where_what_and_what_is_allowed(tmp_path: Path, text: str, lines: list[str] | None) -> None:
    """There is one line per mistake, and never a key, a hash or a password."""
    found = mistakes(tmp_path, text)
    assert not any("SECRET" in line or HASH[7:] in line for line in found)
    if lines is None:
        assert found[0].startswith(f"{tmp_path / 'web.yml'}: line 1") or "malformed YAML" in found[0]
    else:
        assert found == lines


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    """The line names the file."""
    with pytest.raises(ConfigError) as caught:
        load_web_file(tmp_path / "nowhere.yml")
    assert caught.value.mistakes == (
        f"{tmp_path / 'nowhere.yml'}: found no such file or directory; allowed: a readable YAML file",
    )
    with pytest.raises(ConfigError) as caught:
        load_web_file(tmp_path)
    assert caught.value.mistakes == (f"{tmp_path}: found a directory; allowed: a readable YAML file",)
