"""The sizing guide has the numbers that polls really produce."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.catalog import FINAL_TASK_STATUSES
from fixtures import FakeClient, Rig

PAGE = Path(__file__).parents[2] / "docs" / "cardinality.md"
TIME = "2025-02-10T13:00:00Z"
SYNC = {"agent_status": "syncing", "sync_phase": "downloading", "sync_percent": 40}


def agent(**more: Any) -> dict[str, Any]:
    fields = {"agent_id": "a", "agent_status": "idle", "gpu_capacity": 1, "running_count": 0, "tasks_completed": 1}
    return {**fields, "last_heartbeat": TIME, "connected_at": TIME, **more}


async def series(*agents: Mapping[str, Any], then: bool = True, **rules: Any) -> int:
    """The series with an agent's id, after a poll that finds these agents and, if `then` is false, one without them."""
    client = FakeClient(agents=agents)
    rig = Rig.of(client, **rules)
    found = await rig.poll()
    if not then:
        client.agents = ()
        found = await rig.poll(after=30.0)
    return sum("agent_id" in dict(labels) for _, labels in found.values)


async def timings() -> tuple[int, int]:
    """The series of the two histograms of a team's tasks."""
    found = await Rig.of(FakeClient()).poll()
    names = [name for name, _ in found.values]
    run = sum(name.startswith("cyberun_task_run_seconds") for name in names)
    return run, sum(name.startswith("cyberun_task_wait_seconds") for name in names)


async def test_every_row_about_agents_and_timings() -> None:
    """Everything that has series has as many as the guide says."""
    plain, (run, wait) = await series(agent()), await timings()
    labelled = [await series(agent(agent_labels=labels), with_labels=True) for labels in (["x"], ["x", "y"])]
    assert run % len(FINAL_TASK_STATUSES) == 0
    found = {
        "… of these the run-time histogram, over three statuses": f"{run}",
        "… and the wait histogram": f"{wait}",
        "an agent that vanished, for `collect.agent_memory`": f"{await series(agent(), then=False)}",
        "an expected agent that was never seen": f"{await series(expected=['b'])}",
        "while an agent syncs": f"{await series(agent(**SYNC)) - plain} more",
        "… and all further ones, as `other`, one for each final status": f"{len(FINAL_TASK_STATUSES)}",
        "each label of an agent, with `collect.agent_labels`": (f"{labelled[1] - labelled[0]}"),
    }
    rows = dict(re.findall(r"^\| (.+) \| (\d+(?: more)?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert found.items() <= rows.items(), found
