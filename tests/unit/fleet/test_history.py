"""Random histories of tasks against a model that sees everything.

The platform is a fake list server, scaled down: pages of ten, and the bounds of the code with them.
"""

import asyncio
import os
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from exporter.catalog import ACTIVE_TASK_STATUSES, FINAL_TASK_STATUSES, OTHER, UNSTARTED_TASK_STATUSES
from exporter.errors import ServerFailed
from exporter.fleet import activity, finished, order
from support.lists import Item, Poller, TaskLists

PER_PAGE = 10
LONGEST = (finished.MAX_PAGES - 2) * PER_PAGE
"""A list of this length can be read to its inner end within the bound; tests of their own go beyond."""
COUNTS = st.integers(1, 5)
SEEDS = st.integers(0, 2**32)
WORKFLOWS = ("portrait", "upscale")
BURSTS = st.sampled_from([3, 12, 25, 45])


@dataclass(slots=True)
class Model:
    """What a poller should have counted. Mutable. It sees the whole platform at the end of each successful poll."""

    seeded: set[str] | None = None
    ended: dict[str, Item] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)
    ran_before: set[str] = field(default_factory=set)
    """Tasks that had started before the first poll: their wait never counts."""

    def look(self, items: dict[str, Item]) -> None:
        final = {item.task_id: item for item in items.values() if item.status in FINAL_TASK_STATUSES}
        active = [item for item in items.values() if item.status in ACTIVE_TASK_STATUSES]
        if self.seeded is None:
            self.seeded = set(final)
            self.ran_before = {item.task_id for item in active if item.started_at is not None}
            return
        for task_id in final.keys() - self.seeded - self.ended.keys():
            self.ended[task_id] = final[task_id]
            self._count_wait(final[task_id])
        for item in active:
            self._count_wait(item)

    def _count_wait(self, item: Item) -> None:
        if item.task_id in self.waits or item.task_id in self.ran_before:
            return
        if item.started_at is not None and item.created_at is not None:
            self.waits[item.task_id] = item.started_at - item.created_at

    def series(self) -> dict[tuple[str, str], float]:
        """Every count and sum, by metric and status."""
        values: defaultdict[tuple[str, str], float] = defaultdict(float)
        for item in self.ended.values():
            values["finished", item.status] += 1
            values["retries", ""] += item.retries
            if item.started_at is not None and item.completed_at is not None:
                values["runs", item.status] += 1
                values["run seconds", item.status] += item.completed_at - item.started_at
                values["execution", f"{item.status} {item.gpu_type}"] += item.completed_at - item.started_at
                values["workflow seconds", f"{item.status} {_workflow(item)}"] += item.completed_at - item.started_at
            if item.status == "failed":
                values["failed on", item.agent_id or ""] += 1
            values["workflow", f"{item.status} {_workflow(item)}"] += 1
        values["waits", ""] = len(self.waits)
        values["wait seconds", ""] = sum(self.waits.values())
        return {key: value for key, value in values.items() if value}


def _workflow(item: Item) -> str:
    return item.workflow_id or OTHER


