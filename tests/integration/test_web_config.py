import asyncio
import base64
import os
import ssl
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
import trustme
import yaml

from exporter.demo import SimulatedPlatform
from support import (
    CommandFactory,
    ExporterFactory,
    PrometheusFactory,
    RunningExporter,
    parse_text,
    required,
    run_exporter,
    wait_until,
)

ROOT = Path(__file__).parents[2]
OPEN = ("/-/healthy", "/-/ready")
CLOSED = ("/", "/metrics", "/api/v1/status", "/probe", "/probe?team=render", "/sd", "/-/reload", "/nothing", "/%2e%2e/")
PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(6)).decode()
MUTUAL = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}


class Secured:
    """An exporter behind a web configuration, its certificates, and clients of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "web.yml"
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.pem")
        self.issue()

    def issue(self) -> None:
        """Write the server's certificate and key anew, as cert-manager does."""
        leaf = self.ca.issue_cert("127.0.0.1", "localhost")
        for name, blob in (("server.key", leaf.private_key_pem), ("server.pem", leaf.cert_chain_pems[0])):
            blob.write_to_path(self.folder / f"{name}.new")
            (self.folder / f"{name}.new").replace(self.folder / name)

    def client_files(self, name: str, ca: trustme.CA | None = None) -> dict[str, str]:
        """A client certificate as Prometheus would have it."""
        leaf = (ca or self.ca).issue_cert(name)
        leaf.cert_chain_pems[0].write_to_path(self.folder / f"{name}.pem")
        leaf.private_key_pem.write_to_path(self.folder / f"{name}.key")
        return {"cert_file": str(self.folder / f"{name}.pem"), "key_file": str(self.folder / f"{name}.key")}

    def write(self, document: Any) -> None:
        """Replace the web configuration at once."""
        new = self.path.with_suffix(".new")
        new.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
        new.replace(self.path)

    def tls(self, **more: Any) -> dict[str, Any]:
        """The section of TLS."""
        return {"cert_file": "server.pem", "key_file": "server.key", **more}

    def context(self, files: Mapping[str, str] | None = None) -> ssl.SSLContext:
        """A client that verifies the server, with a certificate if there are files."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if files:
            context.load_cert_chain(files["cert_file"], files["key_file"])
        return context


@pytest.fixture
def secured(tmp_path: Path) -> Secured:
    return Secured(tmp_path)


@pytest.fixture
async def start(platform: SimulatedPlatform, secured: Secured, exporter_factory: ExporterFactory) -> Any:
    """Starts an exporter behind the web configuration, with two teams."""
    for name in ("render", "film"):
        platform.add_team(name).add_agents(2)

    async def started(*, serves_tls: bool = True, within: float = 15, **config: Any) -> RunningExporter:
        exporter = await exporter_factory(
            {"web": {"config_file": str(secured.path)}, "collect": {"interval": "1s"}, **config}
        )
        if serves_tls:
            exporter.url = exporter.url.replace("http:", "https:")
        await wait_until(lambda: listening(exporter), within=within)
        return exporter

    return started


async def listening(exporter: RunningExporter) -> bool:
    assert exporter.pid
    return "msg=listening" in exporter.logs


async def fetch(
    exporter: RunningExporter, path: str, context: ssl.SSLContext | None = None, *, user: str = "", method: str = "GET"
) -> tuple[int, Mapping[str, str], str]:
    """One answer on a connection of its own."""
    headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, exporter.url + path, headers=headers, ssl=context or False) as answer,
    ):
        return answer.status, answer.headers, await answer.text()


async def serial(exporter: RunningExporter, context: ssl.SSLContext) -> object:
    """The serial number of the certificate that a new connection shows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", exporter.port, ssl=context)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    del reader
    return certificate["serialNumber"]


