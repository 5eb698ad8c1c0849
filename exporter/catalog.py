"""Every metric this exporter can expose: name, kind, help, unit, and labels with their bounds. Data only.

This is the only place where metrics are named. Rendering, the reference page, dashboards and tests take the names
from here. Their order is that of the exposition: metrics about the exporter come first.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from exporter.errors import REASONS


class Kind(Enum):
    """Metric types, as OpenMetrics spells them."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"


class Scope(Enum):
    """What a metric's samples are computed from, which decides how long they are served."""

    EXPORTER = "exporter"
    """Computed at every scrape; always present."""
    TEAM = "team"
    """Present while any of the team's data is fresh."""
    TASKS = "tasks"
    """Present while the team's task data is fresh."""
    AGENTS = "agents"
    """Present while the team's agent data is fresh."""
    ASSIGNMENT = "assignment"
    """Computed from both lists together; present while both are fresh."""


@dataclass(frozen=True, slots=True)
class ClosedSet:
    """A label takes only these values."""

    values: tuple[str, ...]


class Part(Enum):
    """What the number of a label's values may be proportional to. The number of tasks is not among these."""

    PROCESS = "the process"
    TEAM = "each team"
    DISCOVERY = "each discovery of teams"
    AGENT = "each agent"
    GPU = "each GPU"
    WORKFLOW = "each workflow that collect.workflows allows"
    API_PATH = "each API path that is called"
    API_FIELD = "each API field that is read"


@dataclass(frozen=True, slots=True)
class OnePer:
    """A label takes one value at a time for each of these."""

    part: Part


@dataclass(frozen=True, slots=True)
class Limit:
    """A label takes at most this many values for each of these, whatever the platform sends."""

    most: int
    part: Part


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a metric, and what bounds the number of its values."""

    name: str
    bound: ClosedSet | OnePer | Limit


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric family. Compared by identity, because it is the key wherever samples are collected.

    Attributes:
        name: as in samples: counters end in `_total`, infos in `_info`; histograms have no suffix here.
        unit: the OpenMetrics unit; empty if there is none. The name (without `_total`) ends in it.
        buckets: upper bounds of a histogram, ascending, without +Inf.
    """

    name: str
    kind: Kind
    scope: Scope
    help: str
    labels: tuple[Label, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the labels, in their order in samples."""
        return tuple(label.name for label in self.labels)

    def values_of(self, label: str) -> tuple[str, ...] | None:
        """Every value that this label can take; None if they are not a closed set."""
        bounds = (each.bound for each in self.labels if each.name == label)
        return next((bound.values for bound in bounds if isinstance(bound, ClosedSet)), None)

    @property
    def family(self) -> str:
        """The OpenMetrics family name: without `_total` and `_info`."""
        match self.kind:
            case Kind.COUNTER:
                return self.name.removesuffix("_total")
            case Kind.INFO:
                return self.name.removesuffix("_info")
            case _:
                return self.name


# Closed sets of label values. An unknown value from the platform is reported as OTHER and counted.
OTHER: Final = "other"
ACTIVE_TASK_STATUSES: Final = ("pending", "waiting", "queued", "running")
FINAL_TASK_STATUSES: Final = ("completed", "failed", "cancelled")
PROVISIONING: Final = "provisioning"
"""An active status between waiting and queued, on platforms that filter by it."""
TASK_STATUSES: Final = ACTIVE_TASK_STATUSES + FINAL_TASK_STATUSES
UNSTARTED_TASK_STATUSES: Final = ACTIVE_TASK_STATUSES[:-1]
AGENT_STATUSES: Final = ("idle", "busy", "syncing", "tunnel", "unhealthy")
COLLECTORS: Final = ("tasks", "agents")
MAX_COMBINATIONS: Final = 64
"""Maximum number of label combinations of one team's execution seconds; further ones are OTHER."""


class Operation(StrEnum):
    """What the exporter does, and where a bug of its own can make it fail."""

    TASKS = "tasks"
    AGENTS = "agents"
    QUOTAS = "quotas"
    WORKFLOWS = "workflows"
    PUBLISHING = "publishing"
    """Rendering metrics that need both lists of a team, and those about the team."""
    DISCOVERY = "discovery"
    RELOAD = "reload"
    HTTP = "http"


DISCOVERED_TEAM_STATES: Final = ("polled", "left_out", "not_wanted")
CREDENTIAL_KINDS: Final = ("integration", "device", "jwt")

AGENT_INFO_LABELS: Final = (
    "agent_version",
    "tool",
    "tool_version",
    "comfyui_version",
    "pytorch_version",
    "os_type",
    "platform_arch",
)

# From seconds to hours. Never changed, because quantiles over a change of buckets are wrong.
WAIT_BUCKETS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)
RUN_BUCKETS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)
REQUEST_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_TEAM_NAME: Final = Label("team_name", OnePer(Part.TEAM))
_DISCOVERY: Final = (Label("discovery", OnePer(Part.DISCOVERY)),)
_COLLECTOR_NAME: Final = Label("collector", ClosedSet(COLLECTORS))
_PATH: Final = Label("path", OnePer(Part.API_PATH))
_AGENT_ID: Final = Label("agent_id", OnePer(Part.AGENT))
_GPU_PLACE: Final = Label("gpu", Limit(64, Part.AGENT))
_WORKFLOW_ID: Final = Label("workflow_id", OnePer(Part.WORKFLOW))
_COMBINATIONS: Final = Limit(MAX_COMBINATIONS + 1, Part.TEAM)  # OTHER is one more
_FINAL_STATUS: Final = Label("status", ClosedSet(FINAL_TASK_STATUSES))
_AGENT_STATUS: Final = Label("status", ClosedSet((*AGENT_STATUSES, OTHER)))

