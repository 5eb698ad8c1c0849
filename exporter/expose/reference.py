"""The metric reference as markdown: what `cyberun-exporter metrics` prints and docs/metrics.md holds."""

from collections.abc import Iterable
from typing import Final

from exporter import catalog
from exporter.catalog import ClosedSet, Kind, Limit, OnePer, Scope

_INTRO: Final = """\
# Metrics

Every metric of cyberun-exporter, in the order of the exposition. Times are Unix seconds, sizes bytes, ratios 0 to 1.
Unknown values have no series: no metric is ever zero or NaN for lack of data.
"""

_SECTIONS: Final = (
    (
        "The exporter",
        "Computed at every scrape, so always present; they come first in the exposition.",
        (Scope.EXPORTER,),
    ),
    (
        "Teams",
        "Present while any of the team's data is fresh, that is, read from the platform within `collect.stale_after`.",
        (Scope.TEAM,),
    ),
    (
        "Tasks",
        (
            f"Present while the team's task data is fresh; `{catalog.TASKS_WITHOUT_ELIGIBLE_AGENT.name}` only while its"
            " agent data is fresh as well."
        ),
        (Scope.TASKS, Scope.ASSIGNMENT),
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
    return "\n".join((_INTRO, *sections, _PROCESS, _label_values(), _buckets()))


def _section(title: str, text: str, scopes: tuple[Scope, ...]) -> str:
    metrics = [metric for metric in catalog.CATALOG if metric.scope in scopes]
    rows = ((_code(m.name), m.kind.value, m.unit, ", ".join(map(_code, m.label_names)), m.help) for m in metrics)
    return f"## {title}\n\n{text}\n\n{_table(('metric', 'type', 'unit', 'labels', 'meaning'), rows)}"


def _label_values() -> str:
    metrics_of: dict[tuple[str, ClosedSet], list[str]] = {}
    labels_of: dict[str, dict[str, None]] = {}
    for metric in catalog.CATALOG:
        for label in metric.labels:
            if isinstance(label.bound, ClosedSet):
                metrics_of.setdefault((label.name, label.bound), []).append(metric.name)
            else:
                labels_of.setdefault(_in_words(label.bound), {})[label.name] = None
    closed = (
        (_code(label), ", ".join(map(_code, bound.values)), ", ".join(map(_code, names)))
        for (label, bound), names in metrics_of.items()
    )
    open_ended = ((", ".join(map(_code, labels)), bound) for bound, labels in labels_of.items())
    return (
        "## Label values\n\nThese labels take only the values listed. An undocumented status of an agent is `other`."
        f"\n\n{_table(('label', 'values', 'metrics'), closed)}"
        "\nThe number of values of all other labels at a time is limited as follows. A team has series of at most"
        " `collect.max_agents` connected agents, and of as many vanished ones."
        f"\n\n{_table(('label', 'values'), open_ended)}"
    )


def _in_words(bound: OnePer | Limit) -> str:
    return f"{'one' if isinstance(bound, OnePer) else f'at most {bound.most}'} for {bound.part.value}"


def _buckets() -> str:
    histograms = (metric for metric in catalog.CATALOG if metric.kind is Kind.HISTOGRAM)
    rows = ((_code(m.name), ", ".join(f"{bound:g}" for bound in m.buckets)) for m in histograms)
    return f"## Histogram buckets\n\nUpper bounds, in addition to `+Inf`.\n\n{_table(('metric', 'bounds'), rows)}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


def _code(text: str) -> str:
    return f"`{text}`"