async def test_every_path_is_behind_the_password(secured: Secured, start: Any) -> None:
    """Over TLS, a client without a correct password gets 401 on every path except the two checks, and sees no names."""
    secured.write({"tls_server_config": secured.tls(), "basic_auth_users": {"prom": HASH}})
    exporter = await start(web={"config_file": str(secured.path), "enable_lifecycle": True})
    context = secured.context()
    right = f"prom:{PASSWORD}"
    for path in CLOSED:
        for user in ("", "prom:wrong", f"nobody:{PASSWORD}", "prom:"):
            status, headers, text = await fetch(exporter, path, context, user=user)
            assert (status, headers["WWW-Authenticate"].split()[0]) == (401, "Basic"), path
            assert "render" not in text
        assert (await fetch(exporter, path, context, method="POST"))[0] == 401
    for path in OPEN:
        await wait_until(partial(is_ok, exporter, path, context))
    assert (await fetch(exporter, "/metrics", context, user=right))[0] == 200
    assert (await fetch(exporter, "/-/reload", context, user=right, method="POST"))[0] == 200
    assert PASSWORD not in exporter.logs
    assert HASH not in exporter.logs
    with pytest.raises(aiohttp.ClientConnectionError):
        await fetch(_plain(exporter), "/metrics")


def _plain(exporter: RunningExporter) -> RunningExporter:
    exporter.url = exporter.url.replace("https:", "http:")
    return exporter


async def is_ok(exporter: RunningExporter, path: str, context: ssl.SSLContext) -> bool:
    return (await fetch(exporter, path, context))[0] == 200


async def test_certificates_turn_over_without_a_restart(secured: Secured, start: Any) -> None:
    """New connections get the new certificate and open ones continue; bad files change only the gauge."""
    secured.write({"tls_server_config": secured.tls()})
    exporter = await start()
    context = secured.context()
    before = await serial(exporter, context)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:

        async def over_one_connection() -> bool:
            async with session.get(exporter.url + "/metrics", ssl=context) as answer:
                assert answer.status == 200
                gauge = parse_text(await answer.text()).value("cyberun_exporter_config_last_reload_successful")
                return gauge == 1

        assert await over_one_connection()
        (kept,) = [each for group in session.connector._conns.values() for each, _ in group]  # type: ignore[union-attr]  # it is open
        secured.issue()

        async def renewed() -> bool:
            return await serial(exporter, context) != before

        await wait_until(renewed)
        after = await serial(exporter, context)
        (secured.folder / "server.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")

        async def noticed() -> bool:
            return not await over_one_connection()

        await wait_until(noticed)
        assert await serial(exporter, context) == after
        secured.write("tls_server_config: [")
        await asyncio.sleep(2.5)
        assert await serial(exporter, context) == after
        secured.write({"tls_server_config": secured.tls()})
        secured.issue()
        await wait_until(over_one_connection)
        assert await serial(exporter, context) not in {before, after}
        (still,) = [each for group in session.connector._conns.values() for each, _ in group]  # type: ignore[union-attr]  # it is open
        assert still is kept
    lines = [line for line in exporter.logs.splitlines() if "configuration not reloaded" in line]
    assert 2 <= len(lines) <= 3
    assert all("level=error" in line for line in lines)


async def test_client_certificates_are_required(secured: Secured, start: Any) -> None:
    """Without a certificate no path answers, not even the checks; the health command handles that."""
    secured.write({"tls_server_config": secured.tls(**MUTUAL, client_allowed_sans=["prometheus.example"])})
    exporter = await start()
    good = secured.context(secured.client_files("prometheus.example"))
    for path in (*OPEN, "/metrics"):
        await wait_until(partial(is_ok, exporter, path, good))
        for context in (secured.context(), secured.context(secured.client_files("prometheus.example", trustme.CA()))):
            with pytest.raises((aiohttp.ClientError, OSError)):
                await fetch(exporter, path, context)
        other = secured.context(secured.client_files("other.example"))
        assert (await fetch(exporter, path, other))[0] == 403
    await healthy(exporter)


async def healthy(exporter: RunningExporter) -> None:
    """The health command works, whatever happened to the configuration since the start."""
    arguments = ("health", f"--config.file={exporter.config_path}")
    assert (await run_exporter(*arguments, directory=exporter.directory)).code == 0
    text = exporter.config_path.read_text()
    exporter.config_path.write_text(text.replace("teams:", "nonsense: 1\nteams: 5\nteems:"))
    assert (await run_exporter(*arguments, directory=exporter.directory)).code == 0
    exporter.config_path.write_text(text)


