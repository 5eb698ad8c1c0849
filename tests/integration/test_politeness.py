import itertools
from collections.abc import Sequence

import pytest

from exporter.demo import Call, SimulatedPlatform
from support import CommandFactory, ExporterFactory, wait_until

FAST = {"max_requests_per_second": 1000, "timeout": "2s"}
LATE = 0.5
"""Seconds by which a request may arrive late on a busy machine."""


def times(calls: Sequence[Call]) -> list[float]:
    return [call.time for call in calls]


async def test_the_rate_is_kept(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """All teams together send at most one second's worth of requests at once, and then at the configured rate."""
    rate = burst = 12.5
    for number in range(6):
        platform.add_team(f"team-{number}")
    done = await run_command("once", {"api": {"max_requests_per_second": rate, "max_concurrency": 64}})
    assert done.code == 0
    seen = times(list(platform.journal))
    assert len(seen) == 6 * (8 + 1)  # once it is asked whether tasks are filtered by provisioning
    assert seen[-1] - seen[0] >= (len(seen) - 1 - burst) / rate - LATE
    # No faster in any part either, beyond the first burst.
    for first, last in itertools.combinations(range(len(seen)), 2):
        assert last - first <= burst + rate * (seen[last] - seen[first] + LATE)


async def test_teams_start_spread_over_the_interval(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """The first polls of the teams are spread over the interval, in their order."""
    names = [platform.add_team(f"team-{number}").name for number in range(3)]
    exporter = await exporter_factory({"api": FAST, "collect": {"interval": "3s"}})
    await exporter.wait_ready()
    first = [platform.journal.select(team=name)[0].time for name in names]
    assert first[1] - first[0] >= 1 - LATE
    assert first[2] - first[0] >= 2 - LATE


@pytest.mark.parametrize(("answer", "least"), [("429/4", 4), ("503/@5", 4)], ids=["seconds", "date"])
async def test_retry_after_is_honoured(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory, answer: str, least: float
) -> None:
    """A team that is asked to wait does so with both of its lists; a date has whole seconds. Other teams continue."""
    platform.add_team("held")
    platform.add_team("free")
    platform.faults.set("status", team="held", path="/r/tasks", value=answer, times=1)
    exporter = await exporter_factory({"api": FAST, "collect": {"interval": "1s"}})
    await exporter.wait_ready()
    samples = await exporter.samples()
    until = samples.value("cyberun_exporter_api_backoff_until_timestamp_seconds", team_name="held")
    [refused] = [call for call in platform.journal if call.status in (429, 503)]
    assert until is not None
    assert refused.time + least - LATE <= until <= refused.time + 6 + LATE
    assert not samples.series("cyberun_exporter_api_backoff_until_timestamp_seconds", team_name="free")

    async def polled_again() -> bool:
        return (await exporter.samples()).value("cyberun_up", team_name="held") == 1

    await wait_until(polled_again, within=20)
    tasks = [time for time in times(platform.journal.select(team="held", path="/r/tasks")) if time > refused.time]
    assert tasks[0] - refused.time >= least - LATE / 5
    agents = [time for time in times(platform.journal.select(team="held", path="/r/agents")) if time < tasks[0] - LATE]
    assert len(agents) == 1
    free = [time for time in times(platform.journal.select(team="free", path="/r/agents")) if time < tasks[0]]
    assert len(free) >= 2
    gone = await exporter.samples()
    assert not gone.series("cyberun_exporter_api_backoff_until_timestamp_seconds")


async def test_failures_in_a_row_space_the_polls_out(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory
) -> None:
    """After two failures polls continue at the interval; the third holds the team back until a poll succeeds."""
    platform.add_team("render")
    platform.faults.set("status", path="/r/tasks", value=500)
    exporter = await exporter_factory({"api": FAST, "collect": {"interval": "2s"}})
    await exporter.wait_listening()
    failed = {"team_name": "render", "path": "/r/tasks", "reason": "http_5xx"}

    async def backing_off() -> float | None:
        samples = await exporter.samples()
        until = samples.value("cyberun_exporter_api_backoff_until_timestamp_seconds", team_name="render")
        failures = samples.value("cyberun_exporter_api_request_failures_total", **failed) or 0
        assert failures >= 3 or until is None
        return until

    until = await wait_until(backing_off, within=30)
    calls = times(platform.journal.select(path="/r/tasks"))
    assert len(calls) == 3  # a poll ends with its first failure
    assert until is not None
    assert calls[2] + 2 <= until + 0.001
    assert until <= calls[2] + 4 + LATE
    agents = platform.journal.count(path="/r/agents")
    platform.faults.clear()

    async def recovered() -> bool:
        return (await exporter.samples()).value("cyberun_up", team_name="render") == 1

    await wait_until(recovered, within=30)
    assert not (await exporter.samples()).series("cyberun_exporter_api_backoff_until_timestamp_seconds")
    later = times(platform.journal.select(path="/r/tasks"))
    assert later[3] >= until - 0.1
    assert platform.journal.count(path="/r/agents") > agents  # the list that never failed was polled on