class TaskHistory(RuleBasedStateMachine):
    """Tasks of one team change, and are polled from time to time."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        for module, name, value in (
            (finished, "MAX_REMEMBERED", 2 * PER_PAGE),
            (order, "MIN_MAJORITY", 4),
            (activity, "REMEMBERED", 8 * PER_PAGE),
        ):
            self._patch.setattr(module, name, value)

    def teardown(self) -> None:
        self._patch.undo()

    @initialize(
        key=st.sampled_from(["created_at", "completed_at"]),
        newest_first=st.booleans(),
        old=st.sampled_from([0, 4, 9, 10, 11, 25, 40]),
        flags=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
        seed=SEEDS,
    )
    def begin(self, key: str, newest_first: bool, old: int, flags: tuple[bool, ...], seed: int) -> None:  # noqa: FBT001  passed by name
        self.random = random.Random(seed)  # noqa: S311  no secret
        self.forgets_start, self.unended_cancelled, self.random_ids, filtered_totals = flags
        if key == "completed_at":
            self.unended_cancelled = False
        self.lists = TaskLists(key, newest_first, PER_PAGE, filtered_totals=filtered_totals)
        self.poller = Poller(self.lists, workflows=len(WORKFLOWS))
        self.model = Model()
        self.now = 1_000_000.0
        self.number = 0
        for _ in range(old):
            # No two times are equal here, or a page of ten would not tell the order.
            self._live(self.random.randint(0, 30) + self.number / 256)
            self.now += self.random.randint(1, 3)
        for status in ("waiting", "running", "queued", "running"):
            started = self.now if status == "running" else None
            self.lists.move(self._create().task_id, status, started_at=started)
            self.now += self.random.randint(1, 40)
        self.poll()

    # --- What happens on the platform ---

    def _items(self, *statuses: str) -> list[Item]:
        return [item for item in self.lists.items.values() if item.status in statuses]

    def _some(self, count: int, *statuses: str) -> list[Item]:
        items = self._items(*statuses)
        return self.random.sample(items, min(count, len(items)))

    def _new_id(self) -> str:
        self.number += 1
        head = f"{self.random.getrandbits(32):08x}" if self.random_ids else ""
        return f"{head}-{self.number:06d}"

    def _create(self) -> Item:
        item = Item(
            self._new_id(),
            self.random.choice(UNSTARTED_TASK_STATUSES),
            created_at=self.now,
            agent_id=self.random.choice("ab"),
            gpu_type=self.random.choice(["A100", "H100"]),
            workflow_id=(*WORKFLOWS, None)[self.number % 3],
        )
        self.lists.put(item)
        return item

    def _end(self, item: Item) -> None:
        status = self.random.choice(["completed", "completed", "failed", "cancelled"])
        bare = status == "cancelled" and self.unended_cancelled
        self.lists.move(item.task_id, status, completed_at=None if bare else self.now)

    def _live(self, seconds: float) -> None:
        item = self._create()
        self.lists.move(item.task_id, "running", started_at=self.now, created_at=self.now - seconds)
        self._end(item)

    def _length(self, *statuses: str) -> int:
        return sum(len(self.lists.listed(status)) for status in statuses)

    def _room(self) -> int:
        """How many more active tasks a poll can read, in whatever list they are."""
        return max(0, 2 * PER_PAGE - self._length(*ACTIVE_TASK_STATUSES))

    @rule(count=COUNTS)
    def arrive(self, count: int) -> None:
        for place in range(min(count, self._room())):
            self._create()
            self.now += place % 2 / 64

    @rule(count=COUNTS)
    def advance(self, count: int) -> None:
        for item in self._some(count, "pending", "waiting"):
            self.lists.move(item.task_id, "queued")

    @rule(count=COUNTS)
    def start(self, count: int) -> None:
        for item in self._some(count, *UNSTARTED_TASK_STATUSES):
            self.lists.move(item.task_id, "running", started_at=self.now)

    def _start_fresh(self, count: int) -> None:
        """Only what never ran: of a task that starts anew while it is looked at, either start may be the one seen.

        And only onto one page: a start on the border of two may be seen a poll too late, and counts at the end then.
        """
        room = max(0, PER_PAGE - self._length("running"))
        for item in self._some(min(count, room), *UNSTARTED_TASK_STATUSES):
            if not item.retries:
                self.lists.move(item.task_id, "running", started_at=self.now)

    @rule(count=COUNTS)
    def end(self, count: int) -> None:
        for place, item in enumerate(self._some(count, "running")):
            self._end(item)
            self.now += place % 2 / 64

    @rule()
    def end_the_oldest(self) -> None:
        for item in sorted(self._items("running"), key=lambda item: item.created_at or 0)[:1]:
            self._end(item)

    @rule(count=COUNTS)
    def cancel(self, count: int) -> None:
        for place, item in enumerate(self._some(count, *UNSTARTED_TASK_STATUSES)):
            ended = None if self.unended_cancelled else self.now
            self.lists.move(item.task_id, "cancelled", completed_at=ended)
            self.now += place % 2 / 64

    @rule(count=COUNTS)
    def retry(self, count: int) -> None:
        for item in self._some(count, "running"):
            times: dict[str, Any] = {"started_at": None} if self.forgets_start else {}
            status = self.random.choice(UNSTARTED_TASK_STATUSES)
            self.lists.move(item.task_id, status, retries=item.retries + 1, **times)

    @rule(count=BURSTS)
    def come_and_go(self, count: int) -> None:
        """Many at once, each with its own time, because a page of equal times would not show the order."""
        room = LONGEST - max(self._length(status) for status in FINAL_TASK_STATUSES)
        for _ in range(min(count, max(0, room))):
            self.now += 1 / 64
            self._live(0)
        self.now += 1

    def _settled(self, status: str) -> list[Item]:
        """Finished tasks the poller has seen the end of, the oldest first."""
        seen = (self.model.seeded or set()) | self.model.ended.keys()
        items = [item for item in self._items(status) if item.task_id in seen]
        return sorted(items, key=lambda item: (item.completed_at or 0, item.task_id))

    @rule(count=st.sampled_from([1, 5, 15, 60]), newest=st.booleans())
    def remove(self, count: int, newest: bool) -> None:  # noqa: FBT001  passed by name
        for status in FINAL_TASK_STATUSES:
            items = self._settled(status)
            for item in items[-count:] if newest else items[:count]:
                self.lists.remove(item.task_id)

    @rule(count=COUNTS)
    def double(self, count: int) -> None:
        """Tasks stand in their list twice, from when they are active on or later; or once again."""
        for item in self._some(min(count, self._room()), *ACTIVE_TASK_STATUSES):
            self.lists.doubled ^= {item.task_id}
        for item in self._some(count, *FINAL_TASK_STATUSES):
            self.lists.doubled ^= {item.task_id}

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    # --- Polls ---

    @rule()
    def restart(self) -> None:
        """A new exporter knows nothing: what ended or started before its first poll never counts."""
        self.poller, self.model = Poller(self.lists, workflows=len(WORKFLOWS)), Model()
        self.poll()
        if any(each.order is None and not each.whole_list for each in self.poller.timings.final_lists.values()):
            # A page of a hundred items tells their order even if many come twice, one of ten may not.
            self.lists.doubled.clear()
            self.poller, self.model = Poller(self.lists, workflows=len(WORKFLOWS)), Model()
            self.poll()
        self.now += 1

    @rule()
    def poll(self) -> None:
        """Nothing changes during this poll, so it sees what the model sees."""
        asyncio.run(self.poller.poll())
        self.model.look(self.lists.items)
        self._compare()
        assert not self.poller.truncated

    @rule(nth=st.integers(0, 8))
    def fail(self, nth: int) -> None:
        """A request fails, and so does the poll, unless it ended before."""
        left = [nth]

        def count(_status: str, _number: int) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise ServerFailed("503")

        before = self.poller.timings
        self.lists.before_request = count
        try:
            asyncio.run(self.poller.poll())
        except ServerFailed:
            assert self.poller.timings is before
        else:
            self.model.look(self.lists.items)
            self._compare()
        self.lists.before_request = lambda _status, _number: None

    # Where items stand twice, what moves during a poll can hide one on the border of a page: too few are counted then.
    @precondition(lambda self: not any(item.task_id in self.lists.doubled for item in self.lists.items.values()))
    @rule(seed=SEEDS)
    def poll_while_tasks_move(self, seed: int) -> None:
        """Tasks change between its requests; after the next undisturbed poll the counts are right."""
        chance = random.Random(seed)  # noqa: S311  no secret

        events = [None, None, self.arrive, self._start_fresh, self.come_and_go, self.end, self.advance]

        def happen(status: str, _number: int) -> None:
            # Nothing ends deep in a list between two of its pages: that can hide what stands on their border.
            event = chance.choice(events[:5] if status in FINAL_TASK_STATUSES else events)
            if event is not None:
                self.now += 1
                event(chance.choice([1, 2, 4]))

        self.lists.before_request = happen
        asyncio.run(self.poller.poll())
        self.lists.before_request = lambda _status, _number: None
        self.poll()

    def _compare(self) -> None:
        assert self._series() == self.model.series()

    def _series(self) -> dict[tuple[str, str], float]:
        samples = self.poller.samples
        values: dict[tuple[str, str], float] = {
            ("retries", ""): samples.value("cyberun_task_retries_total", team_name="render") or 0,
            ("waits", ""): samples.value("cyberun_task_wait_seconds_count", team_name="render") or 0,
            ("wait seconds", ""): samples.value("cyberun_task_wait_seconds_sum", team_name="render") or 0,
        }
        for status in FINAL_TASK_STATUSES:
            labels = {"team_name": "render", "status": status}
            values["finished", status] = samples.value("cyberun_tasks_finished_total", **labels) or 0
            values["runs", status] = samples.value("cyberun_task_run_seconds_count", **labels) or 0
            values["run seconds", status] = samples.value("cyberun_task_run_seconds_sum", **labels) or 0
        tallies = self.poller.timings.tallies
        values |= {("failed on", agent_id): count for agent_id, count in tallies.failed.items()}
        values |= {("execution", f"{key.status} {key.kind.gpu_type}"): sum_ for key, sum_ in tallies.execution.items()}
        for name, key in (
            ("workflow", "cyberun_workflow_tasks_finished_total"),
            ("workflow seconds", "cyberun_workflow_execution_seconds_total"),
        ):
            values |= {
                (name, f"{each['status']} {each['workflow_id']}"): samples.value(key, **each) or 0
                for each in samples.series(key)
            }
        return {key: value for key, value in values.items() if value}

    @invariant()
    def memory_is_bounded(self) -> None:
        timings = getattr(self, "poller", Poller(TaskLists())).timings
        assert len(timings.activity.seen) <= 8 * PER_PAGE
        assert all(len(memory.task_ids) <= 2 * PER_PAGE for memory in timings.final_lists.values())
        assert timings.workflows.ranked.keys() <= set(WORKFLOWS)
        assert len(timings.tallies.execution) <= 2 * len(FINAL_TASK_STATUSES)


EXAMPLES = int(os.environ.get("HISTORY_EXAMPLES", "100"))
TestTaskHistory = TaskHistory.TestCase
TestTaskHistory.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
