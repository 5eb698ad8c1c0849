"""The exporter where the system lets it start no thread, as under a limit of processes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from exporter.collect.offload import AT_ONCE
from exporter.demo import SimulatedPlatform
from support import ExporterFactory, RunningExporter, wait_until

TEAMS: Final = 51
"""More than are rendered at a time."""
LARGE: Final = "team-7"
"""A team with more agents than are processed without a thread."""


@pytest.fixture
def pids() -> Iterator[Path]:
    """A control group that can limit the number of threads: of either version, where this user may make one."""
    for parent in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
        group = parent / f"cyberun-exporter-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "pids.max").exists():
            yield group
            group.rmdir()
            return
        group.rmdir()
    pytest.skip("this user may not make a control group that limits processes")


async def internal_errors(exporter: RunningExporter) -> dict[str, float]:
    """How often the exporter itself failed, by operation."""
    samples, name = await exporter.samples(), "cyberun_exporter_internal_errors_total"
    return {each["operation"]: samples.value(name, **each) or 0.0 for each in samples.series(name)}


async def test_a_lack_of_threads_is_outlived(
    pids: Path, platform: SimulatedPlatform, exporter_factory: ExporterFactory, tmp_path: Path
) -> None:
    """It answers, polls small teams, says in its metrics what it fails at by itself, recovers, and can be stopped."""
    web_file = tmp_path / "web.yml"
    web_file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}", encoding="utf-8")
    for number in range(TEAMS):
        platform.add_team(f"team-{number}")
    platform.teams[LARGE].add_agents(AT_ONCE + 1)
    config = {
        "api": {"max_requests_per_second": 1000, "max_concurrency": 32},
        "collect": {"interval": "5s"},
        "web": {"enable_lifecycle": True, "config_file": str(web_file)},
    }
    exporter = await exporter_factory(config)

    async def down() -> list[str]:
        samples = await exporter.samples()
        return [name for name in platform.teams if samples.value("cyberun_up", team_name=name) != 1]

    async def only_large_down() -> bool:
        return await down() == [LARGE]

    async def all_up() -> bool:
        return not await down()

    await wait_until(all_up, within=120)
    assert not any((await internal_errors(exporter)).values())
    try:
        (pids / "cgroup.procs").write_text(str(exporter.pid), encoding="ascii")
        (pids / "pids.max").write_text("1", encoding="ascii")  # those that run go on
    except OSError as error:
        pytest.skip(f"this user may not put a process into a control group: {error}")

    web_file.write_text("http_server_config: {headers: {X-Frame-Options: sameorigin}}", encoding="utf-8")
    await wait_until(only_large_down, within=120)
    assert (await exporter.get("/-/healthy")).status == 200
    assert (await exporter.get("/")).status == 200
    assert (await exporter.get("/-/reload", method="POST")).status == 500
    exporter.send_signal(signal.SIGHUP)

    async def refused_twice() -> bool:
        return (await internal_errors(exporter))["reload"] == 2

    await wait_until(refused_twice, within=60)
    errors = await internal_errors(exporter)
    assert errors["agents"] >= 1
    assert errors["tasks"] == 0
    assert (await exporter.get("/metrics")).headers["X-Frame-Options"] == "deny"
    status = await exporter.json("/api/v1/status")
    [large] = [team for team in status["teams"] if team["name"] == LARGE]
    assert [each["attempts"][0]["reason"] for each in large["collectors"]] == [None, "internal"]
    assert "can't start new thread" in exporter.logs

    (pids / "pids.max").write_text("max", encoding="ascii")
    await wait_until(all_up, within=120)
    assert (await exporter.get("/-/reload", method="POST")).status == 200
    assert (await exporter.get("/metrics")).headers["X-Frame-Options"] == "sameorigin"

    (pids / "pids.max").write_text("1", encoding="ascii")
    assert await exporter.stop() == 0
