import asyncio
import signal
import socket
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from exporter.demo import SimulatedPlatform
from support import ExporterFactory, PrometheusFactory, RunningExporter, Samples, parse_text, wait_until

ROOT = Path(__file__).parents[2]
API: dict[str, Any] = {"max_requests_per_second": 1000, "max_concurrency": 64, "timeout": "20s"}
RARELY = {"interval": "1h", "stale_after": "2h"}
REQUESTS = 9
"""Of one poll of a team with few tasks and agents."""
RELOADED = "cyberun_exporter_config_last_reload_successful"


def config(*teams: str, **changed: Any) -> dict[str, Any]:
    """Teams that are polled once and then only by probes, unless their configuration changes."""
    return {
        "api": API,
        "collect": RARELY,
        "teams": [{"name": name, **changed.get(name, {})} for name in teams],
        "web": {"enable_lifecycle": True},
    }


def of_team(samples: Samples, team: str) -> Mapping[Any, float]:
    """Every series of a team."""
    return {key: value for key, value in samples.values.items() if ("team_name", team) in key[1]}


async def schedule(exporter: RunningExporter, team: str) -> dict[str, Any]:
    """The state of a team in the JSON status: polls, next poll, back-off."""
    found = next(each for each in (await exporter.json("/api/v1/status"))["teams"] if each["name"] == team)
    assert isinstance(found, dict)
    return found


async def post(exporter: RunningExporter, method: str = "POST") -> tuple[int, str]:
    answer = await exporter.get("/-/reload", method=method)
    return answer.status, answer.text


async def probe(exporter: RunningExporter, team: str, **headers: str) -> Samples:
    answer = await exporter.get(f"/probe?team={team}", headers=headers)
    assert answer.status == 200, answer.text
    return parse_text(answer.text)


@pytest.fixture
async def exporter(platform: SimulatedPlatform, exporter_factory: ExporterFactory, base_url: str) -> RunningExporter:
    """Polls the teams render, film and old; new is not configured."""
    for name in ("render", "film", "old", "new"):
        platform.add_team(name).add_agents(2)
    API["base_url"] = base_url
    running = await exporter_factory(config("render", "film", "old"))
    await running.wait_listening()
    # The first polls are spread over the hour.
    for name in ("render", "film", "old"):
        await probe(running, name)
    await running.wait_ready()
    return running


async def test_a_reload_touches_only_what_changed(platform: SimulatedPlatform, exporter: RunningExporter) -> None:
    """Unchanged teams keep data, counters, histograms and schedule, while others are removed, added and changed."""
    task = platform.teams["render"].add_task(status="running")
    await asyncio.sleep(1)  # or the probes would be one
    await probe(exporter, "render")
    platform.teams["render"].move(task, status="completed", completed_at=time.time())
    await asyncio.sleep(1)
    await probe(exporter, "render")
    before, beat = await exporter.samples(), await schedule(exporter, "render")
    calls = platform.journal.count(team="render")
    assert before.value("cyberun_tasks_finished_total", team_name="render", status="completed") == 1
    assert before.value("cyberun_task_run_seconds_count", team_name="render", status="completed") == 1
    exporter.write_config(config("render", "film", "new", film={"interval": "1s"}))
    exporter.send_signal(signal.SIGHUP)

    async def new_is_there() -> bool:
        return bool((await exporter.samples()).series("cyberun_up", team_name="new"))

    await wait_until(new_is_there)
    assert (await probe(exporter, "new")).value("cyberun_up", team_name="new") == 1
    after = await exporter.samples()
    assert of_team(after, "render") == of_team(before, "render")
    # It is computed anew from the monotonic clock.
    beat["next_poll_at"] = pytest.approx(beat["next_poll_at"], abs=1)
    assert await schedule(exporter, "render") == beat
    assert not of_team(after, "old")
    assert after.value("cyberun_collector_interval_seconds", team_name="film", collector="tasks") == 1
    assert after.value("cyberun_exporter_config_last_reload_success_timestamp_seconds") != before.value(
        "cyberun_exporter_config_last_reload_success_timestamp_seconds"
    )
    assert platform.journal.count(team="render") == calls

    async def film_is_polled_often() -> bool:
        return platform.journal.count(team="film") >= 3 * REQUESTS

    await wait_until(film_is_polled_often)
    # What comes again starts anew.
    exporter.write_config(config("film", "old"))
    assert await post(exporter, "PUT") == (200, "Reloaded.\n")
    exporter.write_config(config("film", "old", "render"))
    assert await post(exporter) == (200, "Reloaded.\n")

    samples = await probe(exporter, "render")
    assert samples.value("cyberun_tasks_finished_total", team_name="render", status="completed") == 0


