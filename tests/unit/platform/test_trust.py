"""Trusted authorities: every certificate of a bundle is an anchor, and the bundle may change."""

import datetime as dt
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from exporter.errors import ConfigError
from exporter.platform.trust import Trust
from support.raw import healthy, raw_platform
from support.scripted import Wiring, credential

pytestmark = pytest.mark.loopback

NOW = dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate in PEM, as in a bundle."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def make(
    name: str,
    issuer: Certified | None = None,
    *,
    authority: bool = True,
    critical: bool = True,
    constraints: bool = True,
    alternative: bool = True,
) -> Certified:
    """A certificate, signed by the issuer or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
    )
    if constraints and authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=critical)
    if alternative and not authority:
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Certified(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def serving_with(leaf: Certified, folder: Path, *chain: Certified) -> ssl.SSLContext:
    """The TLS context of a server with this certificate and its intermediate ones."""
    pem = folder / "server.pem"
    key = leaf.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(key + leaf.pem + b"".join(each.pem for each in chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def reason(tls: ssl.SSLContext, trust: Trust, host: str = "127.0.0.1") -> str | None:
    """Request something from the server; return why it failed, or None."""
    async with raw_platform(healthy, tls=tls) as platform:
        base_url = platform.base_url.replace("127.0.0.1", host)
        async with Wiring(credential(), trust=trust).client(base_url) as client:
            try:
                await client.get()
            except Exception as error:  # noqa: BLE001  told by the caller
                return str(error)
            return None


async def test_an_issuing_authority_alone_is_an_anchor(tmp_path: Path) -> None:
    """An issuing authority is trusted without its root."""
    root = make("root")
    issuing = make("issuing", root)
    leaf = make("leaf", issuing, authority=False)
    (tmp_path / "ca.pem").write_bytes(issuing.pem)
    assert await reason(serving_with(leaf, tmp_path, issuing), Trust(tmp_path / "ca.pem")) is None


@pytest.mark.parametrize("lacks", ["critical", "constraints"])
async def test_an_old_root_is_an_anchor(tmp_path: Path, lacks: str) -> None:
    """A private root without critical constraints or key identifiers is trusted, because the bundle names it."""
    root = make("root", critical=lacks != "critical")
    leaf = make("leaf", root, authority=False)
    (tmp_path / "ca.pem").write_bytes(root.pem)
    trust = Trust(tmp_path / "ca.pem")
    assert await reason(serving_with(leaf, tmp_path), trust) is None
    context = await trust.context()
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN


async def test_the_certificate_of_the_platform_itself_is_an_anchor(tmp_path: Path) -> None:
    """A self-signed server certificate is trusted if it is in the bundle."""
    leaf = make("leaf", authority=False)
    (tmp_path / "ca.pem").write_bytes(leaf.pem)
    assert await reason(serving_with(leaf, tmp_path), Trust(tmp_path / "ca.pem")) is None


async def test_a_name_in_the_subject_alone_proves_nothing(tmp_path: Path) -> None:
    """A certificate without a subject alternative name is refused, like in browsers and Go."""
    root = make("root")
    leaf = make("localhost", root, authority=False, alternative=False)
    (tmp_path / "ca.pem").write_bytes(root.pem)
    refused = await reason(serving_with(leaf, tmp_path), Trust(tmp_path / "ca.pem"), host="localhost")
    assert refused is not None
    assert "TLS failed: Hostname mismatch" in refused
    assert not (await Trust(None).context()).hostname_checks_common_name


async def test_a_bundle_that_changed_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A rotated authority is trusted at the next connection; an invalid bundle leaves the old one in use."""
    caplog.set_level("INFO")
    old, new = make("old"), make("new")
    before = serving_with(make("leaf", old, authority=False), tmp_path)
    after = serving_with(make("leaf", new, authority=False), tmp_path)
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(old.pem)
    trust = Trust(bundle)
    assert await reason(before, trust) is None
    assert "unable to get local issuer certificate" in (await reason(after, trust) or "")
    bundle.write_bytes(b"half a bund")
    assert await reason(before, trust) is None
    assert await reason(before, trust) is None
    bundle.write_bytes(new.pem)
    assert await reason(after, trust) is None
    assert await reason(before, trust) is not None
    assert [record.getMessage() for record in caplog.records if record.name == "exporter.platform.trust"] == [
        "the previous CA bundle stays in use",
        "CA bundle read again",
    ]


async def test_a_reload_reads_the_bundle(tmp_path: Path) -> None:
    """`reload` reads the bundle even if it looks unchanged; an unusable one is a mistake and changes nothing."""
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(make("old").pem)
    trust = Trust(bundle)
    context = await trust.context()
    bundle.write_bytes(b"garbage")
    with pytest.raises(ConfigError, match="not a PEM certificate bundle"):
        trust.reload()
    assert await trust.context() is context
    bundle.write_bytes(make("new").pem)
    trust.reload()
    assert await trust.context() is not context
