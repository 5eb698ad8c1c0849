"""One team of the simulated platform: its tasks and agents, kept sorted so that a page is a slice."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from exporter.demo.items import change_agent, change_task, new_agent, new_task
from exporter.demo.wire import Item

_Entry = tuple[str, str, str]


class Order(StrEnum):
    """How task lists are sorted. The platform does not document its own order."""

    NEWEST_CREATED = "newest-created"
    OLDEST_CREATED = "oldest-created"
    NEWEST_FINISHED = "newest-finished"
    OLDEST_FINISHED = "oldest-finished"

    @property
    def by_finish(self) -> bool:
        """Sorted by `completed_at`; tasks without one count as finished longest ago."""
        return self in {Order.NEWEST_FINISHED, Order.OLDEST_FINISHED}

    @property
    def descending(self) -> bool:
        """Newest first."""
        return self in {Order.NEWEST_CREATED, Order.NEWEST_FINISHED}


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that can be cut into pages.

    Attributes:
        total: how many items there are.
        cut: start and count to items.
    """

    total: int
    cut: Callable[[int, int], list[Any]]


@dataclass(frozen=True, slots=True)
class Identity:
    """A team's identity and how it authenticates.

    Attributes:
        kind: integration, device or jwt.
        quotas: limits by name, -1 for unlimited, as `/users/me` shows them.
    """

    name: str
    team_id: str
    kind: str
    display_name: str
    quotas: dict[str, float]