async def test_a_bad_file_changes_nothing_but_the_gauges(exporter: RunningExporter) -> None:
    """Mistakes of any kind, including a missing credential, are reported and change no series of a team."""
    before = await exporter.samples()
    good = exporter.config_path.read_text()
    bad = {
        "teams: [": "malformed YAML",
        good.replace("name: film", "name: render"): "the name of teams[0] again",
        good.replace("interval: 1h", "interval: 0s"): "collect.interval",
        good.replace("secrets/film", "secrets/none"): "team film: ",
    }
    for text, mistake in bad.items():
        exporter.config_path.write_text(text)
        status, told = await post(exporter)
        assert (status, mistake in told) == (500, True), told
        after = await exporter.samples()
        assert after.value(RELOADED) == 0
        for team in ("render", "film", "old"):
            assert of_team(after, team) == of_team(before, team)
        changed = "cyberun_exporter_config_last_reload_success_timestamp_seconds"
        assert after.value(changed) == before.value(changed)
    exporter.config_path.write_text(good)
    assert (await post(exporter))[0] == 200
    assert (await exporter.samples()).value(RELOADED) == 1
    assert (await exporter.get("/-/reload")).status == 405


async def test_reloads_come_one_after_the_other(exporter: RunningExporter) -> None:
    """After many reloads at once, by signal and over HTTP, the last version of the file is in use."""
    before = of_team(await exporter.samples(), "render")

    async def ask(number: int) -> int:
        exporter.write_config(config("render", *(["film"] if number % 2 else ["new"])))
        exporter.send_signal(signal.SIGHUP)
        return (await post(exporter))[0]

    assert set(await asyncio.gather(*(ask(number) for number in range(20)))) == {200}
    exporter.write_config(config("render", "new"))
    assert (await post(exporter))[0] == 200
    samples = await exporter.samples()
    assert {each["team_name"] for each in samples.series("cyberun_up")} == {"render", "new"}
    assert of_team(samples, "render") == before


async def test_a_reload_does_not_wait_for_the_platform(platform: SimulatedPlatform, exporter: RunningExporter) -> None:
    """A reload does not wait for hanging polls, neither of teams that stay nor of teams that are removed."""
    platform.faults.set("hang")
    exporter.write_config(config("render", "film", "old", film={"interval": "1s"}, old={"interval": "1s"}))
    assert (await post(exporter))[0] == 200
    calls = platform.journal.count()

    async def polls_hang() -> bool:
        return platform.journal.count() > calls

    await wait_until(polls_hang)
    exporter.write_config(config("render", "film", film={"interval": "2s"}))
    started = time.monotonic()
    assert (await post(exporter))[0] == 200
    assert time.monotonic() - started < 15, "it took as long as the polls, which end after 20 s"
    samples = await exporter.samples()
    assert {each["team_name"] for each in samples.series("cyberun_up")} == {"render", "film"}
    platform.faults.clear()
    assert await exporter.stop() == 0


async def test_reload_must_be_enabled(exporter_factory: ExporterFactory, platform: SimulatedPlatform) -> None:
    """Without `--web.enable-lifecycle` a reload over HTTP is 403; the signal always works."""
    platform.add_team("render")
    exporter = await exporter_factory({"collect": RARELY})
    await exporter.wait_ready()
    assert [(await post(exporter, method))[0] for method in ("POST", "PUT", "GET")] == [403, 403, 405]
    exporter.config_path.write_text("nonsense: 1")
    exporter.send_signal(signal.SIGHUP)

    async def noticed() -> bool:
        return (await exporter.samples()).value(RELOADED) == 0

    await wait_until(noticed)


async def test_probes_at_once_are_one_poll(platform: SimulatedPlatform, exporter: RunningExporter) -> None:
    """A hundred probes at once, and all those within the next second, cause one poll; other teams are not polled."""
    await asyncio.sleep(1)  # or what is known would still be recent
    platform.faults.set("latency", team="film", value="1s")
    platform.journal.clear()
    answers = await asyncio.gather(*(probe(exporter, "film") for _ in range(100)))
    # Once in ten polls, one request more looks for tasks in statuses that no filter shows.
    assert REQUESTS <= platform.journal.count() == platform.journal.count(team="film") <= REQUESTS + 1
    for answer in answers:
        assert {labels["team_name"] for labels in answer.series("cyberun_up")} == {"film"}
        assert answer.value("cyberun_up", team_name="film") == 1
        assert answer.value("cyberun_agents", team_name="film", status="idle") == 2
        assert not of_team(answer, "render")
    platform.faults.clear()
    started = time.monotonic()
    for _ in range(5):
        await asyncio.gather(*(probe(exporter, "film") for _ in range(30)))
    seconds = time.monotonic() - started
    assert platform.journal.count(team="film") <= (2 + seconds) * REQUESTS
    for path, status in (("/probe", 400), ("/probe?team=nobody", 404), ("/probe?team=new", 404)):
        assert (await exporter.get(path)).status == status
    assert platform.journal.count(team="new") == 0


async def test_a_probe_ends_in_time(platform: SimulatedPlatform, exporter: RunningExporter) -> None:
    """While the platform hangs, a probe answers 200 before the scrape times out, with the team down."""
    await asyncio.sleep(1)  # or what is known would still be recent
    platform.faults.set("hang", team="film")
    started = time.monotonic()
    samples = await probe(exporter, "film", **{"X-Prometheus-Scrape-Timeout-Seconds": "2"})
    assert 1.2 < time.monotonic() - started < 15, "it took as long as the poll, which ends after 20 s"
    assert samples.value("cyberun_up", team_name="film") == 0
    # What is known is served on, it is not stale yet.
    assert samples.value("cyberun_agents", team_name="film", status="idle") == 2
    assert (await exporter.samples()).value("cyberun_up", team_name="render") == 1


