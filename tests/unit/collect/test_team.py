import asyncio
import gc
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from exporter.catalog import TASK_STATUSES, Operation
from exporter.collect.history import ATTEMPTS_KEPT
from exporter.collect.quotas import INTERVAL as QUOTAS_INTERVAL
from exporter.collect.quotas import RETRY as QUOTAS_RETRY
from exporter.collect.team import RECENT
from exporter.errors import (
    ClientRefused,
    Forbidden,
    NotFound,
    PlatformError,
    RateLimited,
    RequestTimeout,
    ServerFailed,
    Unauthorized,
)
from exporter.expose import families
from exporter.expose.series_store import SeriesStore
from exporter.platform.pacing import MAX_RETRY_AFTER
from exporter.status import FleetStatus, QuotaStatus
from fixtures import NOW, TEAM_ID, FakeClient, Rig, make_team
from support import Samples

TASKS, AGENTS = "/r/tasks", "/r/agents"


def agent(name: str = "a", *labels: str) -> dict[str, Any]:
    return {"agent_id": name, "agent_status": "idle", "agent_labels": labels}


def waiting(*labels: str) -> dict[str, Any]:
    return {"id": f"t-{labels}", "task_status": "waiting", "agent_labels": labels}


@pytest.fixture
def client() -> FakeClient:
    return FakeClient(agents=[agent("a", "gpu")], tasks={"waiting": [waiting("gpu"), waiting("h100")]})


@pytest.fixture
def rig(client: FakeClient) -> Rig:
    return Rig.of(client)


def up(found: Samples) -> dict[str, float | None]:
    collectors = ("tasks", "agents")
    successes = {
        name: found.value("cyberun_collector_success", team_name="render", collector=name) for name in collectors
    }
    return {"up": found.value("cyberun_up", team_name="render"), **successes}


def eligible(found: Samples) -> float | None:
    return found.value("cyberun_tasks_without_eligible_agent", team_name="render")


async def test_one_poll(rig: Rig) -> None:
    """A successful poll of both lists makes the team up; the number of its series is the number exposed."""
    found = await rig.poll()
    assert up(found) == {"up": 1, "tasks": 1, "agents": 1}
    assert found.value("cyberun_tasks", team_name="render", status="waiting") == 2
    assert found.value("cyberun_agents", team_name="render", status="idle") == 1
    domain = ("cyberun_task", "cyberun_agent", "cyberun_team")
    shown = sum(name.startswith(domain) for name, _ in found.values)
    assert found.value("cyberun_exporter_series", team_name="render") == shown


async def test_before_the_first_poll(rig: Rig) -> None:
    """A team that was never polled is down and has only series about the exporter."""
    found = await rig.scrape()
    assert up(found) == {"up": 0, "tasks": 0, "agents": 0}
    assert not found.series("cyberun_team_info")
    assert found.value("cyberun_exporter_series", team_name="render") == 0


@pytest.mark.parametrize(
    ("kind", "path", "asked"),
    [
        ("integration", None, "/r/agents"),
        ("device", None, "/agents"),
        ("jwt", None, "/agents"),
        ("device", "/r/agents", "/r/agents"),
    ],
)
async def test_agents_path(client: FakeClient, kind: str, path: str | None, asked: str) -> None:
    """Integration keys use only runtime paths, never a management path; other credentials use both."""
    await Rig.of(client, kind=kind, agents_path=path).poll()
    paths = {path for path, _ in client.requests}
    assert paths == {TASKS, asked, *(["/users/me"] if kind != "integration" else [])}


async def test_queries(client: FakeClient, rig: Rig) -> None:
    """Lists are requested page by page, with the largest page size, and tasks by status."""
    await rig.poll()
    assert (AGENTS, {"current_page": 1, "per_page": 100}) in client.requests
    assert (TASKS, {"status": "waiting", "current_page": 1, "per_page": 100}) in client.requests


