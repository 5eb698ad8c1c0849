from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from exporter.demo import FaultError, FleetLife, SimulatedPlatform, SimulatedTeam, demo_platform
from exporter.demo.timeline import Timeline

pytestmark = pytest.mark.loopback

START = 1_800_000_000.0
FINAL = ("completed", "failed", "cancelled")
STATUSES = ("pending", "waiting", "queued", "running", *FINAL)


def everything(team: SimulatedTeam) -> tuple[list[Any], list[Any]]:
    tasks, agents = team.tasks(), team.agents()
    return tasks.cut(0, tasks.total), agents.cut(0, agents.total)


def lived(*, seed: int = 1, cuts: int = 1, seconds: float = 300) -> list[Any]:
    platform = SimulatedPlatform(clock=lambda: START)
    teams = [platform.add_team(name) for name in ("render", "batch")]
    life = FleetLife(teams, agents=9, seed=seed, start=START, history=60)
    for cut in range(1, cuts + 1):
        life.advance(START + seconds * cut / cuts)
    return [everything(team) for team in teams]


def test_repeatable() -> None:
    """The same seed gives the same life, however time is divided into steps; another seed gives another life."""
    once = lived()
    assert once == lived(cuts=1)
    assert once == lived(cuts=97)
    assert once != lived(seed=2)


def test_teams_do_not_depend_on_each_other() -> None:
    """A team with the same number of agents has the same life, whichever other teams there are."""

    def render(others: int) -> Any:
        platform = SimulatedPlatform(clock=lambda: START)
        teams = [platform.add_team(name) for name in ("render", "batch", "vfx")[: 1 + others]]
        FleetLife(teams, agents=4 * len(teams), seed=1, start=START, history=200)
        return everything(teams[0])

    assert render(0) == render(2)


def test_time_does_not_go_back() -> None:
    """Advancing to a time in the past changes nothing."""
    platform = SimulatedPlatform(clock=lambda: START)
    team = platform.add_team("render")
    life = FleetLife([team], agents=3, seed=1, start=START)
    before = everything(team)
    life.advance(START - 500)
    assert everything(team) == before


def test_timeline_order() -> None:
    """Events happen in the order of their times, simultaneous ones in the order they were set, each at its own time."""
    timeline = Timeline(100)
    seen: list[tuple[str, float]] = []
    for name, after in (("late", 5), ("first", 2), ("second", 2), ("never", 50)):
        timeline.after(after, lambda name=name: seen.append((name, timeline.now)))  # type: ignore[misc]  # a lambda's default
    timeline.after(2, lambda: timeline.after(1, lambda: seen.append(("inner", timeline.now))))
    timeline.advance(120)
    assert seen == [("first", 102), ("second", 102), ("inner", 103), ("late", 105)]


@pytest.fixture(scope="module")
def frames() -> list[dict[str, tuple[list[Any], list[Any]]]]:
    """An hour of the demonstration fleet, sampled every ten seconds."""
    now = START
    platform = demo_platform(clock=lambda: now)

    def watch() -> Iterator[dict[str, tuple[list[Any], list[Any]]]]:
        nonlocal now
        for _ in range(360):
            now += 10
            assert platform.life is not None
            platform.life.advance(now)
            yield {name: _copied(everything(team)) for name, team in platform.teams.items()}

    return list(watch())


def _copied(what: tuple[list[Any], list[Any]]) -> tuple[list[Any], list[Any]]:
    tasks, agents = what
    return tasks, [dict(agent) for agent in agents]  # a task that moves is replaced, an agent changes in place


Frames = list[dict[str, tuple[list[Any], list[Any]]]]


def test_every_status_is_seen(frames: Frames) -> None:
    """Within an hour, exactly the documented statuses of tasks and agents appear in every team."""
    for name in ("render", "research", "batch"):
        tasks = {task["task_status"] for frame in frames for task in frame[name][0]}
        agents = {agent["agent_status"] for frame in frames for agent in frame[name][1]}
        assert tasks == set(STATUSES)
        assert agents == {"idle", "busy", "syncing", "tunnel", "unhealthy"}


