"""Each alert, end to end: the platform gets into a condition, a real Prometheus fires, a real Alertmanager delivers.

The rules are the committed ones, sped up: a minute of `for`, `keep_firing_for` and every range is a fifth of a
second. Thresholds are unchanged, because the simulated platform can make a task or a heartbeat as old as needed.
"""

import asyncio
import json
import math
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import yaml
from aiohttp import web

from exporter.catalog import EXPORTER_METRICS, Kind
from exporter.config.types import format_duration, parse_duration
from exporter.demo import SimulatedPlatform, SimulatedTeam
from support import (
    AlertmanagerFactory,
    ExporterFactory,
    PrometheusFactory,
    RunningExporter,
    RunningPrometheus,
    wait_until,
)
from support.rules import ALERTS, FILES, FOLDER
from support.sessions import SignedIn

QUICKER: Final = 300
LONGEST: Final = 12.0
PATIENCE: Final = 60.0
Key = tuple[str, str]
"""An alert's name and the team it is about, "" where there is none."""


def quick(rules: str) -> str:
    """A rule file with all its durations divided by `QUICKER`, and nothing that waits for more than `LONGEST`."""

    def shorter(duration: str, *, most: float = math.inf) -> str:
        return format_duration(min(parse_duration(duration) / QUICKER, most))

    document = yaml.safe_load(rules)
    for rule in (rule for group in document["groups"] for rule in group["rules"]):
        for key in {"for", "keep_firing_for"} & rule.keys():
            rule[key] = shorter(rule[key], most=LONGEST)
        rule["expr"] = re.sub(r"\[(\w+)\]", lambda match: f"[{shorter(match[1])}]", rule["expr"])
    return yaml.safe_dump(document, sort_keys=False)