# --- Isolation and freshness --------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "failed", "other"), [(TASKS, "tasks", "agents"), (AGENTS, "agents", "tasks")])
async def test_a_failing_list_costs_itself(client: FakeClient, rig: Rig, path: str, failed: str, other: str) -> None:
    """While one list fails the other is polled as usual; data of the failing one is shown until it is stale."""
    series = {"tasks": "cyberun_tasks", "agents": "cyberun_agents"}
    await rig.poll()
    client.failures[path] = ServerFailed("500")
    ends = rig.client.clock.elapsed + 120
    found = await rig.poll(after=30.0)
    assert up(found) == {"up": 0, failed: 0, other: 1}
    assert found.series(series[failed])
    assert (
        found.value("cyberun_exporter_api_request_failures_total", team_name="render", path=path, reason="http_5xx")
        == 1
    )
    client.clock.elapsed = ends - 0.001
    await rig.team.poll()
    assert (await rig.scrape()).series(series[failed])
    client.clock.elapsed = ends
    found = await rig.scrape()
    assert not found.series(series[failed])
    assert found.series(series[other])
    assert found.series("cyberun_team_info")
    assert not found.series("cyberun_tasks_without_eligible_agent")


async def test_recovery(client: FakeClient, rig: Rig) -> None:
    """Once the platform answers again the team is up, and no counter has decreased."""
    await rig.poll()
    client.failures = {TASKS: ServerFailed("500"), AGENTS: ServerFailed("500")}
    assert up(await rig.poll(after=30.0)) == {"up": 0, "tasks": 0, "agents": 0}
    client.failures = {}
    found = await rig.poll(after=30.0)
    assert up(found) == {"up": 1, "tasks": 1, "agents": 1}
    assert found.value("cyberun_exporter_api_requests_total", team_name="render", path=AGENTS) == 3


async def test_undecodable_answer_is_counted_where_it_was_found(client: FakeClient, rig: Rig) -> None:
    """A body that arrives but cannot be parsed counts as a failed request of its path."""
    client.raw[(AGENTS, "")] = b"<html>"
    client.raw[(TASKS, "running")] = b"{}"
    found = await rig.poll()
    name = "cyberun_exporter_api_request_failures_total"
    assert found.value(name, team_name="render", path=AGENTS, reason="decode") == 1
    assert found.value(name, team_name="render", path=TASKS, reason="schema") == 1


async def test_unknown_values_are_counted_also_when_the_poll_fails(client: FakeClient, rig: Rig) -> None:
    """Dropped values are counted whether or not the poll succeeds."""
    client.agents = [{**agent(), "agent_status": "new", "gpu_capacity": "many"}]
    client.raw[(TASKS, "failed")] = b"{}"
    client.tasks = {"pending": [{"id": "t", "retry_count": -1}]}
    found = await rig.poll()
    counts = {
        field: found.value("cyberun_exporter_unknown_values_total", field=field)
        for field in ("agent_status", "gpu_capacity", "retry_count", "id")
    }
    assert counts == {"agent_status": 1, "gpu_capacity": 1, "retry_count": 1, "id": 0}