_TEAM: Final = (_TEAM_NAME,)
_COLLECTOR: Final = (_TEAM_NAME, _COLLECTOR_NAME)
_AGENT: Final = (_TEAM_NAME, _AGENT_ID)
_GPU: Final = (*_AGENT, _GPU_PLACE)


def _exporter(name: str, kind: Kind, text: str, labels: tuple[Label, ...] = (), unit: str = "") -> Metric:
    return Metric(name, kind, Scope.EXPORTER, text, labels, unit)


# --- About the exporter -----------------------------------------------------------------------------------

UP = _exporter(
    "cyberun_up",
    Kind.GAUGE,
    "1 when every collector's last poll of the team succeeded and its data is fresh, else 0.",
    _TEAM,
)
COLLECTOR_SUCCESS = _exporter(
    "cyberun_collector_success", Kind.GAUGE, "Whether the collector's last poll succeeded.", _COLLECTOR
)
COLLECTOR_DURATION = _exporter(
    "cyberun_collector_duration_seconds",
    Kind.GAUGE,
    "How long the collector's last poll took, failed or not, including its wait for a permit to poll.",
    _COLLECTOR,
    "seconds",
)
COLLECTOR_INTERVAL = _exporter(
    "cyberun_collector_interval_seconds",
    Kind.GAUGE,
    "The configured time between two polls of the collector.",
    _COLLECTOR,
    "seconds",
)
COLLECTOR_LAST_SUCCESS = _exporter(
    "cyberun_collector_last_success_timestamp_seconds",
    Kind.GAUGE,
    "When the collector's last successful poll ended; absent before the first.",
    _COLLECTOR,
    "seconds",
)
COLLECTOR_LAST_ATTEMPT = _exporter(
    "cyberun_collector_last_attempt_timestamp_seconds",
    Kind.GAUGE,
    "When the collector's last poll started, failed or not; absent before the first.",
    _COLLECTOR,
    "seconds",
)
COLLECTOR_ITEMS = _exporter(
    "cyberun_collector_items",
    Kind.GAUGE,
    "Items the last successful poll read. Tasks are counted by the platform's totals and read only in part.",
    _COLLECTOR,
)
COLLECTOR_ITEMS_REPORTED = _exporter(
    "cyberun_collector_items_reported",
    Kind.GAUGE,
    "Items that exist according to the platform, as of the last successful poll.",
    _COLLECTOR,
)
COLLECTOR_TRUNCATED = _exporter(
    "cyberun_collector_truncated",
    Kind.GAUGE,
    "1 when the last successful poll could not read everything: the totals do not add up or a limit was reached.",
    _COLLECTOR,
)
API_REQUESTS = _exporter(
    "cyberun_exporter_api_requests_total",
    Kind.COUNTER,
    "Requests sent to the platform.",
    (_TEAM_NAME, _PATH),
)
API_REQUEST_FAILURES = _exporter(
    "cyberun_exporter_api_request_failures_total",
    Kind.COUNTER,
    "Requests to the platform that gave no usable answer, by reason.",
    (_TEAM_NAME, _PATH, Label("reason", ClosedSet(REASONS))),
)
API_REQUEST_SECONDS = Metric(
    "cyberun_exporter_api_request_seconds",
    Kind.HISTOGRAM,
    Scope.EXPORTER,
    "Time from sending a request to the last byte of its answer, over all teams.",
    (_PATH,),
    "seconds",
    REQUEST_BUCKETS,
)
API_BACKOFF_UNTIL = _exporter(
    "cyberun_exporter_api_backoff_until_timestamp_seconds",
    Kind.GAUGE,
    "When polls of the team resume, if they are held back after failures or at the platform's request; else absent.",
    _TEAM,
    "seconds",
)
UNKNOWN_VALUES = _exporter(
    "cyberun_exporter_unknown_values_total",
    Kind.COUNTER,
    "Values in the platform's answers that had a wrong type, were out of range or are not documented, by field.",
    (Label("field", OnePer(Part.API_FIELD)),),
)
SERIES = _exporter("cyberun_exporter_series", Kind.GAUGE, "Domain series of the team in this exposition.", _TEAM)
SERIES_DROPPED = _exporter(
    "cyberun_exporter_series_dropped",
    Kind.GAUGE,
    "Domain series of the team left out of this exposition because a limit such as collect.max_agents was reached.",
    _TEAM,
)
CLOCK_SKEW = _exporter(
    "cyberun_exporter_clock_skew_seconds",
    Kind.GAUGE,
    "The platform's clock minus the exporter's, from the Date header of its last answer, to about a second.",
    (),
    "seconds",
)
CREDENTIAL_LAST_LOAD = _exporter(
    "cyberun_exporter_credential_last_load_timestamp_seconds",
    Kind.GAUGE,
    "When the team's credential was last read from its file or the environment.",
    _TEAM,
    "seconds",
)
CREDENTIAL_EXPIRY = _exporter(
    "cyberun_exporter_credential_expiry_timestamp_seconds",
    Kind.GAUGE,
    "When the team's credential expires; only where known, from a JWT or from token_expires.",
    _TEAM,
    "seconds",
)
DISCOVERY_SUCCESS = _exporter(
    "cyberun_discovery_success",
    Kind.GAUGE,
    "1 if the last attempt to discover the teams of a credential succeeded, else 0; 0 before the first.",
    _DISCOVERY,
)
DISCOVERY_LAST_SUCCESS = _exporter(
    "cyberun_discovery_last_success_timestamp_seconds",
    Kind.GAUGE,
    "When the teams of a credential were last discovered successfully; 0 before the first time.",
    _DISCOVERY,
    "seconds",
)
DISCOVERY_TEAMS = _exporter(
    "cyberun_discovery_teams",
    Kind.GAUGE,
    "Teams discovered with a credential: polled, left out although the patterns match (the log says why), or not"
    " wanted because they do not match; absent before the first success.",
    (*_DISCOVERY, Label("state", ClosedSet(DISCOVERED_TEAM_STATES))),
)
INTERNAL_ERRORS = _exporter(
    "cyberun_exporter_internal_errors_total",
    Kind.COUNTER,
    "Failures of the exporter itself, such as a bug or a lack of threads, by what failed; each is logged.",
    (Label("operation", ClosedSet(tuple(Operation))),),
)
LOG_LINES_DROPPED = _exporter(
    "cyberun_exporter_log_lines_dropped_total",
    Kind.COUNTER,
    "Lines of the log that were lost because nobody read them in time.",
)
CONFIG_RELOAD_SUCCESSFUL = _exporter(
    "cyberun_exporter_config_last_reload_successful",
    Kind.GAUGE,
    "Whether the last attempt to load the configuration succeeded.",
)
CONFIG_RELOAD_SUCCESS = _exporter(
    "cyberun_exporter_config_last_reload_success_timestamp_seconds",
    Kind.GAUGE,
    "When the configuration was last loaded successfully.",
    (),
    "seconds",
)
BUILD_INFO = _exporter(
    "cyberun_exporter_build_info",
    Kind.INFO,
    "The version of this exporter, the revision it was built from and the Python it runs on.",
    tuple(Label(name, OnePer(Part.PROCESS)) for name in ("version", "revision", "python_version")),
)