def test_tasks_go_the_documented_way(frames: Frames) -> None:
    """Between two samples, a task only moves forward; going back means a retry; a finished task never changes."""
    rank = {status: min(position, 4) for position, status in enumerate(STATUSES)}
    for before, after in pairwise(frames):
        for name in before:
            old: dict[str, Any] = {task["id"]: task for task in before[name][0]}
            for task in after[name][0]:
                was: Any = old.get(task["id"], task)
                retried = task["retry_count"] > was["retry_count"]
                assert rank[task["task_status"]] >= rank[was["task_status"]] or retried
                assert was["task_status"] not in FINAL or task == was


def test_times_are_in_order(frames: Frames) -> None:
    """A task is created before it starts and starts before it ends; each state has the times it should have."""
    for task in (task for tasks, _ in frames[-1].values() for task in tasks):
        times = [task[name] for name in ("created_at", "started_at", "completed_at") if name in task]
        assert times == sorted(times, key=lambda text: text.removesuffix("Z"))
        assert ("completed_at" in task) == (task["task_status"] in FINAL)
        if task["task_status"] in {"running", "completed"}:
            assert "started_at" in task
        if task["task_status"] in {"pending", "waiting", "queued"}:
            assert "started_at" not in task
        assert ("agent_id" in task) or task["task_status"] not in {"queued", "running", "completed"}


def test_agents_run_what_is_running(frames: Frames) -> None:
    """Running tasks are exactly those the agents say they run, within capacity."""
    for frame in frames[::10]:
        for tasks, agents in frame.values():
            running = {task["id"]: task for task in tasks if task["task_status"] == "running"}
            claimed = [task_id for agent in agents for task_id in agent["running_tasks"]]
            assert sorted(claimed) == sorted(running)
            for agent in agents:
                assert agent["running_count"] == len(agent["running_tasks"]) <= agent["gpu_capacity"] <= 5
                assert agent["agent_status"] not in {"idle", "syncing", "tunnel"} or agent["running_count"] == 0


def test_tasks_run_where_they_fit(frames: Frames) -> None:
    """The labels a task waited for are among those of the agent it gets."""
    required: dict[str, set[str]] = {}
    seen = 0
    for task in (task for frame in frames for tasks, _ in frame.values() for task in tasks):
        if "agent_id" not in task:
            required[task["id"]] = set(task["agent_labels"])
        elif task["id"] in required:
            seen += 1
            assert required[task["id"]] <= set(task["agent_labels"])
    assert seen > 100


def test_cards_run_hot(frames: Frames) -> None:
    """Each running task takes a large share of one card's memory, an idle card is nearly free."""
    for agent in (agent for _, agents in frames[-1].values() for agent in agents if "system_stats" in agent):
        cards = agent["system_stats"]["gpu_devices"]
        free = [card["vram_free"] / card["vram_total"] for card in cards]
        assert len(cards) == agent["gpu_capacity"]
        assert all(0 < share < 1 for share in free)
        assert sum(share < 0.72 for share in free) == agent["running_count"]


def test_agents_leave_and_return(frames: Frames) -> None:
    """Agents vanish from the list and come back connected anew, their count of tasks restarted."""
    returned = 0
    last: dict[str, Any] = {}
    for frame in frames:
        for agent in (agent for _, agents in frame.values() for agent in agents):
            before = last.get(agent["agent_id"])
            if before and before["connected_at"] != agent["connected_at"]:
                returned += 1
                assert agent["tasks_completed"] == 0
                assert agent["agent_status"] == "syncing"
            last[agent["agent_id"]] = agent
    assert returned > 10
    sizes = {sum(len(agents) for _, agents in frame.values()) for frame in frames}
    assert max(sizes) == 36
    assert min(sizes) >= 25