@pytest.mark.parametrize("serves_tls", [True, False])
async def test_health_command(secured: Secured, start: Any, *, serves_tls: bool) -> None:
    """It needs neither password nor certificate nor a valid configuration; it fails when nothing answers."""
    secured.write({"basic_auth_users": {"prom": HASH}, **({"tls_server_config": secured.tls()} if serves_tls else {})})
    exporter = await start(serves_tls=serves_tls)
    await healthy(exporter)
    secured.write("nonsense: [")
    await healthy(exporter)
    assert await exporter.stop() == 0
    done = await run_exporter("health", f"--config.file={exporter.config_path}", directory=exporter.directory)
    assert done.code == 1
    assert "refused" in done.stderr


async def test_check_validates_the_file(
    secured: Secured, platform: SimulatedPlatform, run_command: CommandFactory
) -> None:
    """`check` reads the web configuration and its certificates, and exits with 2 and a line for each mistake."""
    platform.add_team("render")
    flag = [f"--web.config.file={secured.path}"]
    secured.write({"tls_server_config": secured.tls(), "http_server_config": {"http2": True}})
    done = await run_command("check", arguments=flag)
    assert done.code == 0, done.stderr
    assert "warning    web configuration: http2 is enabled" in done.stdout
    secured.write({"tls_server_config": secured.tls(key_file="none")})
    done = await run_command("check", arguments=flag)
    assert (done.code, done.stderr) == (
        2,
        f"{secured.path}: tls_server_config.key_file: found no such file or directory; allowed: a readable PEM file\n",
    )
    done = await run_command("serve", arguments=[f"--web.config.file={secured.folder}/none.yml"])
    assert done.code == 2


async def test_prometheus_scrapes_with_password_and_with_certificate(
    secured: Secured, start: Any, prometheus: PrometheusFactory
) -> None:
    """A real Prometheus can scrape over TLS with a password and a certificate, but not without either of them."""
    secured.write({"tls_server_config": secured.tls(**MUTUAL), "basic_auth_users": {"prom": HASH}})
    exporter = await start()
    tls = {"ca_file": str(secured.folder / "ca.pem")}
    own = {**tls, **secured.client_files("prometheus.example")}
    auth = {"username": "prom", "password": PASSWORD}
    target = {"scheme": "https", "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]}
    jobs = {
        "both": {"tls_config": own, "basic_auth": auth},
        "no-password": {"tls_config": own},
        "wrong-password": {"tls_config": own, "basic_auth": {**auth, "password": "wrong"}},
        "no-certificate": {"tls_config": tls, "basic_auth": auth},
    }
    server = await prometheus(
        {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": name, **job, **target} for name, job in jobs.items()],
        }
    )

    async def all_scraped() -> bool:
        return len({target["health"] for target in await server.targets()} - {"unknown"}) == 2 and all(
            target["health"] != "unknown" for target in await server.targets()
        )

    await wait_until(all_scraped)
    health = {target["labels"]["job"]: (target["health"], target["lastError"]) for target in await server.targets()}
    assert {name: up for name, (up, _) in health.items()} == {name: "up" if name == "both" else "down" for name in jobs}
    assert "401" in health["no-password"][1]
    assert "401" in health["wrong-password"][1]

    async def both_teams() -> bool:
        return {each.labels["team_name"] for each in await server.query("cyberun_up == 1")} == {"render", "film"}

    await wait_until(both_teams)


def test_promtool_accepts_our_example(secured: Secured) -> None:
    """`promtool` accepts the example, so it is valid for every exporter built with the exporter-toolkit."""
    text = (ROOT / "docs" / "examples" / "web.yml").read_text(encoding="utf-8")
    secured.write(text)
    (secured.folder / "clients.pem").write_bytes((secured.folder / "ca.pem").read_bytes())
    done = subprocess.run(
        [required("promtool"), "check", "web-config", str(secured.path)],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
