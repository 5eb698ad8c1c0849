"""Where each field, status and rule of the simulated platform comes from: the documentation, or our reading of it.

The documentation is that of docs.cyberun.cloud. Inferred behaviour that names an assumption can be reversed: see
`Assumptions`. docs/simulator.md shows all of this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Source(StrEnum):
    """The source of a fact."""

    DOCUMENTED = "documented"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class Rule:
    """How the platform behaves.

    Attributes:
        assumption: the field of `Assumptions` that reverses it; "" where none does.
        reverse: how it behaves then.
    """

    text: str
    source: Source
    assumption: str = ""
    reverse: str = ""


_TASK: Final = (
    "id workflow_id created_at started_at completed_at retry_count agent_id agent_labels gateway_id gpu_type"
    " dispatch_target target_pool tool_type"
)
_AGENT: Final = (
    "agent_id agent_status agent_labels last_heartbeat connected_at agent_version tool tool_version comfyui_version"
    " platform_arch gpu_capacity running_count running_tasks current_task_id tasks_completed sync_phase sync_detail"
    " sync_percent system_stats.comfyui_version system_stats.pytorch_version system_stats.os_type"
    " system_stats.gpu_devices.device_name system_stats.gpu_devices.device_type system_stats.gpu_devices.vram_total"
    " system_stats.gpu_devices.vram_free"
)
FIELDS: Final[Mapping[Source, Mapping[str, tuple[str, ...]]]] = {
    Source.DOCUMENTED: {
        "a task": tuple(_TASK.split()),
        "an agent": tuple(_AGENT.split()),
        "a workflow": ("workflow_slug", "display_name", "version"),
        "`page_meta`": ("current_page", "per_page", "total_count"),
        "`/users/me`": (
            "team_list.id",
            "team_list.display_name",
            "feature_flags.global.quotas.*",
            "feature_flags.account.quotas.*",
            "feature_flags.teams.*",
        ),
        "`/auth/refresh`": ("access_token", "refresh_token", "expires_in"),
        "an error": ("error_message",),
    },
    Source.INFERRED: {
        "a task": ("task_status",),
        "a workflow": ("id",),
        "`/users/me`": (
            "id",
            "display_name",
            "feature_flags.global.features",
            "feature_flags.account.features",
            "feature_flags.teams.*.features",
            "feature_flags.teams.*.quotas.*",
        ),
    },
}
"""The source of each field sent; `*` stands for names and ids that the platform chooses."""

STATUSES: Final[Mapping[Source, Mapping[str, tuple[str, ...]]]] = {
    Source.DOCUMENTED: {
        "a task": ("pending", "waiting", "provisioning", "queued", "running", "completed", "failed", "cancelled"),
        "an agent": ("idle", "busy", "syncing", "tunnel", "unhealthy"),
    },
}
"""The source of each status."""

_DOCUMENTED: Final = (
    "lists are paged by `current_page` from 1 and `per_page` from 1 to 100, 20 by default",
    "tasks can be filtered by every status except `provisioning`",
    "finished tasks stay listed until retention removes them",
    "an agent that loses its connection leaves the list: there is no status for it",
    "`sk-` keys are accepted only on `/r/…`, `dk-` keys and JWTs everywhere, `ak-` keys nowhere",
    "keys are bound to a team and ignore `X-Team-ID`; a JWT without it gets 400, except on `/users/me`",
    "a JWT lives an hour; a refresh gives a new pair of tokens, and the old refresh token gets 401 from then on",
    "revoking a key works on the next request",
    'errors are `{"error_message": …}`; times are RFC 3339 in UTC',
    "a limit of -1 means unlimited",
)
_REVERSIBLE: Final = {
    "status_field": ("the field for a task's status is `task_status`", "it is `status`"),
    "labels_before_assignment": (
        "`agent_labels` of a task without an agent are those it requires",
        "it has none before it has an agent",
    ),
    "users_me": ("a deployment serves `/users/me`", "it gets 404"),
    "nested_team_quotas": (
        "limits of a team are in `feature_flags.teams`, by its id, beside `features`",
        "the limits are there directly, without `features`",
    ),
    "provisioning_filter": ("filtering by `provisioning` gets 400", "it returns those tasks"),
    "filtered_total": ("`total_count` of a filtered list counts what passes the filter", "it counts all tasks"),
    "stable_order": (
        "lists keep their order: newest created task first, agents by id",
        "each request returns another order",
    ),
    "uuid_team_ids": ("the id of a team is a UUID", "it is a word such as `team_01HX…`"),
    "unique_agent_ids": ("no two agents of a team have the same id", "the first agent has a twin with its id"),
}
_INFERRED: Final = (
    "`/r/agents` answers as `/agents` does",
    "a field without a value is left out",
    "`tasks_completed` starts at 0 when an agent connects again",
    "memory is in bytes; `gpu_capacity` is the number of cards",
    "a key on a path it may not use, and a team that is not the user's, get 403; unknown paths get 404",
    "an unknown status, and paging out of range, get 400",
    "no rate limit, no `Retry-After`",
)
RULES: Final = (
    *(Rule(text, Source.DOCUMENTED) for text in _DOCUMENTED),
    *(Rule(text, Source.INFERRED, name, reverse) for name, (text, reverse) in _REVERSIBLE.items()),
    *(Rule(text, Source.INFERRED) for text in _INFERRED),
)
"""The source of each rule of behaviour."""