@dataclass
class Inbox:
    """What Alertmanager delivered, by alert: the last status. Mutable."""

    url: str = ""
    history: list[tuple[Key, str]] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        """Takes one notification."""
        for alert in (await request.json())["alerts"]:
            labels = alert["labels"]
            self.history.append(((labels["alertname"], labels.get("team_name", "")), alert["status"]))
        return web.Response()

    def status(self, key: Key) -> str | None:
        """The last status of an alert; None if it was never delivered."""
        return next((status for each, status in reversed(self.history) if each == key), None)

    async def until(self, status: str, *keys: Key) -> None:
        """Waits until all of them were delivered in this status."""

        async def all_are() -> bool:
            return all(self.status(key) == status for key in keys)

        try:
            await wait_until(all_are, within=PATIENCE)
        except TimeoutError:
            missing = {key: self.status(key) for key in keys if self.status(key) != status}
            raise AssertionError(f"not {status}: {missing}; {self.history}") from None


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    """A server that takes Alertmanager's notifications."""
    box = Inbox()
    app = web.Application()
    app.router.add_post("/{receiver}", box.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield box
    await runner.cleanup()


def delivering(inbox: Inbox) -> dict[str, Any]:
    """A configuration of Alertmanager that delivers each alert separately, at once and without inhibition."""
    quickly = {"group_by": ["..."], "group_wait": "100ms", "group_interval": "500ms", "repeat_interval": "1h"}
    return {
        "route": {"receiver": "inbox", **quickly},
        "receivers": [{"name": "inbox", "webhook_configs": [{"url": f"{inbox.url}/all"}]}],
    }


# --- Conditions: what gets a team into an alert, and out of it ---


@dataclass(frozen=True, slots=True)
class Scenario:
    """One alert, caused in a team of its own, which has one idle agent at first."""

    alert: str
    begin: Callable[[SimulatedPlatform, SimulatedTeam], None]
    end: Callable[[SimulatedPlatform, SimulatedTeam], None]
    also: tuple[str, ...] = ()
    """Alerts that rightly come with it."""

    @property
    def team(self) -> str:
        """The team it happens to."""
        return self.alert.removeprefix("Cyberun")


AGENT: Final = "gpu-node-01"
TEAM: Final = "team_name"
_GIB: Final = 1024**3


def agent(**fields: Any) -> Callable[[SimulatedPlatform, SimulatedTeam], None]:
    """Changes the team's agent."""
    return lambda _, team: team.update_agent(AGENT, **fields)


def add_task(count: int = 1, *, age: float = 0, **fields: Any) -> Callable[[SimulatedPlatform, SimulatedTeam], None]:
    """Adds tasks that were created, and started if they have, so many seconds ago."""

    def act(_: SimulatedPlatform, team: SimulatedTeam) -> None:
        then = time.time() - age
        times: dict[str, Any] = {"created_at": then, "started_at": then if fields["status"] == "running" else None}
        team.add_tasks(count, **fields, **times)

    return act


def no_tasks(_: SimulatedPlatform, team: SimulatedTeam) -> None:
    """Removes all tasks of the team."""
    team.clear_tasks()


def fault(kind: str, value: Any) -> Callable[[SimulatedPlatform, SimulatedTeam], None]:
    """Switches a fault on for the team."""
    return lambda platform, team: void(platform.faults.set(kind, team=team.name, value=value))


def no_fault(platform: SimulatedPlatform, team: SimulatedTeam) -> None:
    """Switches the team's faults off."""
    for each in platform.faults:
        if each.team == team.name:
            platform.faults.clear(each.kind, team=each.team, path=each.path)


def all_of(*acts: Callable[[SimulatedPlatform, SimulatedTeam], None]) -> Callable[..., None]:
    """One act after the other."""
    return lambda platform, team: void(*(act(platform, team) for act in acts))


def void(*_: object) -> None:
    """Nothing."""


def gpu(free: int) -> dict[str, Any]:
    """System statistics with one GPU."""
    return {"gpu_devices": [{"device_name": "L40S", "device_type": "cuda", "vram_total": 48 * _GIB, "vram_free": free}]}


def finish(_: SimulatedPlatform, team: SimulatedTeam) -> None:
    """Lets tasks end, half of them in failure."""
    for status in ("completed", "failed"):
        team.add_tasks(15, status=status)


def reconnect(_: SimulatedPlatform, team: SimulatedTeam) -> None:
    """Reconnects the team's agent."""
    team.add_agent(AGENT)


BLIND: Final = ("CyberunTeamDown", "CyberunDataStale")
SCENARIOS: Final = (
    Scenario("CyberunTeamDown", fault("status", 500), no_fault, also=("CyberunDataStale",)),
    Scenario("CyberunDataStale", fault("hang", None), no_fault, also=("CyberunTeamDown",)),
    Scenario("CyberunAuthFailing", fault("status", 401), no_fault, also=BLIND),
    Scenario("CyberunRateLimited", fault("status", 429), no_fault, also=BLIND),
    Scenario("CyberunListTruncated", fault("total", "+5"), no_fault),
    Scenario(
        "CyberunSeriesDropped",
        lambda _, team: void(team.add_agents(5, prefix="extra-")),
        all_of(lambda _, team: team.clear_agents(), reconnect),
        also=("CyberunAgentDisconnected",),
    ),
    Scenario("CyberunTasksWaitingTooLong", add_task(age=1200, status="waiting"), no_tasks),
    Scenario("CyberunTasksWithoutEligibleAgent", add_task(status="waiting", labels=["gpu", "b300"]), no_tasks),
    Scenario("CyberunTasksOnAbsentAgents", add_task(status="running", agent_id="gone"), no_tasks),
    Scenario("CyberunFailureRatioHigh", finish, void),
    Scenario(
        "CyberunAgentFailureRatioHigh", lambda _, team: void(team.add_tasks(10, status="failed", agent_id=AGENT)), void
    ),
    Scenario("CyberunTaskRunningTooLong", add_task(age=15000, status="running"), no_tasks),
    Scenario(
        "CyberunNoAgents",
        all_of(lambda _, team: team.clear_agents(), add_task(status="pending")),
        all_of(reconnect, no_tasks),
        also=("CyberunAgentDisconnected",),
    ),
    Scenario("CyberunAgentDisconnected", lambda _, team: team.remove_agent(AGENT), reconnect),
    Scenario(
        "CyberunAgentHeartbeatOld",
        lambda _, team: team.update_agent(AGENT, last_heartbeat=time.time() - 600),
        lambda _, team: team.update_agent(AGENT, last_heartbeat=time.time()),
    ),
    Scenario("CyberunAgentUnhealthy", agent(status="unhealthy"), agent(status="idle")),
    Scenario("CyberunAgentSyncingTooLong", agent(status="syncing"), agent(status="idle")),
    Scenario("CyberunAgentTunnelTooLong", agent(status="tunnel"), agent(status="idle")),
    Scenario(
        "CyberunGpuSaturated",
        all_of(agent(status="busy", running_count=1), add_task(status="waiting")),
        no_tasks,
    ),
    Scenario("CyberunRunningExceedsCapacity", agent(running_count=2), agent(running_count=1)),
    Scenario("CyberunVramLow", agent(system_stats=gpu(_GIB)), agent(system_stats=gpu(40 * _GIB))),
)


# --- The rig ---


@dataclass
class Rig:
    """Everything that runs. Mutable: scenarios change the platform."""

    platform: SimulatedPlatform
    exporter: RunningExporter
    prometheus: RunningPrometheus
    inbox: Inbox
    targets: Path

    def scrape(self, *exporters: RunningExporter) -> None:
        """Makes Prometheus scrape these from now on."""
        addresses = [exporter.url.removeprefix("http://") for exporter in exporters]
        fresh = self.targets.with_suffix(".new")
        fresh.write_text(json.dumps([{"targets": addresses}]), encoding="utf-8")
        fresh.replace(self.targets)

    async def firing(self) -> set[Key]:
        """The alerts that fire in Prometheus."""
        found = await self.prometheus.query('ALERTS{alertstate="firing"}')
        return {(series.labels["alertname"], series.labels.get("team_name", "")) for series in found}


Start = Callable[[Mapping[str, Any]], Awaitable[Rig]]


@pytest.fixture
def rig(
    platform: SimulatedPlatform,
    exporter_factory: ExporterFactory,
    prometheus: PrometheusFactory,
    alertmanager: AlertmanagerFactory,
    inbox: Inbox,
    tmp_path: Path,
) -> Start:
    """Starts an exporter with this configuration, a Prometheus with the quick rules, and an Alertmanager."""

    async def start(config: Mapping[str, Any]) -> Rig:
        exporter = await exporter_factory(config)
        await exporter.wait_ready()
        for path in FILES:
            (tmp_path / path.name).write_text(quick(path.read_text(encoding="utf-8")), encoding="utf-8")
        mails = await alertmanager(delivering(inbox))
        targets = tmp_path / "targets.json"
        found = {"job_name": "cyberun", "file_sd_configs": [{"files": [str(targets)]}]}
        address = mails.url.removeprefix("http://")
        server = await prometheus(
            {
                "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
                "rule_files": [str(tmp_path / path.name) for path in FILES],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [address]}]}]},
                "scrape_configs": [found],
            }
        )
        rig = Rig(platform, exporter, server, inbox, targets)
        rig.scrape(exporter)
        return rig

    return start


