import asyncio
import threading

import pytest

from exporter import __version__
from exporter.collect.schedule import Schedule
from exporter.expose.compression import Exposition
from exporter.expose.counters import ApiCounters
from exporter.expose.series_store import SeriesStore
from exporter.service.exporter import TEAMS_AT_A_TIME, Exporter
from fixtures import NOW, FakeClient, FakeClock, Rig, make_team
from support import Samples, parse_text


def read(answer: Exposition) -> Samples:
    return parse_text(b"".join(answer.text()).decode())


def teams_of(found: Samples) -> set[str]:
    return {labels["team_name"] for labels in found.series("cyberun_up")}


async def test_status_before_and_after() -> None:
    """The process is ready once each team's first poll was attempted; failed or not does not matter."""
    rig = Rig.of(FakeClient())
    status = rig.exporter.status()
    assert (status.version, status.started_at, status.now, status.ready) == (__version__, NOW, NOW, False)
    await rig.exporter.once()
    rig.client.clock.advance(7.0)
    status = rig.exporter.status()
    assert (status.ready, status.now, status.stale_after) == (True, NOW + 7, 120.0)
    assert status.teams[0].next_poll_at == NOW


async def test_reload_is_noted() -> None:
    """A reload that failed keeps the time of the last one that did not."""
    rig = Rig.of(FakeClient())
    rig.client.clock.advance(10.0)
    rig.exporter.note_reload(ok=False)
    assert (rig.exporter.status().last_reload_ok, rig.exporter.status().last_reload_ok_at) == (False, NOW)
    rig.exporter.note_reload(ok=True)
    assert (rig.exporter.status().last_reload_ok, rig.exporter.status().last_reload_ok_at) == (True, NOW + 10)


async def test_teams_are_replaced() -> None:
    """Removed teams lose their series and counters; the others keep theirs."""
    clock, counters = FakeClock(), ApiCounters()
    store = SeriesStore(clock.clock.monotonic)
    exporter = Exporter(Schedule(clock.clock), store=store, counters=counters, clock=clock.clock)
    render, film = (make_team(FakeClient(name, counters, clock), store=store) for name in ("render", "film"))
    exporter.set_teams([render, film], stale_after=120.0)
    await exporter.once()
    exporter.set_teams([film], stale_after=60.0)
    found = read(await exporter.scrape(openmetrics=False))
    named = {dict(labels)["team_name"] for _, labels in found.values if "team_name" in dict(labels)}
    assert named == {"film"}
    assert found.value("cyberun_up", team_name="film") == 1
    assert exporter.team("film") is film
    assert exporter.team("render") is None
    assert exporter.status().stale_after == 60.0


@pytest.mark.parametrize("openmetrics", [False, True])
async def test_scrape_of_many_teams(*, openmetrics: bool) -> None:
    """With many teams, other tasks run during a scrape, and each team is still in it once, in both formats."""
    clock, counters = FakeClock(), ApiCounters()
    store = SeriesStore(clock.clock.monotonic)
    exporter = Exporter(Schedule(clock.clock), store=store, counters=counters, clock=clock.clock)
    names = [f"t{number}" for number in range(2 * TEAMS_AT_A_TIME + 1)]
    teams = [make_team(FakeClient(name, counters, clock), store=store) for name in names]
    exporter.set_teams(teams, stale_after=120.0)
    await exporter.once()
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(len(turns))
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    found = await exporter.scrape(openmetrics=openmetrics)
    others.cancel()
    assert len(turns) == 2
    assert len([line for line in lines(found) if line.startswith("cyberun_up{")]) == len(names)


async def test_a_scrape_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape works without a thread, for example under a limit of processes, however many teams there are."""
    clock, counters = FakeClock(), ApiCounters()
    store = SeriesStore(clock.clock.monotonic)
    exporter = Exporter(Schedule(clock.clock), store=store, counters=counters, clock=clock.clock)
    names = [f"t{number}" for number in range(2 * TEAMS_AT_A_TIME + 1)]
    exporter.set_teams([make_team(FakeClient(name, counters, clock), store=store) for name in names], stale_after=9.0)

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    found = read(await exporter.scrape(openmetrics=False))
    assert teams_of(found) == set(names)


def lines(exposition: Exposition) -> list[str]:
    return b"".join(exposition.text()).decode().splitlines()


async def test_new_team_of_the_same_name() -> None:
    """A new team with an old name shows none of the old one's data."""
    rig = Rig.of(FakeClient(agents=[{"agent_id": "a"}]))
    assert (await rig.poll()).series("cyberun_agent_info")
    rig.exporter.set_teams([make_team(rig.client)], stale_after=120.0)
    found = await rig.scrape()
    assert found.value("cyberun_up", team_name="render") == 0
    assert not found.series("cyberun_agent_info")


async def test_probe() -> None:
    """A probe polls now and returns only that team's metrics, without those of the process."""
    rig = Rig.of(FakeClient(agents=[{"agent_id": "a"}]))
    found = read(await rig.exporter.probe("render", openmetrics=False, within=60.0))
    assert teams_of(found) == {"render"}
    assert found.value("cyberun_up", team_name="render") == 1
    assert found.value("cyberun_agent_connected", team_name="render", agent_id="a") == 1
    assert not [name for name in found.names() if name.startswith(("process_", "cyberun_exporter_build"))]


async def test_probes_share_a_poll() -> None:
    """Probes at the same time, and within a second, cost one poll."""
    rig = Rig.of(FakeClient())
    answers = [rig.exporter.probe("render", openmetrics=False, within=60.0) for _ in range(5)]
    assert all(read(answer).value("cyberun_up", team_name="render") for answer in await asyncio.gather(*answers))
    await rig.exporter.probe("render", openmetrics=False, within=60.0)
    assert rig.client.asked("/r/agents") == 1


async def test_probe_of_a_platform_that_hangs() -> None:
    """A probe ends in time with the team down; the poll continues and serves the next probe."""
    client = FakeClient(agents=[{"agent_id": "a"}])
    rig = Rig.of(client)
    await rig.poll()
    client.clock.advance(30.0)
    client.gate = asyncio.Event()
    found = read(await rig.exporter.probe("render", openmetrics=False, within=0.0))
    assert found.value("cyberun_up", team_name="render") == 0
    assert found.value("cyberun_agent_connected", team_name="render", agent_id="a") == 1
    client.gate.set()
    found = read(await rig.exporter.probe("render", openmetrics=False, within=60.0))
    assert found.value("cyberun_up", team_name="render") == 1
    assert client.asked("/r/agents") == 2
