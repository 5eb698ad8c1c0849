"""The metric reference as markdown: what `cyberun-exporter metrics` prints and docs/metrics.md holds."""

from collections.abc import Iterable
from typing import Final

from exporter import catalog, errors
from exporter.catalog import Kind, Metric, Scope

CLOSED_LABELS: Final[dict[tuple[Metric, str], tuple[str, ...]]] = {
    **{(metric, "collector"): catalog.COLLECTORS for metric in catalog.CATALOG if "collector" in metric.labels},
    (catalog.API_REQUEST_FAILURES, "reason"): errors.REASONS,
    (catalog.TEAM_INFO, "credential_kind"): catalog.CREDENTIAL_KINDS,
    (catalog.TASKS, "status"): catalog.TASK_STATUSES,
    (catalog.TASK_OLDEST_CREATED, "status"): catalog.UNSTARTED_TASK_STATUSES,
    (catalog.TASK_RUN, "status"): catalog.FINAL_TASK_STATUSES,
    (catalog.TASKS_FINISHED, "status"): catalog.FINAL_TASK_STATUSES,
    (catalog.AGENTS, "status"): (*catalog.AGENT_STATUSES, catalog.OTHER),
    (catalog.AGENT_STATUS, "status"): (*catalog.AGENT_STATUSES, catalog.OTHER),
}
"""The labels that take no other values than these; an undocumented value of the platform's is `other`."""

_INTRO: Final = """\
# Metrics

Every metric of cyberun-exporter, in the order of the payload. Times are Unix seconds, sizes bytes, ratios 0 to 1.
What is not known has no series: no metric is ever zero or NaN for lack of data.
"""

_SECTIONS: Final = (
    ("The exporter", "Made at every scrape, whatever the platform does; first in the payload.", (Scope.EXPORTER,)),
    (
        "Teams",
        "Present while any of the team's data is fresh: read from the platform within `collect.stale_after`.",
        (Scope.TEAM,),
    ),
    (
        "Tasks",
        (
            f"Present while the team's task data is fresh; `{catalog.TASKS_WITHOUT_ELIGIBLE_AGENT.name}` only while its"
            " agent data is fresh as well."
        ),
        (Scope.TASKS, Scope.ELIGIBILITY),
    ),
    ("Agents", "Present while the team's agent data is fresh.", (Scope.AGENTS,)),
)

_PROCESS: Final = """\
## The process

`process_*` (CPU time, memory, open files, start time) and `python_info` come from the Prometheus client library and
describe the exporter's own process.
"""


def markdown() -> str:
    """The whole reference, ending in one newline."""
    sections = [_section(title, text, scopes) for title, text, scopes in _SECTIONS]
    return "\n".join((_INTRO, *sections, _PROCESS, _closed_labels(), _buckets()))


def _section(title: str, text: str, scopes: tuple[Scope, ...]) -> str:
    metrics = [metric for metric in catalog.CATALOG if metric.scope in scopes]
    rows = ((_code(m.name), m.kind.value, m.unit, ", ".join(map(_code, m.labels)), m.help) for m in metrics)
    return f"## {title}\n\n{text}\n\n{_table(('metric', 'type', 'unit', 'labels', 'meaning'), rows)}"


def _closed_labels() -> str:
    metrics_of: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (metric, label), values in CLOSED_LABELS.items():
        metrics_of.setdefault((label, values), []).append(metric.name)
    rows = (
        (_code(label), ", ".join(map(_code, values)), ", ".join(map(_code, names)))
        for (label, values), names in metrics_of.items()
    )
    text = "Labels that take no other values than these. An undocumented status of an agent is `other`."
    return f"## Label values\n\n{text}\n\n{_table(('label', 'values', 'metrics'), rows)}"


def _buckets() -> str:
    histograms = (metric for metric in catalog.CATALOG if metric.kind is Kind.HISTOGRAM)
    rows = ((_code(m.name), ", ".join(f"{bound:g}" for bound in m.buckets)) for m in histograms)
    return f"## Histogram buckets\n\nUpper bounds, besides `+Inf`.\n\n{_table(('metric', 'bounds'), rows)}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


def _code(text: str) -> str:
    return f"`{text}`"