async def drive(rig: Rig, scenario: Scenario) -> None:
    """Causes one condition, waits for the alert, ends the condition, and waits until it is resolved."""
    key, team = (scenario.alert, scenario.team), rig.platform.teams[scenario.team]
    scenario.begin(rig.platform, team)
    await rig.inbox.until("firing", key)
    scenario.end(rig.platform, team)
    await rig.inbox.until("resolved", key)


async def drive_growth(rig: Rig) -> None:
    """A long queue that grows, and is then processed."""
    key, team = ("CyberunQueueGrowing", "growing"), rig.platform.teams["growing"]
    team.add_tasks(50)
    while rig.inbox.status(key) != "firing":
        team.add_tasks(5)
        await asyncio.sleep(0.5)
    team.clear_tasks()
    await rig.inbox.until("resolved", key)


async def drive_expiry(rig: Rig) -> None:
    """A session that cannot be refreshed, and is then replaced."""
    key, team = ("CyberunCredentialExpiringSoon", "session"), rig.platform.teams["session"]
    await rig.inbox.until("firing", key)
    assert team.refresh_token is not None
    rig.platform.access.refresh(team.refresh_token)
    rig.exporter.write_token(team.name, team.token)
    await rig.inbox.until("resolved", key)


async def drive_reload(rig: Rig) -> None:
    """A configuration with a mistake, then the old one again."""
    good = rig.exporter.config_path.read_text(encoding="utf-8")
    rig.exporter.config_path.write_text(good + "no_such_section: {}\n", encoding="utf-8")
    rig.exporter.send_signal(signal.SIGHUP)
    await rig.inbox.until("firing", ("CyberunConfigReloadFailed", ""))
    rig.exporter.config_path.write_text(good, encoding="utf-8")
    rig.exporter.send_signal(signal.SIGHUP)
    await rig.inbox.until("resolved", ("CyberunConfigReloadFailed", ""))


