"""What the chart renders works with the real exporter: its configuration, command, probes and test."""

import asyncio
import functools
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from exporter.cli import main
from exporter.demo import SimulatedPlatform
from support.chart import RELEASES, Release, case, render, rendered
from support.exporter import SCRIPT
from support.pod import Pod
from support.programs import Program, free_port, wait_until


@pytest.fixture(scope="module")
def given() -> dict[str, bytes]:
    """What users provide besides the chart: an authority, a certificate, a web configuration, a token from a vault."""
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    pem = authority.cert_pem.bytes()
    return {
        "company-ca/company.pem": pem,
        "company-ca/ca.crt": pem,
        "cyberun-device/token": b"dk-a-device",
        "cyberun-exporter-tls/ca.crt": pem,
        "cyberun-exporter-tls/tls.crt": b"".join(each.bytes() for each in server.cert_chain_pems),
        "cyberun-exporter-tls/tls.key": server.private_key_pem.bytes(),
        "cyberun-exporter-web/web.yml": b"basic_auth_users: {}\n",
        "vault/cyberun": b"sk-from-a-vault",
    }


@pytest.fixture
def check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, bytes]
) -> Callable[..., str]:
    """Runs `cyberun-exporter check` as the container of a release does; returns its output."""

    def run(release: Release, index: int = 0) -> str:
        pod = Pod(release, tmp_path / str(index), given, index)
        for name, value in pod.environment.items():
            monkeypatch.setenv(name, value)
        code = main(["check", *pod.arguments])
        printed = capsys.readouterr()
        assert (code, printed.err) == (0, "")
        return printed.out

    return run


@pytest.mark.parametrize("name", RELEASES)
def test_the_exporter_takes_the_configuration(name: str, check: Callable[..., str]) -> None:
    """The exporter accepts the ConfigMap, the mounted credentials and the arguments of every release."""
    release = rendered(name)
    printed = check(release)
    assert release.config["api"]["base_url"] in printed
    if name != "sharding":
        assert all(team["name"] in printed for team in release.config["teams"])


def test_a_missing_credential_is_found(check: Callable[..., str], tmp_path: Path) -> None:
    """The check above reads the mounted files: without one of them it fails."""
    check(rendered("defaults"))
    (file,) = tmp_path.rglob("secrets/cyberun-token/token")
    file.unlink()
    assert main(["check", f"--config.file={file.parents[2] / 'config' / 'config.yaml'}"]) == 2


def test_each_team_is_in_one_shard(check: Callable[..., str]) -> None:
    """Each team belongs to exactly one pod of a sharded release."""
    release = rendered("sharding")
    printed = [check(release, index) for index in range(release.workload["spec"]["replicas"])]
    teams = [team["name"] for team in release.config["teams"]]
    assert [sum(f"\n{name} " in each for each in printed) for name in teams] == [1] * len(teams)


def _release(values: dict[str, Any], base_url: str) -> Release:
    """The values' release, on a free port of this machine and with the simulated platform."""
    return render(values | {"containerPort": free_port(), "config": {"api": {"base_url": base_url}}})


async def _succeeds(url: str) -> bool:
    """Whether a probe's GET succeeds. Kubernetes does not verify the certificate either."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session, session.get(url, ssl=trusting) as response:
        return response.status == 200


@pytest.mark.parametrize("name", ["defaults", "tls"])
async def test_the_pod_serves_as_it_is_probed(
    name: str, platform: SimulatedPlatform, base_url: str, given: dict[str, bytes], tmp_path: Path
) -> None:
    """The container's command serves with the mounted files; each probe and the chart's test succeed."""
    team = platform.add_team("default", kind="integration")
    release = _release(case(name), base_url)
    pod = Pod(release, tmp_path, given | {"cyberun-token/token": team.token.encode()})
    (port,) = release.container["ports"]
    command = [str(SCRIPT), *pod.arguments]
    async with Program(command, directory=tmp_path, port=port["containerPort"], environment=pod.environment) as program:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            get = release.container[probe]["httpGet"]
            url = f"{get.get('scheme', 'HTTP').lower()}://127.0.0.1:{program.port}{get['path']}"
            await wait_until(functools.partial(_succeeds, url), within=20)
        test = await _run_test(release, program.port)
        assert test.returncode == 0, test.stderr
        assert ('cyberun_up{team_name="default"} 1' in test.stdout) is (name == "defaults")
        assert await program.stop() == 0
    assert (await _run_test(release, program.port)).returncode == 1


async def _run_test(release: Release, port: int) -> subprocess.CompletedProcess[str]:
    """The command of the test's pod, with this machine's address in place of the Service's."""
    (container,) = release.one("Pod")["spec"]["containers"]
    assert container["command"] == ["python", "-c"]
    script, url = container["args"]
    address = url.split("/")[2]
    command = [sys.executable, "-c", script, url.replace(address, f"127.0.0.1:{port}")]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)


async def test_the_test_sees_another_server(platform: SimulatedPlatform, base_url: str) -> None:
    """The chart's test fails on a page that is not the exporter's."""
    platform.add_team("render", kind="integration")
    result = await _run_test(rendered("defaults"), int(base_url.split(":")[2].split("/", maxsplit=1)[0]))
    assert result.returncode == 1
    assert "/metrics" in result.stderr
