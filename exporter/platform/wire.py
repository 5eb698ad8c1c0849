"""The platform's lists, validated on arrival: one page, from bytes to immutable values.

Source: the documented samples of `GET /r/tasks` and `GET /agents`. Everything except the ids is optional there, or
inferred to be, so every field may be None. A value that has a wrong type or is out of range becomes None and is
counted; the rest of its item and page is kept.
"""

from collections import Counter
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import AfterValidator, Field, GetPydanticSchema, Strict, StringConstraints, TypeAdapter

from exporter.catalog import TASK_STATUSES
from exporter.errors import SchemaMismatch
from exporter.platform.lenient import validated

PER_PAGE: Final = 100
"""The largest page the platform serves."""
MAX_ITEMS: Final = 1000
"""Maximum number of items of one page: more than PER_PAGE, because some platforms may ignore `per_page`."""
MAX_LABELS: Final = 256
MAX_GPUS: Final = 64
"""Upper bounds for lists inside an item; a longer list is dropped as invalid."""

T = TypeVar("T")
Text = Annotated[str, Strict()]
Count = Annotated[int, Strict(), Field(ge=0, le=2**63 - 1)]
Bytes = Annotated[float, Strict(), Field(ge=0, lt=2**63, allow_inf_nan=False)]
Percent = Annotated[float, Strict(), Field(ge=0, le=100, allow_inf_nan=False)]
# One mistake makes a list be read item by item, so the others need not be found before.
Items = Annotated[list[T], Field(max_length=MAX_ITEMS, fail_fast=True)]
Labels = Annotated[list[Text | None], Field(max_length=MAX_LABELS)]


# Times of the standard library: comparing or converting those that pydantic makes costs five times as much.
# `fromisoformat` accepts more than RFC 3339 and refuses a small z, so the pattern and the case come first.
_RFC3339: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?"
    r"([Zz]|[+-][0-9]{2}:?[0-5][0-9])$"
)
_Moment = Annotated[
    str, StringConstraints(strict=True, pattern=_RFC3339, to_upper=True), AfterValidator(datetime.fromisoformat)
]
Time = Annotated[datetime, GetPydanticSchema(lambda _, handler: handler.generate_schema(_Moment))]


@dataclass(frozen=True, slots=True)
class Task:
    """An item of `task_list`. The status goes by either of two names; both may be missing."""

    id: Text | None = None
    workflow_id: Text | None = None
    task_status: Text | None = None
    status: Text | None = None
    created_at: Time | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    retry_count: Count | None = None
    agent_id: Text | None = None
    agent_labels: Labels | None = None
    gpu_type: Text | None = None
    dispatch_target: Text | None = None
    target_pool: Text | None = None
    tool_type: Text | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """An item of `workflow_list`; its shape is inferred, so its id may go by either of two names."""

    id: Text | None = None
    workflow_id: Text | None = None
    workflow_slug: Text | None = None
    display_name: Text | None = None


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """An item of `gpu_devices`, identified only by its position. VRAM in bytes (inferred)."""

    device_name: Text | None = None
    device_type: Text | None = None
    vram_total: Bytes | None = None
    vram_free: Bytes | None = None


@dataclass(frozen=True, slots=True)
class SystemStats:
    """`system_stats` of an agent; missing for some tools and while syncing."""

    comfyui_version: Text | None = None
    pytorch_version: Text | None = None
    os_type: Text | None = None
    gpu_devices: Annotated[list[GpuDevice | None], Field(max_length=MAX_GPUS)] | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """An item of `agent_list`."""

    agent_id: Text | None = None
    agent_status: Text | None = None
    agent_labels: Labels | None = None
    last_heartbeat: Time | None = None
    connected_at: Time | None = None
    agent_version: Text | None = None
    tool: Text | None = None
    tool_version: Text | None = None
    comfyui_version: Text | None = None
    platform_arch: Text | None = None
    gpu_capacity: Count | None = None
    running_count: Count | None = None
    tasks_completed: Count | None = None
    sync_phase: Text | None = None
    sync_percent: Percent | None = None
    system_stats: SystemStats | None = None


@dataclass(frozen=True, slots=True)
class PageMeta:
    """`page_meta`. Without a `total_count` that is a whole number, a page says nothing about its list."""

    total_count: Count
    per_page: Any = None
    current_page: Any = None


@dataclass(frozen=True, slots=True)
class TaskList:
    """The answer of `GET /r/tasks`."""

    task_list: Items[Task | None] | None
    page_meta: PageMeta


@dataclass(frozen=True, slots=True)
class WorkflowList:
    """The answer of `GET /r/workflows`."""

    workflow_list: Items[Workflow | None] | None
    page_meta: PageMeta