async def drive_configurations(rig: Rig, folder: Path) -> None:
    """One after the other, because both change the file."""
    await drive_reload(rig)
    await drive_discoveries(rig, folder)


async def drive_discoveries(rig: Rig, folder: Path) -> None:
    """Two credentials are added: one is refused until somebody signs in again, one finds a team with a bad name."""
    platform, exporter = rig.platform, rig.exporter
    platform.add_team("found").add_agent(AGENT)
    platform.add_team("n" * 101)
    refused = SignedIn(platform, folder / "refused", "found")
    platform.access.refresh(refused.saved)  # so what the file holds is worth nothing any more
    other = SignedIn(platform, folder / "other", "n" * 101)
    found: list[dict[str, Any]] = [
        {"name": each.path.name, "refresh_token_file": str(each.path)} for each in (refused, other)
    ]
    good = exporter.config_path.read_text(encoding="utf-8")

    def configure(text: str) -> None:
        exporter.config_path.write_text(text, encoding="utf-8")
        exporter.send_signal(signal.SIGHUP)

    configure(yaml.safe_dump({**yaml.safe_load(good), "discover": found}))
    failing, left_out = ("CyberunDiscoveryFailing", ""), ("CyberunTeamsLeftOut", "")
    await rig.inbox.until("firing", failing, left_out)
    refused.write(refused.user.refresh_token)
    found[1]["exclude"] = ["Nn+"]
    configure(yaml.safe_dump({**yaml.safe_load(good), "discover": found}))
    await rig.inbox.until("resolved", failing, left_out)
    configure(good)


async def drive_withheld(rig: Rig) -> None:
    """Alerts that fired before a team went down keep firing until it is back; none starts meanwhile."""
    team, unhealthy = rig.platform.teams["withheld"], ("CyberunAgentUnhealthy", "withheld")
    down, served = ("CyberunTeamDown", "withheld"), 'cyberun_agents{team_name="withheld"}'
    team.update_agent(AGENT, status="unhealthy")
    await rig.inbox.until("firing", unhealthy)
    rig.platform.faults.set("status", team="withheld", value=503)
    team.update_agent(AGENT, status="idle")
    await rig.inbox.until("firing", down)
    await wait_until(lambda: no_series(rig, served), within=PATIENCE)
    await asyncio.sleep(3)  # more than `for` and `keep_firing_for` of the alert take here
    assert unhealthy in await rig.firing()
    assert [status for key, status in rig.inbox.history if key == unhealthy] == ["firing"]
    rig.platform.faults.clear("status", team="withheld")
    await rig.inbox.until("resolved", unhealthy, down)


async def drive_one_list(rig: Rig) -> None:
    """While one list is down, alerts about the other end and start as usual, and the message names the list."""
    team, unhealthy = rig.platform.teams["one-list"], ("CyberunAgentUnhealthy", "one-list")
    down, syncing = ("CyberunTeamDown", "one-list"), ("CyberunAgentSyncingTooLong", "one-list")
    team.update_agent(AGENT, status="unhealthy")
    await rig.inbox.until("firing", unhealthy)
    rig.platform.faults.set("status", team="one-list", path="/r/tasks", value=503)
    await rig.inbox.until("firing", down)
    await wait_until(lambda: no_series(rig, 'cyberun_tasks{team_name="one-list"}'), within=PATIENCE)
    team.update_agent(AGENT, status="syncing")
    await rig.inbox.until("resolved", unhealthy)
    await rig.inbox.until("firing", syncing)
    lists = await rig.prometheus.query('ALERTS{alertname="CyberunTeamDown", team_name="one-list"}')
    assert [series.labels["collector"] for series in lists] == ["tasks"]
    team.update_agent(AGENT, status="idle")
    await rig.inbox.until("resolved", syncing)
    rig.platform.faults.clear("status", team="one-list", path="/r/tasks")
    await rig.inbox.until("resolved", down)


