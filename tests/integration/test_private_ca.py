import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from exporter.demo import SimulatedPlatform
from support import CommandFactory, parse_text

AUTHORITY = trustme.CA()


@pytest.fixture
async def base_url(platform: SimulatedPlatform) -> AsyncIterator[str]:
    """The platform behind TLS, with a certificate from a private authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    async with platform.serve(ssl_context=context) as url:
        yield url


async def test_a_private_authority_is_trusted_when_told(
    platform: SimulatedPlatform, run_command: CommandFactory, tmp_path: Path
) -> None:
    """With `api.ca_file` the platform's certificate is trusted; the path is relative to the configuration."""
    platform.add_team("render").add_agents(2)
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    done = await run_command("once", {"api": {"ca_file": "../ca.pem"}})
    assert done.code == 0, done.stderr
    assert len(parse_text(done.stdout).series("cyberun_agent_connected")) == 2


@pytest.mark.parametrize("trusted", ["nobody", "another"])
async def test_an_unknown_authority_is_refused(
    platform: SimulatedPlatform, run_command: CommandFactory, tmp_path: Path, trusted: str
) -> None:
    """Without it, or with another authority's, every request fails with `tls` and no credential is sent."""
    platform.add_team("render")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    done = await run_command("once", {"api": {"ca_file": "../ca.pem"} if trusted == "another" else {}})
    assert done.code == 1
    samples = parse_text(done.stdout)
    for path in ("/r/tasks", "/r/agents"):
        labels = {"team_name": "render", "path": path, "reason": "tls"}
        assert samples.value("cyberun_exporter_api_request_failures_total", **labels) == 1
    assert samples.value("cyberun_up", team_name="render") == 0
    assert len(platform.journal) == 0