# --- Team -------------------------------------------------------------------------------------------------

TEAM_INFO = Metric(
    "cyberun_team_info",
    Kind.INFO,
    Scope.TEAM,
    "The team's id, where configured, and the kind of credential it is polled with.",
    (_TEAM_NAME, Label("team_id", OnePer(Part.TEAM)), Label("credential_kind", ClosedSet(CREDENTIAL_KINDS))),
)
TEAM_QUOTA = Metric(
    "cyberun_team_quota",
    Kind.GAUGE,
    Scope.TEAM,
    "The team's limits as reported by /users/me, with their namespace: global, account or teams. No series for"
    " unlimited ones, nor with a credential that cannot read them.",
    (_TEAM_NAME, Label("quota", Limit(50, Part.TEAM))),
)

# --- Tasks ------------------------------------------------------------------------------------------------

TASKS = Metric(
    "cyberun_tasks",
    Kind.GAUGE,
    Scope.TASKS,
    "Tasks listed in each status. Final statuses decrease when retention removes old tasks. Where the platform does not"
    " filter by provisioning, tasks that no filter shows are counted as other at every tenth poll.",
    (_TEAM_NAME, Label("status", ClosedSet((*TASK_STATUSES, PROVISIONING, OTHER)))),
)
TASK_OLDEST_CREATED = Metric(
    "cyberun_task_oldest_created_timestamp_seconds",
    Kind.GAUGE,
    Scope.TASKS,
    "When the oldest task of the status was created; absent when there is none.",
    (_TEAM_NAME, Label("status", ClosedSet(UNSTARTED_TASK_STATUSES))),
    "seconds",
)
TASK_OLDEST_STARTED = Metric(
    "cyberun_task_oldest_started_timestamp_seconds",
    Kind.GAUGE,
    Scope.TASKS,
    "When the longest-running task started; absent when none is running.",
    _TEAM,
    "seconds",
)
TASK_WAIT = Metric(
    "cyberun_task_wait_seconds",
    Kind.HISTOGRAM,
    Scope.TASKS,
    "Time from a task's creation to its start, once per task that started after the exporter's first poll.",
    _TEAM,
    "seconds",
    WAIT_BUCKETS,
)
TASK_RUN = Metric(
    "cyberun_task_run_seconds",
    Kind.HISTOGRAM,
    Scope.TASKS,
    "Time from a task's start to its end, once per task that finished after the exporter's first poll.",
    (_TEAM_NAME, _FINAL_STATUS),
    "seconds",
    RUN_BUCKETS,
)
TASKS_FINISHED = Metric(
    "cyberun_tasks_finished_total",
    Kind.COUNTER,
    Scope.TASKS,
    "Tasks that finished after the exporter's first poll, each counted once.",
    (_TEAM_NAME, _FINAL_STATUS),
)
TASK_RETRIES = Metric(
    "cyberun_task_retries_total",
    Kind.COUNTER,
    Scope.TASKS,
    "Retries of the tasks that finished after the exporter's first poll.",
    _TEAM,
)
TASKS_WITHOUT_ELIGIBLE_AGENT = Metric(
    "cyberun_tasks_without_eligible_agent",
    Kind.GAUGE,
    Scope.ASSIGNMENT,
    "Waiting tasks whose required labels no connected agent has, among the waiting tasks read (the first and the last"
    " page) that say what they require; absent when tasks wait and none of them does. It is inferred that a task"
    " without an agent lists the labels it requires in agent_labels.",
    _TEAM,
)
TASKS_ON_ABSENT_AGENTS = Metric(
    "cyberun_tasks_on_absent_agents",
    Kind.GAUGE,
    Scope.ASSIGNMENT,
    "Running tasks whose agent is not listed, among the running tasks read (the first and the last page) that name"
    " their agent; absent unless both lists were read completely.",
    _TEAM,
)
TASKS_RETRYING = Metric(
    "cyberun_tasks_retrying",
    Kind.GAUGE,
    Scope.TASKS,
    "Active tasks that were retried at least once, among those read (the first and the last page of each status).",
    _TEAM,
)
TASK_EXECUTION = Metric(
    "cyberun_task_execution_seconds_total",
    Kind.COUNTER,
    Scope.TASKS,
    "Total time from start to end of the tasks that finished after the exporter's first poll. A team has at most"
    f" {MAX_COMBINATIONS} combinations of labels; further ones are other. Labels that the platform omits are empty.",
    (
        _TEAM_NAME,
        _FINAL_STATUS,
        Label("gpu_type", _COMBINATIONS),
        Label("dispatch_target", _COMBINATIONS),
        Label("target_pool", _COMBINATIONS),
        Label("tool_type", _COMBINATIONS),
    ),
    "seconds",
)