async def no_series(rig: Rig, selector: str) -> bool:
    """Whether nothing is selected now."""
    return not await rig.prometheus.query(selector)


async def drive_absence(rig: Rig) -> None:
    """The exporter is stopped, started, removed from the configuration and restored, while a task keeps waiting."""
    team, waiting = rig.platform.teams["absence"], ("CyberunTasksWaitingTooLong", "absence")
    exporter_down, absent = ("CyberunExporterDown", ""), ("CyberunExporterAbsent", "")
    team.add_task(status="waiting", created_at=time.time() - 1200)
    await rig.inbox.until("firing", waiting)
    await rig.exporter.stop()
    await rig.inbox.until("firing", exporter_down)
    assert waiting in await rig.firing()
    await rig.exporter.__aenter__()
    await rig.inbox.until("resolved", exporter_down)
    assert [status for key, status in rig.inbox.history if key == waiting] == ["firing"]
    rig.scrape()
    await rig.inbox.until("firing", absent)
    rig.scrape(rig.exporter)
    await rig.inbox.until("resolved", absent)
    team.clear_tasks()
    await rig.inbox.until("resolved", waiting)


def populate(platform: SimulatedPlatform) -> None:
    """A healthy team with one idle agent for every scenario."""
    names = [scenario.team for scenario in SCENARIOS] + ["growing", "withheld", "absence", "one-list"]
    teams = [platform.add_team(name) for name in names] + [platform.add_team("session", kind="jwt")]
    for team in teams:
        team.add_agent(AGENT, last_heartbeat=time.time() + 600)  # nobody sends heartbeats here


@pytest.mark.assumes("labels_before_assignment", "users_me")
async def test_each_alert_fires_and_resolves(platform: SimulatedPlatform, rig: Start, tmp_path: Path) -> None:
    """Every alert is delivered when its condition begins and resolved when it ends; nothing else is delivered."""
    populate(platform)
    teams = [{"name": name, "team_id": team.team_id} for name, team in platform.teams.items()]
    collect = {"interval": "2s", "stale_after": "8s", "max_agents": 3}
    running = await rig({"teams": teams, "collect": collect, "api": {"max_requests_per_second": 1000, "timeout": "1s"}})
    await wait_until(lambda: running.prometheus.query("team:cyberun_tasks:fresh"), within=PATIENCE)
    await asyncio.sleep(3)  # what would fire on a healthy fleet does so now

    async def quiet() -> bool:  # a machine that stands still for seconds makes data old
        return await running.firing() == set()

    await wait_until(quiet, within=PATIENCE)
    async with asyncio.TaskGroup() as group:
        for scenario in SCENARIOS:
            group.create_task(drive(running, scenario))
        for special in (drive_growth, drive_expiry, drive_withheld, drive_one_list):
            group.create_task(special(running))
        group.create_task(drive_configurations(running, tmp_path))
    await drive_absence(running)
    late = {(alert, name) for alert in BLIND for name in platform.teams}  # true on a machine that stands still
    assert set(dict(running.inbox.history)) <= expected() | late
    caused = {alert.name for alert in ALERTS} - {"CyberunExporterInternalErrors"}  # no platform should cause one
    assert {name for name, _ in dict(running.inbox.history)} == caused