async def test_our_own_mistake_fails_one_list_loudly(
    client: FakeClient, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """An unforeseen error fails only the list where it happened; it is counted, and logged with its traceback."""

    def stumble(path: str, _: Mapping[str, str | int]) -> None:
        if path == TASKS:
            raise ZeroDivisionError

    client.before = stumble
    found = await rig.poll()
    assert up(found) == {"up": 0, "tasks": 0, "agents": 1}
    assert internal_errors(found) == {"tasks": 1}
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.levelno == logging.ERROR
    assert rig.collector("tasks").attempts[0].reason == "internal"


def internal_errors(found: Samples) -> dict[str, float]:
    """The number of internal errors by operation, without zeros."""
    name = "cyberun_exporter_internal_errors_total"
    counts = {operation: found.value(name, operation=operation) for operation in Operation}
    return {operation.value: count for operation, count in counts.items() if count}


async def test_our_own_mistakes_at_what_is_optional(client: FakeClient) -> None:
    """An internal error in quotas or workflow names is counted and affects no list."""

    def stumble(path: str, _: Mapping[str, str | int]) -> None:
        if path in {"/users/me", "/r/workflows"}:
            raise ZeroDivisionError

    client.before = stumble
    rig = Rig.of(client, kind="device", workflows=5)
    found = await rig.poll()
    assert up(found)["up"] == 1
    assert internal_errors(found) == {"quotas": 1, "workflows": 1}


@pytest.mark.parametrize("part", ["add_assignment", "add_team"])
async def test_our_own_mistake_at_publishing(
    client: FakeClient, rig: Rig, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """An error while rendering is counted; the lists stay up, and later polls continue."""
    with monkeypatch.context() as patch:
        patch.setattr(families, part, lambda *_: 1 / 0)
        found = await rig.poll()
    assert up(found)["up"] == 1
    assert internal_errors(found) == {"publishing": 1}
    assert len(client.requests) > 0
    found = await rig.poll()
    assert eligible(found) == 1
    assert found.series("cyberun_team_info")


async def test_cancellation_ends_a_poll(client: FakeClient, rig: Rig) -> None:
    """A cancelled poll ends, records nothing and can be followed by another."""
    client.gate = asyncio.Event()
    poll = asyncio.create_task(rig.team.poll())
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(client.requests) == 2
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    assert rig.collector("tasks").attempts == ()
    client.gate.set()
    assert up(await rig.poll())["up"] == 1


# --- Holding back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TASKS, AGENTS])
@pytest.mark.parametrize(("asked", "held"), [(60.0, 60.0), (0.5, 0.5), (MAX_RETRY_AFTER, MAX_RETRY_AFTER)])
async def test_retry_after_holds_both_lists(client: FakeClient, rig: Rig, path: str, asked: float, held: float) -> None:
    """When the platform asks for a wait, neither list of the team is requested until then, at most 15 minutes."""
    await rig.poll()
    client.failures[path] = RateLimited("429", retry_after=asked)
    found = await rig.poll(after=30.0)
    until = client.clock.elapsed + held
    assert found.value("cyberun_exporter_api_backoff_until_timestamp_seconds", team_name="render") == NOW + until
    count = len(client.requests)
    client.clock.elapsed = until - 0.001
    await rig.team.poll()
    assert len(client.requests) == count
    client.failures = {}
    client.clock.elapsed = until
    found = await rig.poll()
    assert up(found)["up"] == 1
    assert not found.series("cyberun_exporter_api_backoff_until_timestamp_seconds")


async def test_retry_after_holds_the_quotas(client: FakeClient) -> None:
    """A team that was asked to wait requests nothing at all, not even quotas."""
    rig = Rig.of(client, kind="device")
    client.failures = {"/users/me": RequestTimeout("no answer")}
    await rig.poll()
    client.failures = {"/agents": RateLimited("429", retry_after=900)}
    await rig.poll(after=30.0)
    await rig.poll(after=QUOTAS_RETRY)
    assert client.asked("/users/me") == 1


async def test_a_team_that_is_gone_publishes_nothing(rig: Rig) -> None:
    """A poll that ends after its team was removed does not publish the team's series again."""
    rig.team.retire()
    await rig.poll()
    assert rig.team.status(None).series == 0


async def test_backoff_of_one_list_leaves_the_other(client: FakeClient, rig: Rig) -> None:
    """After three failures in a row the failing list is polled less often; the other one as usual."""
    client.failures[TASKS] = RequestTimeout("no answer")
    for _ in range(4):
        await rig.poll(after=30.0)
    assert client.asked(TASKS) == 3
    assert client.asked(AGENTS) == 4
    assert rig.collector("agents").backoff_until is None
    assert rig.collector("tasks").backoff_until is not None


# --- Eligibility --------------------------------------------------------------------------------------------


async def test_eligibility(client: FakeClient, rig: Rig) -> None:
    """Waiting tasks are compared with the agents as last read, whichever list was read later."""
    assert eligible(await rig.poll()) == 1
    client.agents = [agent("a", "gpu"), agent("b", "h100", "gpu")]
    assert eligible(await rig.poll(after=30.0)) == 0
    client.agents = []
    assert eligible(await rig.poll(after=30.0)) == 2


@pytest.mark.parametrize("path", [TASKS, AGENTS])
async def test_no_eligibility_without_both_lists(client: FakeClient, rig: Rig, path: str) -> None:
    """While either list was never read, there is no metric that needs both."""
    client.failures[path] = ServerFailed("500")
    assert eligible(await rig.poll()) is None


@pytest.mark.parametrize("labels", [[], None])
async def test_no_eligibility_where_labels_are_not_known(
    client: FakeClient, rig: Rig, labels: list[str] | None
) -> None:
    """If tasks wait and none says what it requires, the series is absent, which is not the same as 0."""
    assert eligible(await rig.poll()) == 1
    client.tasks = {"waiting": [{"id": "t", "task_status": "waiting", "agent_labels": labels}]}
    assert eligible(await rig.poll(after=30.0)) is None
    client.tasks = {}
    assert eligible(await rig.poll(after=30.0)) == 0


# --- Tasks and the agents they run on -----------------------------------------------------------------------


def running(task_id: str, agent_id: str | None) -> dict[str, Any]:
    return {"id": task_id, "task_status": "running", "agent_id": agent_id}


def absent(found: Samples) -> float | None:
    return found.value("cyberun_tasks_on_absent_agents", team_name="render")


async def test_tasks_on_absent_agents(client: FakeClient) -> None:
    """Running tasks whose agent is not listed count, agents beyond the limit included; tasks without agent do not."""
    client.agents = [agent("a"), agent("b")]
    client.tasks = {"running": [running("1", "a"), running("2", "b"), running("3", "gone"), running("4", None)]}
    rig = Rig.of(client, max_agents=1)
    assert absent(await rig.poll()) == 1
    client.agents = []
    assert absent(await rig.poll(after=30.0)) == 3


@pytest.mark.parametrize("short", ["tasks", "agents"])
async def test_absent_agents_need_both_lists_complete(client: FakeClient, rig: Rig, short: str) -> None:
    """While one list could not be read completely, tasks on absent agents are unknown."""
    client.tasks = {"running": [running("1", "gone")]}
    name, status = ("agent_list", "") if short == "agents" else ("task_list", "waiting")
    client.raw[(AGENTS if short == "agents" else TASKS, status)] = json.dumps(
        {name: [{"agent_id": "a", "id": "x"}], "page_meta": {"total_count": 9}}
    ).encode()
    assert absent(await rig.poll()) is None


async def test_failed_tasks_by_agent(client: FakeClient, rig: Rig) -> None:
    """Each failed task counts once, for its agent; every listed agent starts at 0; one that left has no series."""

    def failed(found: Samples) -> dict[str, float | None]:
        name = "cyberun_agent_tasks_failed_total"
        return {each["agent_id"]: found.value(name, **each) for each in found.series(name)}

    def ended(task_id: str, agent_id: str) -> dict[str, Any]:
        return {"id": task_id, "task_status": "failed", "agent_id": agent_id, "created_at": "2025-02-10T13:00:00Z"}

    client.agents = [agent("a"), agent("b")]
    client.tasks = {"failed": [ended("1", "a")]}
    assert failed(await rig.poll()) == {"a": 0, "b": 0}
    client.tasks = {"failed": [ended("3", "b"), ended("2", "a"), ended("1", "a")]}
    assert failed(await rig.poll(after=30.0)) == {"a": 1, "b": 1}
    client.agents = [agent("b")]
    assert failed(await rig.poll(after=30.0)) == {"b": 1}
    client.agents = [agent("a"), agent("b")]
    assert failed(await rig.poll(after=30.0)) == {"a": 1, "b": 1}


# --- Quotas and the team ------------------------------------------------------------------------------------


def quotas(found: Samples) -> dict[str, float | None]:
    return {each["quota"]: found.value("cyberun_team_quota", **each) for each in found.series("cyberun_team_quota")}


def failures(found: Samples, reason: str) -> float | None:
    name = "cyberun_exporter_api_request_failures_total"
    return found.value(name, team_name="render", path="/users/me", reason=reason)


async def test_quotas_are_read_once_an_hour(client: FakeClient) -> None:
    """Limits change rarely: they are read at the first poll and an hour later."""
    client.me = {"feature_flags": {"teams": {TEAM_ID: {"quotas": {"max_agents": 4}}, "b": {"max_agents": 1}}}}
    rig = Rig.of(client, kind="jwt")
    assert quotas(await rig.poll()) == {"teams.max_agents": 4}
    assert rig.team.status(None).quotas == QuotaStatus(limits=1)
    client.me = {"feature_flags": {"account": {"quotas": {"max_owned_teams": 8}}}}
    assert quotas(await rig.poll(after=QUOTAS_INTERVAL - 1)) == {"teams.max_agents": 4}
    assert quotas(await rig.poll(after=1.0)) == {"account.max_owned_teams": 8}
    assert client.asked("/users/me") == 2


async def test_integration_keys_do_not_ask_for_quotas(client: FakeClient, rig: Rig) -> None:
    """Integration keys never request quotas."""
    await rig.poll()
    assert (client.asked("/users/me"), rig.team.status(None).quotas) == (0, None)


@pytest.mark.parametrize(
    "error",
    [NotFound("404"), Forbidden("403"), Unauthorized("401"), ClientRefused("405")],
    ids=str,
)
async def test_quotas_that_are_refused(client: FakeClient, error: PlatformError) -> None:
    """A platform that lacks or refuses /users/me is asked again in an hour, and that is not a failure."""
    client.failures["/users/me"] = error
    rig = Rig.of(client, kind="device")
    found = await rig.poll()
    assert (quotas(found), up(found)["up"], failures(found, error.reason)) == ({}, 1, 0)
    assert rig.team.status(None).quotas == QuotaStatus(limits=0, reason=error.reason, error=str(error))
    await rig.poll(after=QUOTAS_INTERVAL - 1)
    assert client.asked("/users/me") == 1
    client.failures, client.me = {}, {"feature_flags": {"global": {"quotas": {"max_users": 3}}}}
    assert quotas(await rig.poll(after=1.0)) == {"global.max_users": 3}


async def test_quotas_that_could_not_be_read_are_asked_for_again_soon(client: FakeClient) -> None:
    """After a temporary failure, which is counted, quotas are requested again sooner."""
    rig = Rig.of(client, kind="device")
    client.failures["/users/me"] = RequestTimeout("no answer")
    found = await rig.poll()
    assert (quotas(found), up(found)["up"], failures(found, "timeout")) == ({}, 1, 1)
    client.failures = {}
    await rig.poll(after=QUOTAS_RETRY - 1)
    assert client.asked("/users/me") == 1
    await rig.poll(after=1.0)
    assert client.asked("/users/me") == 2


@pytest.mark.parametrize(("asked", "waits"), [(600.0, 600.0), (1.0, QUOTAS_RETRY)])
async def test_a_wait_for_quotas_holds_nothing_else(client: FakeClient, asked: float, waits: float) -> None:
    """A wait requested by the optional /users/me concerns only that path."""
    rig = Rig.of(client, kind="device")
    client.failures["/users/me"] = RateLimited("429", retry_after=asked)
    found = await rig.poll()
    assert not found.series("cyberun_exporter_api_backoff_until_timestamp_seconds")
    for _ in range(2):
        assert up(await rig.poll(after=(waits - 1) / 2))["up"] == 1
    assert (client.asked("/agents"), client.asked("/users/me")) == (3, 1)
    await rig.poll(after=1.0)
    assert client.asked("/users/me") == 2


async def test_a_mistake_of_ours_in_quotas_ends_no_poll(client: FakeClient, caplog: pytest.LogCaptureFixture) -> None:
    """An unforeseen error while quotas are read affects only the quotas, and is logged."""

    def stumble(path: str, _: Mapping[str, str | int]) -> None:
        if path == "/users/me":
            raise ZeroDivisionError

    client.before = stumble
    rig = Rig.of(client, kind="device")
    found = await rig.poll()
    assert (quotas(found), up(found)["up"]) == ({}, 1)
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


@pytest.mark.parametrize(
    "me", [None, [], "x", {"feature_flags": {"global": {"quotas": {"gpus": 10**400}}}}, {"team_list": [[]]}]
)
async def test_quotas_of_any_shape(client: FakeClient, me: Any) -> None:
    """A meaningless answer of /users/me affects only the quotas."""
    client.me = me
    found = await Rig.of(client, kind="device").poll()
    assert (quotas(found), up(found)["up"]) == ({}, 1)


@pytest.mark.parametrize(("team_id", "shown"), [(None, ""), (TEAM_ID, TEAM_ID)])
async def test_team_info(client: FakeClient, team_id: str | None, shown: str) -> None:
    """The team's configured id and the kind of its credential; the id is empty where none is configured."""
    found = await Rig.of(client, team_id=team_id, kind="device").poll()
    assert found.value("cyberun_team_info", team_name="render", team_id=shown, credential_kind="device") == 1


async def test_other_rules(client: FakeClient, rig: Rig) -> None:
    """A team with changed rules and another client keeps its data, counters and failures."""
    await rig.poll()
    client.failures[TASKS] = ServerFailed("500")
    await rig.poll(after=30.0)
    other = FakeClient(client.team, client.counters, client.clock, agents=[agent("b")], failures=client.failures)
    rig.team.reconfigure(replace(rig.team.rules, stale_after=99.0, interval=10.0), other.asking())
    found = await rig.poll(after=30.0)
    count = len(client.requests)
    assert found.value("cyberun_tasks", team_name="render", status="waiting") == 2
    assert found.value("cyberun_agent_connected", team_name="render", agent_id="a") == 0
    assert found.value("cyberun_collector_interval_seconds", team_name="render", collector="tasks") == 10
    assert found.value("cyberun_exporter_api_requests_total", team_name="render", path=AGENTS) == 3
    assert (rig.collector("tasks").failures_in_a_row, len(client.requests)) == (2, count)
    client.clock.advance(99.0)
    assert not (await rig.scrape()).series("cyberun_agents")


async def test_another_age_applies_at_once(rig: Rig) -> None:
    """What is older than a reload allows is withheld, and what it allows again is served again, before any poll."""

    async def served() -> tuple[bool, bool, bool, float | None]:
        found = await rig.scrape()
        names = ("cyberun_tasks", "cyberun_agents", "cyberun_tasks_on_absent_agents")
        tasks, agents, assignment = (bool(found.series(name)) for name in names)
        assert (rig.team.status(None).fleet == FleetStatus()) is not tasks
        return tasks, agents, assignment, up(found)["up"]

    def reload(stale_after: float) -> None:
        rig.team.reconfigure(replace(rig.team.rules, stale_after=stale_after), rig.client.asking())

    reload(60.0)
    assert await served() == (False, False, False, 0)
    await rig.poll()
    rig.client.clock.advance(30.0)
    assert await served() == (True, True, True, 1)
    reload(20.0)
    assert await served() == (False, False, False, 0)
    reload(31.0)
    assert await served() == (True, True, True, 1)
    rig.client.clock.advance(1.0)
    assert await served() == (False, False, False, 0)


# --- One poll at a time -------------------------------------------------------------------------------------


async def test_polls_never_overlap(client: FakeClient, rig: Rig) -> None:
    """Two simultaneous requests for a poll cause two polls, one after the other."""
    under_way, most = 0, 0
    real = rig.team._poll

    async def watched() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await real()
        under_way -= 1

    rig.team._poll = watched  # type: ignore[method-assign]  # watched
    await asyncio.gather(rig.team.poll(), rig.team.poll())
    assert (most, client.asked(AGENTS)) == (1, 2)


async def test_recent_poll_answers_who_asks(client: FakeClient, rig: Rig) -> None:
    """A request within a second after a poll is answered with that poll's data."""
    await asyncio.gather(rig.team.poll_unless_recent(), rig.team.poll_unless_recent())
    assert client.asked(AGENTS) == 1
    client.clock.advance(RECENT - 0.01)
    await rig.team.poll_unless_recent()
    assert client.asked(AGENTS) == 1
    client.clock.advance(0.01)
    await rig.team.poll_unless_recent()
    assert client.asked(AGENTS) == 2


# --- The log ------------------------------------------------------------------------------------------------


async def test_log_tells_transitions(client: FakeClient, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """One line is logged when the team goes up or down, with the error message; none while nothing changes."""
    caplog.set_level(logging.INFO)

    async def told() -> list[tuple[str, str]]:
        caplog.clear()
        await rig.poll(after=30.0)
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    assert await told() == [("INFO", "team is up")]
    assert await told() == []
    client.failures[TASKS] = ServerFailed("GET /r/tasks: 500")
    assert await told() == [("WARNING", "team is down")]
    assert "GET /r/tasks: 500" in str(vars(caplog.records[0]))
    assert await told() == []
    client.failures = {}
    assert await told() == [("INFO", "team is up")]


async def test_log_tells_slow_polls(client: FakeClient, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A poll that takes longer than the interval is logged."""
    client.seconds = 10.0
    await rig.poll()
    assert "slow poll" in [record.getMessage() for record in caplog.records]


async def test_waiting_for_a_turn_is_a_part_of_the_poll(
    client: FakeClient, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """A request rate too low for the intervals shows in the durations, the log and the start times of polls."""
    client.turn_seconds, began = 40.0, client.clock.clock.wall()
    await rig.poll()
    assert "slow poll" in [record.getMessage() for record in caplog.records]
    for collector in rig.team.status(None).collectors:
        assert collector.attempts[0].duration == 40.0
        assert collector.last_attempt_at == began


async def test_the_fleet_in_one_line() -> None:
    """Waiting and running tasks and GPUs in use are shown while fresh; what no agent reports is unknown."""
    waiting = [{"id": f"w{number}"} for number in range(3)]
    agents = [{"agent_id": "a", "running_count": 2, "gpu_capacity": 4}, {"agent_id": "b"}]
    client = FakeClient(tasks={"waiting": waiting, "queued": [{"id": "q"}], "running": [{"id": "r"}]}, agents=agents)
    rig = Rig.of(client, stale_after=60.0)
    assert rig.team.status(None).fleet == FleetStatus()
    await rig.poll()
    assert rig.team.status(None).fleet == FleetStatus(4, 1, 2, 2, 4)
    client.agents = [{"agent_id": "b"}]
    await rig.poll(30.0)
    assert rig.team.status(None).fleet == FleetStatus(4, 1, 1, None, None)
    client.clock.advance(60.0)
    assert rig.team.status(None).fleet == FleetStatus()


@pytest.mark.parametrize(("kind", "ends"), [("integration", 1e9), ("jwt", NOW + 7200)])
def test_the_end_of_a_credential(kind: str, ends: float) -> None:
    """A JWT carries its expiry; for a key it may be configured."""
    team = make_team(FakeClient(), kind=kind, token_expires=1e9)
    assert team.status(None).credential_expires_at == ends


async def test_what_is_kept_between_polls_is_few_objects() -> None:
    """Between polls a team keeps few objects, because with thousands of teams garbage collection stalls the loop."""
    clients = [FakeClient(f"t{n}", agents=[agent("a", "gpu"), agent("b")]) for n in range(40)]
    for client in clients:
        client.tasks = {status: [{"id": f"{status} {n}"} for n in range(9)] for status in TASK_STATUSES}
    store = SeriesStore(clients[0].clock.clock.monotonic)
    teams = [make_team(client, store=store) for client in clients]
    await teams.pop().poll()  # fills what is common to all teams
    gc.collect()
    before = len(gc.get_objects())
    for team in teams:
        for _ in range(ATTEMPTS_KEPT):
            await team.poll()
    for client in clients:
        client.requests.clear()
    gc.collect()
    assert (len(gc.get_objects()) - before) / len(teams) < 30  # what Python tracks differs by version
