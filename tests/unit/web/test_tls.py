import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml
from aiohttp import ClientSession, web
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from exporter.errors import ConfigError
from exporter.web import tls
from exporter.web.access import AccessControl
from exporter.web.app import make_app
from exporter.web.responses import ADD_HEADERS
from exporter.web.serve import listening
from exporter.web.tls import names_of

if TYPE_CHECKING:
    from unit.web.conftest import HeldSource

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning"),
]


class Files:
    """A folder with a server's certificate and a web configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "web.yml"
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.pem")
        self.issue("127.0.0.1")

    def issue(self, *names: str, ca: trustme.CA | None = None) -> None:
        """Write the server's certificate anew."""
        leaf = (ca or self.ca).issue_cert(*names)
        leaf.cert_chain_pems[0].write_to_path(self.folder / "server.pem")
        leaf.private_key_pem.write_to_path(self.folder / "server.key")

    def write(self, tls: Mapping[str, Any] | None = None, **sections: Any) -> Path:
        """Write the web configuration."""
        section = {"cert_file": "server.pem", "key_file": "server.key", **(tls or {})}
        self.path.write_text(yaml.safe_dump({"tls_server_config": section, **sections}), encoding="utf-8")
        return self.path

    def client(
        self, *names: str, ca: trustme.CA | None = None, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """A client with a certificate for these names, if any, that uses one version, if given."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if names:
            (ca or self.ca).issue_cert(*names).configure_cert(context)
        if version is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def serving(access: AccessControl) -> AsyncIterator[int]:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application(middlewares=[access.middleware()])
    app[ADD_HEADERS] = access.add_headers
    app.router.add_get("/", hello)
    async with listening(app, ("127.0.0.1", 0), ssl_context=access.ssl_context) as ((_, port),):
        yield port


async def ask(port: int, context: ssl.SSLContext) -> tuple[str, str]:
    """The status of a request, or "refused" if the connection ends instead, and the TLS suite."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        suite: str = writer.get_extra_info("cipher")[0]
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        line = (await reader.readline()).decode()
        writer.transport.abort()
    except OSError:
        return "refused", ""
    return (line.split()[1] if line else "refused"), suite


async def status(port: int, context: ssl.SSLContext) -> str:
    return (await ask(port, context))[0]


V1, V2, V3 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("tls", "served"),
    [
        ({}, [V2, V3]),
        ({"min_version": "TLS13"}, [V3]),
        ({"max_version": "TLS12"}, [V2]),
        ({"min_version": "TLS11"}, [V1, V2, V3]),
        ({"min_version": "TLS10", "max_version": "TLS11"}, [V1]),
    ],
)
async def test_versions(files: Files, tls: dict[str, str], served: list[ssl.TLSVersion]) -> None:
    """Only the versions between the two are served; below 1.2 only if the file asks for it."""
    async with serving(AccessControl(files.write(tls))) as port:
        answers = {version: await status(port, files.client(version=version)) for version in (V1, V2, V3)}
    assert [version for version, line in answers.items() if line == "200"] == served, answers


async def test_suites(files: Files) -> None:
    """With TLS 1.2 only the chosen suites are served."""
    tls = {"cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]}
    async with serving(AccessControl(files.write(tls))) as port:
        _, suite = await ask(port, files.client(version=V2))
        assert suite.endswith("AES256-GCM-SHA384")
        other = files.client(version=V2)
        other.set_ciphers("ECDHE+AES128")
        assert await status(port, other) == "refused"


@pytest.mark.parametrize(("prefers", "cipher"), [(True, "AES256-GCM-SHA384"), (False, "AES128-GCM-SHA256")])
async def test_whose_order_counts(files: Files, *, prefers: bool, cipher: str) -> None:
    """The server's or the client's order of suites is used, as the file says."""
    suites = [
        f"TLS_ECDHE_{key}_WITH_AES_{rest}" for rest in ("256_GCM_SHA384", "128_GCM_SHA256") for key in ("ECDSA", "RSA")
    ]
    async with serving(
        AccessControl(files.write({"cipher_suites": suites, "prefer_server_cipher_suites": prefers}))
    ) as port:
        client = files.client(version=V2)
        client.set_ciphers("ECDHE+AES128+AESGCM:ECDHE+AES256+AESGCM")
        _, suite = await ask(port, client)
    assert suite.endswith(cipher)


async def test_one_curve(files: Files) -> None:
    """Only the configured curve is served."""
    async with serving(AccessControl(files.write({"curve_preferences": ["CurveP384"]}))) as port:
        answers = {}
        for curve in ("secp384r1", "prime256v1"):
            client = files.client()
            client.set_ecdh_curve(curve)
            answers[curve] = await status(port, client)
    assert answers == {"secp384r1": "200", "prime256v1": "refused"}


async def test_a_required_certificate_is_required(files: Files) -> None:
    """Without a certificate, or with another authority's, no request is answered, in either TLS version."""
    tls = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
    async with serving(AccessControl(files.write(tls))) as port:
        for version in (V2, V3):
            assert await status(port, files.client("prom.example", version=version)) == "200"
            for client in (files.client(version=version), files.client("prom", ca=trustme.CA(), version=version)):
                assert await status(port, client) == "refused"


async def test_a_certificate_if_given(files: Files) -> None:
    """With VerifyClientCertIfGiven no certificate is needed, but a wrong one is refused."""
    tls = {"client_auth_type": "VerifyClientCertIfGiven", "client_ca": (files.folder / "ca.pem").read_text()}
    async with serving(AccessControl(files.write(tls))) as port:
        assert await status(port, files.client()) == "200"
        assert await status(port, files.client("prom")) == "200"
        assert await status(port, files.client("prom", ca=trustme.CA())) == "refused"


@pytest.mark.parametrize("allowed", ["prom.example", "10.0.0.1", "2001:DB8:0:0::1", "ops@example.com"])
async def test_allowed_names(files: Files, allowed: str) -> None:
    """Any name of the certificate may be the allowed one; without an allowed name requests get 403."""
    tls = {
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": "ca.pem",
        "client_allowed_sans": [allowed, "unused"],
    }
    async with serving(AccessControl(files.write(tls))) as port:
        known = files.client("prom.example", "10.0.0.1", "2001:db8::1", "ops@example.com")
        assert await status(port, known) == "200"
        stranger = files.client("prom.example.org", "10.0.0.2", "2001:db8::2", "dev@example.com")
        assert await status(port, stranger) == "403"


async def test_a_connection_that_ends_at_the_shutdown(files: Files) -> None:
    """A connection whose socket is gone, but whose end is not yet reported, does not disturb a shutdown."""
    met: list[asyncio.Transport] = []

    async def meet(request: web.Request) -> web.Response:
        assert isinstance(request.transport, asyncio.Transport)
        met.append(request.transport)
        return web.Response()

    app = web.Application()
    app[ADD_HEADERS] = lambda _: None
    app.router.add_get("/", meet)
    context = AccessControl(files.write()).ssl_context
    async with listening(app, ("127.0.0.1", 0), ssl_context=context) as ((_, port),):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=files.client())
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readline()
        writer.transport.abort()
        while met[0].get_extra_info("socket") is not None:  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0)