def expected() -> set[Key]:
    """All alerts that may be delivered."""
    driven = {(alert, scenario.team) for scenario in SCENARIOS for alert in (scenario.alert, *scenario.also)}
    alone = {("CyberunExporterDown", ""), ("CyberunExporterAbsent", ""), ("CyberunConfigReloadFailed", "")}
    return (
        driven
        | alone
        | {("CyberunQueueGrowing", "growing"), ("CyberunCredentialExpiringSoon", "session")}
        | {(alert, "withheld") for alert in ("CyberunAgentUnhealthy", *BLIND)}
        | {(alert, "one-list") for alert in ("CyberunAgentUnhealthy", "CyberunAgentSyncingTooLong", *BLIND)}
        | {("CyberunTasksWaitingTooLong", "absence")}
        | {("CyberunDiscoveryFailing", ""), ("CyberunTeamsLeftOut", "")}
    )


# --- Inhibition, as alertmanager.yml has it ---


def quick_routing(inbox: Inbox) -> dict[str, Any]:
    """The committed alertmanager.yml with short group intervals, delivering everything to the inbox."""
    config: dict[str, Any] = yaml.safe_load((FOLDER / "alertmanager.yml").read_text(encoding="utf-8"))
    for route in (config["route"], *config["route"]["routes"]):
        route.update(group_wait="200ms", group_interval="500ms")
    for receiver in config["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["url"] = f"{inbox.url}/{receiver['name']}"
    return config


async def post(url: str, *alerts: Mapping[str, str]) -> None:
    """Sends firing alerts to Alertmanager, as Prometheus does."""
    severity = {alert.name: dict(alert.labels) for alert in ALERTS}
    body = [{"labels": {**severity[labels["alertname"]], **labels}} for labels in alerts]
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/v2/alerts", json=body) as answer:
        assert answer.status == 200, await answer.text()


def about(alert: str, team: str, job: str = "cyberun", **labels: str) -> dict[str, str]:
    """An alert's labels."""
    return {"alertname": alert, "job": job, "team_name": team, **labels}


@asynccontextmanager
async def quiet(inbox: Inbox) -> AsyncIterator[None]:
    """Forgets what was delivered, and after the block waits as long as deliveries take."""
    inbox.history.clear()
    yield
    await asyncio.sleep(1.5)


async def test_a_list_that_is_down_silences_its_alerts(alertmanager: AlertmanagerFactory, inbox: Inbox) -> None:
    """Alerts that need a list that is down are silenced for that team and job; other alerts and causes are not."""
    server = await alertmanager(quick_routing(inbox))
    async with quiet(inbox):
        await post(
            server.url,
            about("CyberunTeamDown", "render", collector="tasks"),
            about("CyberunTeamDown", "studio", collector="agents"),
        )
        await asyncio.sleep(0.1)
        for team in ("render", "studio", "batch"):
            await post(
                server.url,
                about("CyberunAgentUnhealthy", team),
                about("CyberunFailureRatioHigh", team),
                about("CyberunGpuSaturated", team),
                about("CyberunTasksWithoutEligibleAgent", team),
                about("CyberunDataStale", team, collector="tasks"),
                about("CyberunAuthFailing", team),
                about("CyberunFailureRatioHigh", team, job="cyberun-of-others"),
            )
        await inbox.until(
            "firing",
            *(("CyberunAuthFailing", team) for team in ("render", "studio", "batch")),
            *(("CyberunAgentUnhealthy", team) for team in ("render", "batch")),
            *(("CyberunFailureRatioHigh", team) for team in ("render", "studio", "batch")),
            ("CyberunDataStale", "studio"),
        )
    muted = {
        (alert["labels"]["team_name"], alert["labels"]["alertname"], alert["labels"]["job"])
        for alert in await server.alerts()
        if alert["status"]["inhibitedBy"]
    }
    both = ("CyberunGpuSaturated", "CyberunTasksWithoutEligibleAgent")
    assert muted == {
        *(("render", name, "cyberun") for name in ("CyberunFailureRatioHigh", "CyberunDataStale", *both)),
        *(("studio", name, "cyberun") for name in ("CyberunAgentUnhealthy", *both)),
    }
    assert not {key for key, _ in inbox.history} & {
        ("CyberunGpuSaturated", "render"),
        ("CyberunAgentUnhealthy", "studio"),
    }


async def test_an_exporter_that_is_down_silences_its_job(alertmanager: AlertmanagerFactory, inbox: Inbox) -> None:
    """While the exporter is down, all other alerts of its job are silenced."""
    server = await alertmanager(quick_routing(inbox))
    async with quiet(inbox):
        await post(server.url, {"alertname": "CyberunExporterDown", "job": "cyberun", "instance": "exporter:10042"})
        await asyncio.sleep(0.1)
        await post(server.url, about("CyberunTeamDown", "studio", collector="tasks"), about("CyberunVramLow", "studio"))
        await inbox.until("firing", ("CyberunExporterDown", ""))
    assert {key for key, _ in inbox.history} == {("CyberunExporterDown", "")}


async def test_an_absent_exporter_silences_every_job(alertmanager: AlertmanagerFactory, inbox: Inbox) -> None:
    """When no exporter is scraped at all, there is no job to compare, and only one message is sent."""
    server = await alertmanager(quick_routing(inbox))
    async with quiet(inbox):
        await post(server.url, {"alertname": "CyberunExporterAbsent"})
        await asyncio.sleep(0.1)
        await post(
            server.url,
            about("CyberunTeamDown", "render", collector="tasks"),
            about("CyberunNoAgents", "batch", job="cyberun-2"),
        )
        await inbox.until("firing", ("CyberunExporterAbsent", ""))
    assert {key for key, _ in inbox.history} == {("CyberunExporterAbsent", "")}


# --- The two example configurations ---


@pytest.fixture
def example(prometheus: PrometheusFactory) -> Callable[[str, RunningExporter], Awaitable[RunningPrometheus]]:
    """Starts a Prometheus with one of the committed configurations, sped up, scraping only this exporter."""

    async def start(name: str, exporter: RunningExporter) -> RunningPrometheus:
        text = (
            (FOLDER / name).read_text(encoding="utf-8").replace("localhost:10042", exporter.url.removeprefix("http://"))
        )
        config = yaml.safe_load(text)
        config["global"] = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(FOLDER / pattern) for pattern in config["rule_files"]]
        del config["alerting"]
        return await prometheus(config)

    return start