WORKFLOW_TASKS_FINISHED = Metric(
    "cyberun_workflow_tasks_finished_total",
    Kind.COUNTER,
    Scope.TASKS,
    "Tasks that finished after the exporter's first poll, by workflow; only with collect.workflows. The workflows with"
    " the most finished tasks have series of their own, the rest are other.",
    (_TEAM_NAME, _WORKFLOW_ID, _FINAL_STATUS),
)
WORKFLOW_EXECUTION = Metric(
    "cyberun_workflow_execution_seconds_total",
    Kind.COUNTER,
    Scope.TASKS,
    "Total time from start to end of the tasks that finished after the exporter's first poll, by workflow; only with"
    " collect.workflows.",
    (_TEAM_NAME, _WORKFLOW_ID, _FINAL_STATUS),
    "seconds",
)
WORKFLOW_INFO = Metric(
    "cyberun_workflow_info",
    Kind.INFO,
    Scope.TASKS,
    "The workflow's slug and name, if the platform lists them; only with collect.workflows.",
    (
        _TEAM_NAME,
        _WORKFLOW_ID,
        Label("workflow_slug", OnePer(Part.WORKFLOW)),
        Label("display_name", OnePer(Part.WORKFLOW)),
    ),
)

# --- Agents -----------------------------------------------------------------------------------------------