class SimulatedTeam:
    """A team's tasks and agents. Mutable: tests script it by hand, a `FleetLife` simulates activity.

    Values passed in are copied; returned values must not be changed: use `move`, `update_agent` and the like.
    Times may be given as Unix seconds or as text; None removes a field.

    Attributes:
        token: the credential to poll with: for a JWT team the current access token of its first user.
        refresh_token: what a JWT team's session is refreshed with; None for keys.
    """

    def __init__(self, identity: Identity, *, random: Random, clock: Callable[[], float]) -> None:
        self.name = identity.name
        self.team_id = identity.team_id
        self.kind = identity.kind
        self.display_name = identity.display_name
        self.quotas = identity.quotas
        self.token = ""
        self.refresh_token: str | None = None
        self._random = random
        self._clock = clock
        self._order = Order.NEWEST_CREATED
        self._tasks: dict[str, Item] = {}
        self._entries: dict[str, _Entry] = {}
        self._views: dict[str | None, list[_Entry]] = {None: []}
        self._agents: dict[str, Item] = {}
        self._agent_ids: list[str] = []

    def __repr__(self) -> str:
        return f"SimulatedTeam({self.name!r}, {self.kind}, {len(self._tasks)} tasks, {len(self._agents)} agents)"

    # --- Tasks ---

    @property
    def order(self) -> Order:
        """How task lists are sorted; may be set at any time."""
        return self._order

    @order.setter
    def order(self, order: Order) -> None:
        self._order = Order(order)
        tasks = list(self._tasks.values())
        self.clear_tasks()
        self.put_tasks(tasks)

    def tasks(self, status: str | None = None) -> Listing:
        """The tasks of a status, or all of them."""
        view = self._views.get(status, [])

        def cut(start: int, count: int) -> list[Item]:
            return [self._tasks[entry[-1]] for entry in _slice(view, start, count, descending=self._order.descending)]

        return Listing(len(view), cut)

    def workflows(self) -> Listing:
        """The workflows of all tasks that are listed, by id."""
        ids = sorted({task["workflow_id"] for task in self._tasks.values() if isinstance(task.get("workflow_id"), str)})
        items = [
            {
                "id": each,
                "workflow_slug": f"workflow-{each[-6:]}",
                "display_name": f"Workflow {each[-6:]}",
                "version": 1,
            }
            for each in ids
        ]
        return Listing(len(items), lambda start, count: items[start : start + count])

    def task(self, task_id: str) -> Item:
        """A copy of a task; KeyError if there is none."""
        return dict(self._tasks[task_id])

    def put_task(self, task: Item) -> None:
        """Add or replace a task given as the platform would send it; its `id` must be text."""
        self.remove_task(task["id"])
        entry = self._store(task)
        for view in self._views_of(task):
            insort(view, entry)

    def put_tasks(self, tasks: Iterable[Item]) -> None:
        """Add many tasks at once, sorted once instead of per task."""
        batch = {task["id"]: task for task in tasks}
        for task_id in batch:
            self.remove_task(task_id)
        for task in batch.values():
            entry = self._store(task)
            for view in self._views_of(task):
                view.append(entry)
        for view in self._views.values():
            view.sort()

    def add_task(self, *, status: str = "pending", **fields: Any) -> str:
        """Add a task with plausible fields for its status, changed by `fields`; return its id."""
        task = new_task(self._random, self._clock(), status, fields)
        self.put_task(task)
        return str(task["id"])

    def add_tasks(self, count: int, *, status: str = "pending", **fields: Any) -> list[str]:
        """Add `count` equal tasks that differ by id."""
        tasks = [new_task(self._random, self._clock(), status, fields) for _ in range(count)]
        self.put_tasks(tasks)
        return [task["id"] for task in tasks]

    def move(self, task_id: str, **fields: Any) -> None:
        """Change fields of a task, usually its `status`; KeyError if there is none."""
        task = dict(self._tasks[task_id])
        change_task(task, fields)
        self.put_task(task)

    def remove_task(self, task_id: str) -> None:
        """Remove a task from the list, as retention does; nothing happens if it is not there."""
        task = self._tasks.pop(task_id, None)
        if task is None:
            return
        entry = self._entries.pop(task_id)
        for view in self._views_of(task):
            del view[bisect_left(view, entry)]

    def clear_tasks(self) -> None:
        """Remove all tasks."""
        self._tasks, self._entries, self._views = {}, {}, {None: []}

    def _store(self, task: Item) -> _Entry:
        copy = dict(task)
        self._tasks[task["id"]] = copy
        entry = self._entries[task["id"]] = self._entry(copy)
        return entry

    def _entry(self, task: Item) -> _Entry:
        # Without the Z, 14:00:00 sorts before 14:00:00.5; anything that is not text sorts first.
        created, finished = (str(task.get(name) or "").removesuffix("Z") for name in ("created_at", "completed_at"))
        return (finished, created, task["id"]) if self._order.by_finish else (created, "", task["id"])

    def _views_of(self, task: Item) -> Iterator[list[_Entry]]:
        yield self._views[None]
        yield self._views.setdefault(str(task.get("task_status")), [])

    # --- Agents ---

    def agents(self) -> Listing:
        """The connected agents, sorted by their id."""

        def cut(start: int, count: int) -> list[Item]:
            return [self._agents[agent_id] for agent_id in self._agent_ids[start : start + count]]

        return Listing(len(self._agent_ids), cut)

    def agent(self, agent_id: str) -> Item:
        """A copy of an agent; KeyError if it is not connected."""
        return dict(self._agents[agent_id])

    def put_agent(self, agent: Item) -> None:
        """Add or replace an agent given as the platform would send it; its `agent_id` must be text."""
        agent_id = agent["agent_id"]
        if agent_id not in self._agents:
            insort(self._agent_ids, agent_id)
        self._agents[agent_id] = dict(agent)

    def put_agents(self, agents: Iterable[Item]) -> None:
        """Many at once."""
        self._agents.update((agent["agent_id"], dict(agent)) for agent in agents)
        self._agent_ids = sorted(self._agents)

    def add_agent(self, agent_id: str, *, gpus: int = 1, **fields: Any) -> None:
        """Connect an idle agent with `gpus` cards and plausible fields, changed by `fields`."""
        self.put_agent(new_agent(self._clock(), agent_id, gpus, fields))

    def add_agents(self, count: int, *, prefix: str = "gpu-node-", gpus: int = 1, **fields: Any) -> list[str]:
        """Connect `count` agents named by number from 1; return their ids."""
        ids = [f"{prefix}{number:0{max(2, len(str(count)))}}" for number in range(1, count + 1)]
        self.put_agents(new_agent(self._clock(), agent_id, gpus, fields) for agent_id in ids)
        return ids

    def update_agent(self, agent_id: str, **fields: Any) -> None:
        """Change fields of a connected agent; KeyError if it is not connected."""
        change_agent(self._agents[agent_id], fields)

    def remove_agent(self, agent_id: str) -> None:
        """End an agent's connection: it leaves the list. Nothing happens if it is not there."""
        if self._agents.pop(agent_id, None) is not None:
            del self._agent_ids[bisect_left(self._agent_ids, agent_id)]

    def clear_agents(self) -> None:
        """End all connections."""
        self._agents, self._agent_ids = {}, []


def _slice(view: list[_Entry], start: int, count: int, *, descending: bool) -> list[_Entry]:
    if not descending:
        return view[start : start + count]
    stop = max(len(view) - start, 0)
    return view[max(stop - count, 0) : stop][::-1]