@pytest.mark.assumes("users_me")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prometheus.yml", {""}),
        ("prometheus-probe.yml", {"render", "batch", ""}),
    ],
)
async def test_examples_see_each_team_once(
    platform: SimulatedPlatform,
    exporter_factory: ExporterFactory,
    example: Callable[[str, RunningExporter], Awaitable[RunningPrometheus]],
    tmp_path: Path,
    name: str,
    expected: set[str],
) -> None:
    """With either example every target is up, with one job and instance; each team's series are fresh and unique."""
    for team in ("render", "batch"):
        platform.add_team(team).add_agent(AGENT)
    operator = SignedIn(platform, tmp_path / "operator", "render")
    found = {"refresh_token_file": str(operator.path), "exclude": [".*"]}
    exporter = await exporter_factory({"collect": {"interval": "1s", "stale_after": "10s"}, "discover": [found]})
    await exporter.wait_ready()
    server = await example(name, exporter)
    address = exporter.url.removeprefix("http://")

    async def scraped() -> bool:
        fresh = await server.query('{__name__=~"team:cyberun_(tasks|agents):fresh"}')
        # Each target has its own moment to be scraped first, and the rules may be ahead of the last one.
        return len(fresh) == 4 and len(await server.query("up")) == len(expected)

    await wait_until(scraped, within=PATIENCE)
    up = await server.query("up")
    assert {series.labels.get("team", ""): series.value for series in up} == dict.fromkeys(expected, 1)
    assert {(series.labels["job"], series.labels["instance"]) for series in up} == {("cyberun", address)}
    for metric in ("cyberun_up", 'cyberun_tasks{status="pending"}', "cyberun_agent_connected"):
        assert sorted(series.labels["team_name"] for series in await server.query(metric)) == ["batch", "render"]
    for about_all in (metric for metric in EXPORTER_METRICS if TEAM not in metric.label_names):
        name = about_all.name + ("_count" if about_all.kind is Kind.HISTOGRAM else "")
        assert {series.labels["instance"] for series in await server.query(name)} == {address}, name
    assert await server.query('ALERTS{alertstate="firing"}') == []
