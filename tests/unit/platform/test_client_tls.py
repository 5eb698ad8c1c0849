"""TLS: which platforms are trusted."""

import ssl
from pathlib import Path

import pytest
import trustme

from exporter.errors import ConfigError
from exporter.platform.trust import Trust
from support.scripted import Server, Wiring, credential, serving

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A private certificate authority."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """Its certificate."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem"


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """The TLS context of a server with that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_private_authority_can_be_trusted(authority: trustme.CA, ca_file: Path) -> None:
    """With the authority's bundle the platform's certificate is accepted."""
    async with (
        serving(tls=certified(authority, "127.0.0.1")) as server,
        Wiring(credential(), trust=Trust(ca_file)).client(server.base_url) as client,
    ):
        assert await client.get() == b"{}"


@pytest.mark.parametrize(
    ("name", "trusted", "words"),
    [
        ("127.0.0.1", "the system's", "unable to get local issuer certificate"),
        ("platform.example", "ours", "IP address mismatch, certificate is not valid for '127.0.0.1'."),
    ],
)
async def test_a_certificate_that_is_not_believed_is_a_tls_failure(
    authority: trustme.CA, ca_file: Path, name: str, trusted: str, words: str
) -> None:
    """An unknown authority and another host's certificate have different messages."""
    async with (
        serving(tls=certified(authority, name)) as server,
        Wiring(credential(), trust=Trust(ca_file if trusted == "ours" else None)).client(server.base_url) as client,
    ):
        error = await client.failure()
    assert error.reason == "tls"
    assert words in str(error)
    assert server.requests == []


async def test_a_platform_without_tls_is_a_tls_failure(server: Server) -> None:
    """HTTPS to a plain HTTP port is explained."""
    async with Wiring(credential()).client(server.base_url.replace("http:", "https:")) as client:
        failure = await client.failure()
    assert failure.reason == "tls"
    assert "the server does not speak TLS; the base URL may need http:" in str(failure)


async def test_a_bundle_is_trusted_alone(ca_file: Path) -> None:
    """With a bundle, the system's authorities are not trusted."""
    context = await Trust(ca_file).context()
    assert len(context.get_ca_certs()) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "not a PEM certificate bundle"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a PEM certificate bundle"),
        (b"\0\xff", "not a PEM certificate bundle"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_a_configuration_mistake(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """An unusable bundle is one line that names the file."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Trust(path)
    expected = f"api.ca_file: {path}: {problem}; expected the certificates of the authorities to trust"
    assert caught.value.mistakes == (expected,)