@dataclass(frozen=True, slots=True)
class AgentList:
    """The answer of `GET /agents` and `GET /r/agents`."""

    agent_list: Items[Agent | None] | None
    page_meta: PageMeta


FIELDS: Final = tuple(
    dict.fromkeys(
        field.name
        for model in (TaskList, Task, AgentList, Agent, SystemStats, GpuDevice, WorkflowList, Workflow)
        for field in fields(model)
        if field.name != "page_meta"
    )
)
"""Every field whose values can be dropped individually: a closed set of label values."""

Item = TypeVar("Item", Task, Agent, Workflow)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list.

    Attributes:
        number: of the page, from 1.
        items: in the platform's order; None for an item that is not an object.
        total: the length of the whole list, as this page states it.
        per_page: the actual page size: ours, unless the platform states a smaller one or sends more.
        unknown: how many values of each field were dropped.
    """

    number: int
    items: list[Item | None]
    total: int
    per_page: int
    unknown: Counter[str]

    @property
    def fingerprint(self) -> int | None:
        """A hash of the list's length and of all ids in order, which recognizes a page with the same content.

        None for a page with fewer than two items, which proves nothing.
        """
        ids = tuple(item.agent_id if isinstance(item, Agent) else item.id for item in self.items if item is not None)
        return hash((self.total, ids)) if len(ids) > 1 else None

    @property
    def last(self) -> int:
        """The number of the list's last page, by this page's total; 1 for an empty list."""
        return max(1, -(-self.total // self.per_page))

    @property
    def missing(self) -> int:
        """How many items this page lacks according to its own total."""
        promised = self.total - (self.number - 1) * self.per_page
        return min(max(promised, 0), self.per_page) - len(self.items)


_TASKS: Final = TypeAdapter(TaskList)
_AGENTS: Final = TypeAdapter(AgentList)
_WORKFLOWS: Final = TypeAdapter(WorkflowList)
_TASK: Final = TypeAdapter(Task)
_AGENT: Final = TypeAdapter(Agent)
_WORKFLOW: Final = TypeAdapter(Workflow)


def decode_tasks(body: bytes, number: int, status: str | None) -> Page[Task]:
    """Read page `number` of the tasks filtered by `status`, or of all tasks when it is None.

    Raises:
        Undecodable: the body is not JSON.
        SchemaMismatch: it is not a task list, has more items than its own total, or contains a task with another
            status, which shows that the filter was ignored.
    """
    answer, unknown = validated(_TASKS, body, "task_list", _TASK)
    page = _page("task_list", answer.task_list, answer.page_meta, number, unknown)
    for task in page.items:
        stated = (task.task_status or task.status) if task else None
        if stated is not None and status is not None and stated != status:
            # An unknown text is not repeated: it might be anything, even a credential.
            found = repr(stated) if stated in TASK_STATUSES else "something else"
            raise SchemaMismatch(f"requested {status} tasks, got one with the status {found}")
    return page


def decode_agents(body: bytes, number: int) -> Page[Agent]:
    """Read page `number` of the agents.

    Raises:
        Undecodable: the body is not JSON.
        SchemaMismatch: it is not an agent list, or has more items than its own total.
    """
    answer, unknown = validated(_AGENTS, body, "agent_list", _AGENT)
    return _page("agent_list", answer.agent_list, answer.page_meta, number, unknown)


def decode_workflows(body: bytes, number: int) -> Page[Workflow]:
    """Read page `number` of the workflows.

    Raises:
        Undecodable: the body is not JSON.
        SchemaMismatch: it is not a workflow list, or has more items than its own total.
    """
    answer, unknown = validated(_WORKFLOWS, body, "workflow_list", _WORKFLOW)
    return _page("workflow_list", answer.workflow_list, answer.page_meta, number, unknown)


def _page(
    name: str, listed: list[Item | None] | None, meta: PageMeta, number: int, unknown: Counter[str]
) -> Page[Item]:
    items = listed or []  # null is how some servers write an empty list
    stated = meta.per_page if type(meta.per_page) is int and 0 < meta.per_page < PER_PAGE else PER_PAGE
    page = Page(number, items, meta.total_count, max(stated, len(items)), unknown)
    if type(meta.current_page) is int and meta.current_page != number:
        raise SchemaMismatch(f"requested page {number}, got page {meta.current_page}")
    if page.missing < 0:
        raise SchemaMismatch(f"page {number} has {len(items)} items of a list of {page.total}")
    if listed is None and page.missing:
        raise SchemaMismatch(f"{name} is null, but total_count is {page.total}")
    return page