def test_names_of_a_certificate() -> None:
    """Only DNS, IP, URI and e-mail names of the certificate count."""
    names = (
        ("DNS", "a"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1"),
        ("URI", "spiffe://b"),
        ("email", "c@d"),
        ("DirName", "e"),
    )
    assert names_of({"subject": ((("commonName", "f"),),), "subjectAltName": names}) == {
        "a",
        "2001:db8::1",
        "spiffe://b",
        "c@d",
    }
    assert names_of({}) == names_of(None) == frozenset()


def _encrypt(files: Files) -> None:
    path = files.folder / "server.key"
    key = load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))


def _other_key(files: Files) -> None:
    pem = (files.folder / "server.pem").read_bytes()
    files.issue("127.0.0.1")
    (files.folder / "server.pem").write_bytes(pem)


BROKEN: dict[str, tuple[Callable[[Files], object], str]] = {
    "missing": (
        lambda files: (files.folder / "server.pem").unlink(),
        "cert_file: found no such file or directory; allowed: a readable PEM file",
    ),
    "no PEM": (
        lambda files: (files.folder / "server.pem").write_text("nonsense"),
        "cert_file: found something that OpenSSL rejects (",
    ),
    "encrypted key": (_encrypt, "key_file: found an encrypted key; allowed: a key without a password"),
    "other key": (_other_key, "key_file: found the key of another certificate; allowed: the key of cert_file"),
    "no authority": (
        lambda files: (files.folder / "ca.pem").write_text(""),
        "client_ca_file: found something that OpenSSL rejects (",
    ),
}


def test_letters_around_an_inline_authority(files: Files) -> None:
    """A comment in any script above a certificate is accepted; a damaged certificate is a mistake."""
    pem = (files.folder / "ca.pem").read_text()
    tls = {"client_auth_type": "RequireAndVerifyClientCert"}
    AccessControl(files.write({**tls, "client_ca": f"# Zertifikat für Jörg 漢字\n{pem}"}))
    with pytest.raises(ConfigError, match=r"client_ca"):
        AccessControl(files.write({**tls, "client_ca": pem.replace("A", "ä")}))


@pytest.mark.parametrize(("key", "file"), [("cert_file", "server.pem"), ("client_ca_file", "ca.pem")])
def test_a_file_that_vanishes_while_it_is_read(
    files: Files, monkeypatch: pytest.MonkeyPatch, key: str, file: str
) -> None:
    """A certificate that disappears between check and loading is a mistake like any other."""
    path = files.write({"client_auth_type": "VerifyClientCertIfGiven", "client_ca_file": "ca.pem"})

    def vanish(_: object) -> tuple[()]:
        (files.folder / file).unlink()
        return ()

    monkeypatch.setattr(tls, "_unreadable", vanish)
    with pytest.raises(ConfigError) as caught:
        AccessControl(path)
    assert caught.value.mistakes == (
        f"{path}: tls_server_config.{key}: found no such file or directory; allowed: a readable PEM file",
    )


@pytest.mark.parametrize("case", BROKEN)
def test_unusable_files_are_mistakes(files: Files, case: str) -> None:
    """An unusable file is named with its problem, and nothing is asked on the terminal."""
    path = files.write({"client_auth_type": "VerifyClientCertIfGiven", "client_ca_file": "ca.pem"})
    change, mistake = BROKEN[case]
    change(files)
    with pytest.raises(ConfigError) as caught:
        AccessControl(path)
    (line,) = caught.value.mistakes
    assert line.startswith(f"{path}: tls_server_config.{mistake}")


async def test_targets_are_scraped_as_they_were_asked_for(files: Files, source: "HeldSource") -> None:
    """Over TLS the service discovery sets the scheme, because Prometheus would otherwise use plain HTTP."""
    access = AccessControl(files.write())
    app = make_app(source, access=access)
    async with (
        listening(app, ("127.0.0.1", 0), ssl_context=access.ssl_context) as ((_, port),),
        ClientSession() as client,
        client.get(f"https://127.0.0.1:{port}/sd", ssl=files.client()) as answer,
    ):
        [target] = await answer.json()
    assert target["labels"]["__scheme__"] == "https"