AGENTS = Metric(
    "cyberun_agents", Kind.GAUGE, Scope.AGENTS, "Connected agents in each status.", (_TEAM_NAME, _AGENT_STATUS)
)
AGENT_STATUS = Metric(
    "cyberun_agent_status",
    Kind.GAUGE,
    Scope.AGENTS,
    "1 for the status the agent is in, 0 for the others.",
    (*_AGENT, _AGENT_STATUS),
)
AGENT_RUNNING_TASKS = Metric(
    "cyberun_agent_running_tasks",
    Kind.GAUGE,
    Scope.AGENTS,
    "Tasks running on the agent, from its running_count.",
    _AGENT,
)
AGENT_GPU_CAPACITY = Metric(
    "cyberun_agent_gpu_capacity",
    Kind.GAUGE,
    Scope.AGENTS,
    "How many tasks or GPUs the agent offers, from its gpu_capacity.",
    _AGENT,
)
AGENT_TASKS_COMPLETED = Metric(
    "cyberun_agent_tasks_completed_total",
    Kind.COUNTER,
    Scope.AGENTS,
    "Tasks the agent completed by its own count; may restart at 0 when it reconnects.",
    _AGENT,
)
AGENT_TASKS_FAILED = Metric(
    "cyberun_agent_tasks_failed_total",
    Kind.COUNTER,
    Scope.ASSIGNMENT,
    "Tasks that failed on the agent after the exporter's first poll, each counted once. Only for connected agents.",
    _AGENT,
)
AGENT_CONNECTED = Metric(
    "cyberun_agent_connected",
    Kind.GAUGE,
    Scope.AGENTS,
    "1 while the platform lists the agent; 0 when it is expected or was listed within collect.agent_memory.",
    _AGENT,
)
AGENT_LAST_SEEN = Metric(
    "cyberun_agent_last_seen_timestamp_seconds",
    Kind.GAUGE,
    Scope.AGENTS,
    "When a poll last found the agent listed; absent if never.",
    _AGENT,
    "seconds",
)
AGENT_LAST_HEARTBEAT = Metric(
    "cyberun_agent_last_heartbeat_timestamp_seconds",
    Kind.GAUGE,
    Scope.AGENTS,
    "The agent's last heartbeat, by the platform's clock.",
    _AGENT,
    "seconds",
)
AGENT_CONNECTED_SINCE = Metric(
    "cyberun_agent_connected_timestamp_seconds",
    Kind.GAUGE,
    Scope.AGENTS,
    "When the agent connected, by the platform's clock.",
    _AGENT,
    "seconds",
)
AGENT_SYNC = Metric(
    "cyberun_agent_sync_ratio",
    Kind.GAUGE,
    Scope.AGENTS,
    "Progress of the file being synced, 0 to 1. It falls when the next file starts. For an agent that is not syncing,"
    " present only below 1.",
    (*_AGENT, Label("phase", OnePer(Part.AGENT))),
    "ratio",
)
AGENT_INFO = Metric(
    "cyberun_agent_info",
    Kind.INFO,
    Scope.AGENTS,
    "Versions and platform of the agent.",
    (*_AGENT, *(Label(name, OnePer(Part.AGENT)) for name in AGENT_INFO_LABELS)),
)
AGENT_LABEL = Metric(
    "cyberun_agent_label",
    Kind.GAUGE,
    Scope.AGENTS,
    "1 for each label of the agent; only with collect.agent_labels.",
    (*_AGENT, Label("label", Limit(256, Part.AGENT))),
)
AGENT_GPU_VRAM_SIZE = Metric(
    "cyberun_agent_gpu_vram_size_bytes",
    Kind.GAUGE,
    Scope.AGENTS,
    "Total memory of the GPU at this position.",
    _GPU,
    "bytes",
)
AGENT_GPU_VRAM_FREE = Metric(
    "cyberun_agent_gpu_vram_free_bytes",
    Kind.GAUGE,
    Scope.AGENTS,
    "Free memory of the GPU at this position.",
    _GPU,
    "bytes",
)
AGENT_GPU_INFO = Metric(
    "cyberun_agent_gpu_info",
    Kind.INFO,
    Scope.AGENTS,
    "Name and type of the GPU at this position.",
    (*_GPU, Label("device_name", OnePer(Part.GPU)), Label("device_type", OnePer(Part.GPU))),
)

CATALOG: Final[tuple[Metric, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All metrics, in the order of the exposition."""
EXPORTER_METRICS: Final = tuple(metric for metric in CATALOG if metric.scope is Scope.EXPORTER)
DOMAIN_METRICS: Final = tuple(metric for metric in CATALOG if metric.scope is not Scope.EXPORTER)
