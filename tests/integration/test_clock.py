"""The real program with a wall clock that jumps: durations come from a clock that cannot be set."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from exporter.demo import SimulatedPlatform
from support import ExporterFactory, RunningExporter, wait_until
from support.sessions import SignedIn

ROOT: Final = Path(__file__).parents[2]
HOUR: Final = 3600.0
SetClock = Callable[[float], None]
"""Sets the exporter's wall clock to so many seconds ahead of the true one."""


def libfaketime() -> Path:
    """The library that answers for the system's clock; Debian's package, of the system or below .tools."""
    for root in (Path("/"), ROOT / ".tools" / "root"):
        for path in root.glob("usr/lib/*/faketime/libfaketime.so.1"):
            return path
    pytest.skip("libfaketime is not installed; tools/get-prometheus fetches it where it can")


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    """What the library reads the distance from."""
    path = tmp_path / "clock"
    path.write_text("+0\n", encoding="ascii")
    return path


@pytest.fixture
def set_clock(clock_file: Path) -> SetClock:
    def set_to(ahead: float) -> None:
        new = clock_file.with_suffix(".new")
        new.write_text(f"{ahead:+g}\n", encoding="ascii")
        os.replace(new, clock_file)  # noqa: PTH105  a half-written file would be another time

    return set_to


@pytest.fixture
def environment(clock_file: Path) -> dict[str, str]:
    """Of a program whose wall clock can be set; its other clocks are the system's, as they are on a machine."""
    return {
        "LD_PRELOAD": str(libfaketime()),
        "FAKETIME_TIMESTAMP_FILE": str(clock_file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


async def told(exporter: RunningExporter, ahead: float) -> None:
    """Waits until the exporter says that its clock is so far ahead of the platform's."""

    async def noticed() -> bool:
        skew = (await exporter.samples()).value("cyberun_exporter_clock_skew_seconds")
        return skew is not None and abs(skew + ahead) < 10

    await wait_until(noticed, within=120)


async def test_a_clock_that_is_set_back_stops_no_renewal(
    platform: SimulatedPlatform,
    exporter_factory: ExporterFactory,
    environment: dict[str, str],
    set_clock: SetClock,
    tmp_path: Path,
) -> None:
    """As by NTP after a boot: JWTs are renewed as before, also after a renewal that failed before the jump."""
    team = platform.add_team("render", kind="jwt")
    operator = SignedIn(platform, tmp_path / "operator", "render")
    platform.access._token_lifetime = 5
    teams = [{"name": "render", "team_id": team.team_id, "refresh_token_file": str(operator.path)}]
    exporter = await exporter_factory(
        {"api": {"max_requests_per_second": 1000}, "collect": {"interval": "1s"}, "teams": teams},
        tokens={},
        environment=environment,
    )
    await told(exporter, 0.0)
    platform.faults.parse("*:/auth/refresh:status=503#1")
    failed = operator.renewals + 1

    async def renewed(times: int) -> bool:
        return operator.renewals >= times

    await wait_until(lambda: renewed(failed), within=120)
    set_clock(-90.0)
    await wait_until(lambda: renewed(failed + 3), within=120)  # the first after ten seconds, then as before
    await told(exporter, -90.0)

    async def up() -> bool:
        return (await exporter.samples()).value("cyberun_up", team_name="render") == 1

    await wait_until(up, within=120)
    assert await exporter.stop() == 0
    assert operator.alive


@pytest.mark.parametrize("ahead", [2 * HOUR, -2 * HOUR])
async def test_a_clock_that_jumps_forgets_nothing(
    platform: SimulatedPlatform,
    exporter_factory: ExporterFactory,
    environment: dict[str, str],
    set_clock: SetClock,
    ahead: float,
) -> None:
    """By more than `agent_memory` and `stale_after`: a vanished agent stays, data stays, and polls go on."""
    team = platform.add_team("render")
    gone, _ = team.add_agents(2)
    config = {"api": {"max_requests_per_second": 1000}, "collect": {"interval": "1s", "agent_memory": "1h"}}
    exporter = await exporter_factory(config, environment=environment)
    await told(exporter, 0.0)
    team.remove_agent(gone)

    async def vanished() -> bool:
        samples = await exporter.samples()
        values = [
            samples.value("cyberun_agent_connected", **each) for each in samples.series("cyberun_agent_connected")
        ]
        return sorted(values) == [0, 1]  # type: ignore[type-var]  # each has a value

    await wait_until(vanished, within=120)
    set_clock(ahead)
    polls = platform.journal.count()
    await told(exporter, ahead)

    async def polled() -> bool:
        return platform.journal.count() > polls + 30

    await wait_until(polled, within=120)
    assert await vanished()
    assert (await exporter.samples()).value("cyberun_up", team_name="render") == 1
    assert (await exporter.get("/-/healthy")).status == 200
    assert await exporter.stop() == 0
