"""The bound that the catalogue declares for a label holds even if every text from the platform is different."""

import asyncio
from dataclasses import fields
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest

from exporter.catalog import CATALOG, DOMAIN_METRICS, TASK_STATUSES, ClosedSet, Kind, Label, Limit, Metric, Part
from exporter.platform import wire
from fixtures import NOW, FakeClient, Rig
from support import Samples

AGENTS = 3
WORKFLOWS = 5
IDENTITY = {
    Part.TEAM: ("team_name",),
    Part.AGENT: ("team_name", "agent_id"),
    Part.GPU: ("team_name", "agent_id", "gpu"),
    Part.WORKFLOW: ("team_name", "workflow_id"),
    Part.API_PATH: ("path",),
    Part.API_FIELD: ("field",),
    Part.DISCOVERY: ("discovery",),
}
"""The labels that say which part of the fleet a series is about; the last one identifies the part itself."""
PARTS = {Part.TEAM: 1, Part.AGENT: AGENTS, Part.WORKFLOW: WORKFLOWS + 1}
"""How many parts the team of this test has; the workflows beyond those allowed share one more."""


def item(model: type[Any], number: int, **more: Any) -> dict[str, Any]:
    """An item with every field that is read, and a different text in each."""
    return {each.name: value(each.name, each.type, number) for each in fields(model)} | more


def value(name: str, kind: Any, number: int) -> Any:
    if kind == wire.Text | None:
        return f"{name} {number}"
    if kind == wire.Labels | None:
        return [f"{name} {number}"]
    return datetime.fromtimestamp(NOW - 1000 + number, UTC).isoformat() if kind == wire.Time | None else 1


def agent(number: int, gpus: int, labels: int) -> dict[str, Any]:
    stats = item(wire.SystemStats, number, gpu_devices=[item(wire.GpuDevice, i) for i in range(gpus)])
    return item(wire.Agent, number, agent_labels=[f"label {i}" for i in range(labels)], system_stats=stats)


def task(number: int, status: str) -> dict[str, Any]:
    known = {"id": f"{status} {number}", "task_status": status, "status": status}
    return item(wire.Task, number, **known, agent_id=f"agent_id {number % AGENTS}")


async def polled() -> Samples:
    """A team after three polls, each of which found different tasks, and more of everything than is read."""
    sizes = ((1, 1), (wire.MAX_GPUS, wire.MAX_LABELS), (wire.MAX_GPUS + 1, wire.MAX_LABELS + 1))
    client = FakeClient(agents=[agent(number, *size) for number, size in enumerate(sizes)])
    client.workflows = [item(wire.Workflow, number, id=f"workflow_id {number}") for number in range(240, 0, -1)]
    client.me = {"feature_flags": {"global": {"quotas": {f"max_{number}": number for number in range(200)}}}}
    rig = Rig.of(client, kind="device", with_labels=True, workflows=WORKFLOWS)
    for newest in (80, 160, 240):
        numbers = range(newest, newest - 80, -1)
        client.tasks = {status: [task(number, status) for number in numbers] for status in TASK_STATUSES}
        found = await rig.poll(after=30.0)
    return found


@pytest.fixture(scope="module")
def samples() -> Samples:
    return asyncio.run(polled())


def values_by_part(metric: Metric, label: Label, samples: Samples) -> list[set[str]]:
    """The values of the label, separately for each part of the fleet that its bound refers to."""
    identity = () if isinstance(label.bound, ClosedSet) else IDENTITY.get(label.bound.part, ())
    others = [name for name in identity if name in metric.label_names and name != label.name]
    found: dict[tuple[str, ...], set[str]] = {}
    for labels in samples.series(metric.name + ("_count" if metric.kind is Kind.HISTOGRAM else "")):
        found.setdefault(tuple(labels[name] for name in others), set()).add(labels[label.name])
    return list(found.values())


@pytest.mark.parametrize(
    ("metric", "label"), [(metric, label) for metric in CATALOG for label in metric.labels], ids=lambda each: each.name
)
def test_labels_keep_their_bounds(metric: Metric, label: Label, samples: Samples) -> None:
    """A label has no value outside its closed set, one value for each part, or exactly as many as its limit allows."""
    values = values_by_part(metric, label, samples)
    assert values or metric not in DOMAIN_METRICS, f"let the platform of this test say what {metric.name} is made of"
    if isinstance(label.bound, ClosedSet):
        outside = set().union(*values) - set(label.bound.values)
        assert not outside, f"{metric.name} has values of {label.name} beyond its closed set: show them as OTHER"
        return
    part, most = label.bound.part, max(map(len, values), default=0)
    what = (
        f"{metric.name} has {most} values of {label.name} for {part.value}, or more, and declares {label.bound}: bound"
        " them where they are counted, as exporter/fleet/tallies.py does, and declare what is kept there, or do without"
        " this label"
    )
    if isinstance(label.bound, Limit):
        assert most == label.bound.most, what
    else:
        assert most <= (PARTS.get(part, inf) if label.name == IDENTITY.get(part, ("",))[-1] else 1), what
