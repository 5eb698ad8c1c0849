"""Which computations leave the event loop."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from exporter.collect.offload import AT_ONCE, offload
from fixtures import FakeClient, Rig


async def test_what_concerns_few_subjects_is_computed_in_the_event_loop() -> None:
    """A thread would cost more than it saves."""
    assert await offload(AT_ONCE, threading.get_ident) == threading.get_ident()


async def test_what_concerns_many_subjects_is_computed_in_a_thread() -> None:
    """Otherwise a large team would stall the polls and scrapes of all others."""
    assert await offload(AT_ONCE + 1, threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("subjects", [0, AT_ONCE + 1])
async def test_an_error_reaches_the_caller(subjects: int) -> None:
    """Wherever it is computed, a failure is that of the poll."""
    with pytest.raises(ValueError, match="invalid literal"):
        await offload(subjects, int, "x")


@pytest.mark.parametrize(
    ("agents", "workflows", "in_threads"),
    [(AT_ONCE, 0, 0), (AT_ONCE + 1, 0, 2), (1, AT_ONCE - 1, 0), (1, AT_ONCE, 1)],
    ids=["a page of agents", "more agents", "workflows and the others", "more workflows"],
)
async def test_a_poll_leaves_the_event_loop_only_for_many(
    monkeypatch: pytest.MonkeyPatch, agents: int, workflows: int, in_threads: int
) -> None:
    """Many agents are computed in a thread, for their own list and with the tasks; many workflows with the tasks."""
    computed = []

    async def to_thread(compute: Callable[..., object], *args: Any) -> object:
        computed.append(compute)
        return compute(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    running = [{"id": f"t-{i}", "task_status": "running", "workflow_id": f"w-{i}"} for i in range(workflows)]
    listed = [{"agent_id": f"a-{i}", "agent_status": "idle"} for i in range(agents)]
    rig = Rig.of(FakeClient(agents=listed, tasks={"running": running}), workflows=workflows)
    assert (await rig.poll()).value("cyberun_up", team_name="render") == 1
    assert len(computed) == in_threads