async def test_prometheus_probes_the_teams_of_the_discovery(
    exporter: RunningExporter, prometheus: PrometheusFactory
) -> None:
    """The configuration in prometheus/prometheus-probe.yml finds every team and scrapes each separately."""
    text = (ROOT / "prometheus" / "prometheus-probe.yml").read_text(encoding="utf-8")
    document = yaml.safe_load(text.replace("localhost:10042", f"127.0.0.1:{exporter.port}"))
    document["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    document["rule_files"] = [str(ROOT / "prometheus" / path) for path in document["rule_files"]]
    document["scrape_configs"][0]["http_sd_configs"][0]["refresh_interval"] = "1s"
    server = await prometheus(document)

    async def probed() -> bool:
        found = [each.labels["team_name"] for each in await server.query("cyberun_up == 1")]
        return Counter(found) == Counter(["render", "film", "old"])

    await wait_until(probed)
    up = {each.labels["team"]: each.value for each in await server.query('up{team!=""}')}
    assert up == {"render": 1, "film": 1, "old": 1}
    agents = await server.query("sum by (team_name) (cyberun_agents)")
    assert {each.labels["team_name"]: each.value for each in agents} == dict.fromkeys(("render", "film", "old"), 2)
    exporter.write_config(config("render", "new"))
    assert (await post(exporter))[0] == 200

    async def follows() -> bool:
        targets = [each for each in await server.targets() if "team" in each["labels"]]
        return sorted(each["discoveredLabels"]["__param_team"] for each in targets) == ["new", "render"]

    await wait_until(follows)


async def test_each_team_is_polled_by_one_shard(
    platform: SimulatedPlatform, exporter_factory: ExporterFactory, base_url: str
) -> None:
    """Three shards with the same configuration divide the teams: none is left out, none is polled twice."""
    names = [f"team-{number}" for number in range(15)]
    for name in names:
        platform.add_team(name)
    shards = [
        await exporter_factory(
            {"api": {**API, "base_url": base_url, "timeout": "30s"}, "collect": {"interval": "1s"}},
            arguments=[f"--shard={shard}", "--total-shards=3"],
        )
        for shard in range(3)
    ]
    found, polled = [], Counter[str]()
    for shard in shards:
        await shard.wait_ready(within=60)
        samples = await shard.samples()
        found.append({each["team_name"] for each in samples.series("cyberun_up")})
        targets = await shard.json("/sd")
        assert {target["labels"]["__param_team"] for target in targets} == found[-1]
        requests = samples.series("cyberun_exporter_api_requests_total")
        polled += Counter(each["team_name"] for each in requests)
        assert await shard.stop() == 0
    assert sorted(name for each in found for name in each) == sorted(names)
    assert all(found)
    # Two paths each, counted by one shard.
    assert polled == dict.fromkeys(names, 2)
    assert all(platform.journal.count(team=name) >= REQUESTS for name in names)


async def test_many_and_bad_readers(platform: SimulatedPlatform, exporter_factory: ExporterFactory) -> None:
    """200 simultaneous scrapes are answered while other clients stall, send nothing or send nonsense."""
    platform.add_team("render").add_agents(800, gpus=2)
    exporter = await exporter_factory({"collect": RARELY, "api": {"max_requests_per_second": 1000}})
    await exporter.wait_ready()
    silent = [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(100)]
    half = [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(50)]
    slow = [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(20)]
    try:
        for each in half:
            each.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Half: ")
        for each in slow:
            each.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        found = {}
        for name, data in (
            ("header", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
            ("headers", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100_000 + b"\r\n"),
            ("line", b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("method", b"NONSENSE / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("bytes", bytes(range(256))),
            ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ):
            found[name] = await _first_line(exporter.port, data)
        assert {name: line.split(" ")[1] for name, line in found.items() if name != "headers"} == dict.fromkeys(
            ("header", "line", "method", "bytes", "tls"), "400"
        )
        started = time.monotonic()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:

            async def scrape() -> int:
                headers = {"Accept-Encoding": "gzip"}
                async with session.get(exporter.url + "/metrics", headers=headers) as answer:
                    return answer.status if len(await answer.read()) > 30_000 else 0

            assert await asyncio.gather(*(scrape() for _ in range(200))) == [200] * 200
        assert time.monotonic() - started < 20
        assert (await exporter.get("/-/healthy")).status == 200
    finally:
        for each in (*silent, *half, *slow):
            each.close()
    assert "level=error" not in exporter.logs
    resident = parse_text(await exporter.scrape()).value("process_resident_memory_bytes") or 0
    assert resident < 256 * 1024 * 1024
    assert await exporter.stop() == 0


async def _first_line(port: int, data: bytes) -> str:
    """The first line of the answer to bytes; empty when the connection ends without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return (await asyncio.wait_for(reader.readline(), 10)).decode()
    except ConnectionError:
        return ""
    finally:
        writer.transport.abort()