def test_syncing_tells_its_progress(frames: Frames) -> None:
    """A syncing agent has phase, detail and percent; the percentage rises and falls; no other agent has them."""
    seen = defaultdict(set)
    for agent in (agent for frame in frames for _, agents in frame.values() for agent in agents):
        assert ("sync_phase" in agent) == (agent["agent_status"] == "syncing")
        if "sync_phase" in agent:
            assert 0 <= agent["sync_percent"] <= 100
            assert " model " in agent["sync_detail"]
            seen[agent["sync_phase"]].add(agent["sync_percent"])
    assert set(seen) == {"downloading", "verifying"}
    assert all(len(percents) > 10 for percents in seen.values())


def test_some_tasks_can_never_run(frames: Frames) -> None:
    """There are waiting tasks that need a label no agent has, and other work goes on all the same."""
    stuck = 0
    for frame in frames[::30]:
        for tasks, agents in frame.values():
            waiting = [set(task["agent_labels"]) for task in tasks if task["task_status"] == "waiting"]
            stuck += sum(not any(labels <= set(agent["agent_labels"]) for agent in agents) for labels in waiting)
    assert stuck > 0


def test_waiting_work_is_taken(frames: Frames) -> None:
    """The fleet keeps up: at most every other task waits, over the hour, and queues drain between the waves."""
    waiting = [sum(t["task_status"] == "waiting" for tasks, _ in frame.values() for t in tasks) for frame in frames]
    assert min(waiting) < 30 < max(waiting)


def test_retention_removes_old_tasks(frames: Frames) -> None:
    """Finished tasks are listed for half an hour; retries are seen."""
    early = {task["id"] for tasks, _ in frames[0].values() for task in tasks}
    late = [task for tasks, _ in frames[-1].values() for task in tasks]
    assert not early & {task["id"] for task in late if task["task_status"] in FINAL}
    assert any(task["retry_count"] for task in late)


def test_the_demonstration_starts_with_a_history() -> None:
    """Three teams with three kinds of credentials, 36 agents, hundreds of finished tasks on the first page."""
    platform = demo_platform(clock=lambda: START)
    teams = platform.teams.values()
    assert {team.name: team.kind for team in teams} == {"render": "integration", "research": "device", "batch": "jwt"}
    assert [team.token[:3] for team in teams] == ["sk-", "dk-", "eyJ"]
    assert 30 <= sum(team.agents().total for team in teams) <= 36
    assert all(team.tasks("completed").total >= 200 for team in teams)


@pytest.mark.parametrize(("teams", "agents"), [(1, 0), (1, 1), (2, 3), (8, 100)])
def test_other_sizes(teams: int, agents: int) -> None:
    """Any number of teams and agents lives; agents are spread evenly."""
    platform = demo_platform(teams=teams, agents=agents, seed=3, clock=lambda: START)
    assert len(platform.teams) == teams
    counts = Counter(team.agents().total for team in platform.teams.values())
    assert max(counts) <= -(-agents // teams)
    if agents:
        assert sum(team.tasks("completed").total for team in platform.teams.values()) > 10


def test_mistakes() -> None:
    """Faults that cannot be read and impossible numbers are refused."""
    with pytest.raises(FaultError, match="unknown team 'x'"):
        demo_platform(faults="x:*:hang", clock=lambda: START)
    with pytest.raises(ValueError, match="at least 1 team"):
        demo_platform(teams=0, clock=lambda: START)
    with pytest.raises(ValueError, match="-1 agents"):
        demo_platform(agents=-1, clock=lambda: START)


async def test_a_served_fleet_lives_by_the_clock() -> None:
    """Each request lets the fleet live on to the clock's time; between requests nothing happens."""
    now = START
    platform = demo_platform(clock=lambda: now)
    team = platform.teams["render"]
    before = _copied(everything(team))
    now += 120
    assert _copied(everything(team)) == before
    headers = {"Authorization": f"Bearer {team.token}"}
    async with (
        platform.serve() as url,
        aiohttp.ClientSession(headers=headers) as session,
        session.get(url + "/r/tasks") as response,
    ):
        assert response.status == 200
    assert _copied(everything(team)) != before
