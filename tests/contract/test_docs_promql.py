from collections.abc import Iterator

import promql_parser as promql
import pytest

from exporter.catalog import COLLECTORS, FINAL_TASK_STATUSES, TASK_STATUSES, Kind
from exporter.config.types import parse_duration
from exporter.expose.families import REPORTED_AGENT_STATUSES
from exporter.service.budget import MAX_REQUESTS_PER_POLL, MIN_REQUESTS_PER_POLL, series_per_agent, series_per_team
from support.documents import DOCS, autoscalers, autoscaling_queries, blocks
from support.promql import Expression, metric_of
from support.rules import RULES

PAGES = sorted(DOCS.glob("*.md"))
RANGED = {"rate", "increase", "resets"}
TARGET = {"job", "instance"}


def queries() -> Iterator[Expression]:
    """Every query in the documents."""
    for path in PAGES:
        for number, block in enumerate(blocks(path, "promql"), 1):
            yield Expression(f"{path.name} {number}", block)
    for place, (query, _) in autoscaling_queries().items():
        yield Expression(place, query)
    for rule in autoscalers()["adapter"]["externalRules"]:
        yield Expression(f"{rule['name']['as']}: series", rule["seriesQuery"])


QUERIES = list(queries())


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_queries_of_the_documents_are_right(query: Expression) -> None:
    """Each query parses, uses existing metrics and labels, and takes rates only of counters."""
    promql.parse(query.text)
    selectors = query.selectors()
    assert selectors
    known: set[str] = set()
    for selector in selectors:
        metric = metric_of(selector.name)
        assert metric is not None, selector.name
        labels = {*metric.label_names, *TARGET, *({"le"} if metric.kind is Kind.HISTOGRAM else ())}
        assert selector.matchers.keys() <= labels
        known |= labels
        is_counter = metric.kind in {Kind.COUNTER, Kind.HISTOGRAM}
        assert (selector.function in RANGED) is is_counter, selector.name
        if status := selector.matchers.get("status"):
            assert_statuses_exist(selector.name, status)
        if bound := selector.matchers.get("le"):
            assert float(bound.removeprefix("=")) in metric.buckets
        assert selector.matchers.get("collector", "=tasks").removeprefix("=") in COLLECTORS
    assert query.grouping() <= known


def assert_statuses_exist(name: str, matcher: str) -> None:
    """Every status in a matcher is one that the metric has."""
    allowed: tuple[str, ...] = REPORTED_AGENT_STATUSES if "agent" in name else TASK_STATUSES
    if name.startswith(("cyberun_task_run", "cyberun_tasks_finished")):
        allowed = FINAL_TASK_STATUSES
    assert set(matcher.lstrip("=~!").split("|")) <= set(allowed)


def test_every_timing_has_an_example() -> None:
    """The page about timings shows a query of each metric it is about."""
    used = {
        metric.name
        for query in QUERIES
        if query.where.startswith("timings")
        for selector in query.selectors()
        if (metric := metric_of(selector.name))
    }
    assert used >= {
        "cyberun_tasks_finished_total",
        "cyberun_task_run_seconds",
        "cyberun_task_wait_seconds",
        "cyberun_task_retries_total",
        "cyberun_task_oldest_created_timestamp_seconds",
        "cyberun_task_oldest_started_timestamp_seconds",
        "cyberun_tasks_without_eligible_agent",
        "cyberun_agent_connected",
        "cyberun_agent_last_seen_timestamp_seconds",
    }


def test_autoscalers_hold_still_without_data() -> None:
    """No trigger reads missing data as zero: KEDA fails instead and falls back, and no query invents a zero."""
    scaled = autoscalers()["ScaledObject"]
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["fallback"].keys() == {"failureThreshold", "replicas"}
    for trigger in scaled["spec"]["triggers"]:
        assert trigger["type"] == "prometheus"
        assert trigger["metadata"].keys() == {"serverAddress", "query", "threshold", "ignoreNullValues"}
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        # KEDA takes texts only.
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert not any("vector(" in query.source for query in QUERIES if not query.where.startswith("timings"))


def test_the_hpa_asks_for_what_the_adapter_makes() -> None:
    """Each external metric of the HPA is defined by the adapter's rules and selects one team."""
    documents = autoscalers()
    made = {rule["name"]["as"] for rule in documents["adapter"]["externalRules"]}
    asked = [metric["external"]["metric"] for metric in documents["HorizontalPodAutoscaler"]["spec"]["metrics"]]
    assert {metric["name"] for metric in asked} == made
    assert all(metric["selector"]["matchLabels"].keys() == {"team_name"} for metric in asked)


def test_both_autoscalers_ask_the_same() -> None:
    """KEDA and the HPA have the same queries and thresholds, so tests of one hold for the other."""
    asked = autoscaling_queries()
    assert asked.keys() == {"KEDA 0", "KEDA 1", "HPA 0", "HPA 1"}
    assert asked["KEDA 0"] == asked["HPA 0"]
    assert asked["KEDA 1"] == asked["HPA 1"]


def test_agents_that_scale_down_are_forgotten_before_their_alert_fires() -> None:
    """The page's `agent_memory` is shorter than the `for` of the alert about disconnected agents."""
    (alert,) = (rule for rule in RULES if rule.name == "CyberunAgentDisconnected")
    memory = parse_duration(autoscalers()["exporter"]["collect"]["agent_memory"])
    assert memory + parse_duration("2m") <= parse_duration(alert.document["for"])


def test_the_sizing_guide_has_the_numbers_of_check() -> None:
    """Series and requests in the guide are those that `cyberun-exporter check` counts with."""
    text = (DOCS / "cardinality.md").read_text(encoding="utf-8")
    team, agent = series_per_team(), series_per_agent(1)
    gpu = series_per_agent(2) - agent
    wanted = [
        f"| a team without agents, with tasks in every status | {team} |",
        f"| a connected agent with one GPU | {agent} |",
        f"| each further GPU | {gpu} |",
        f"**{team} T + {agent - gpu} A + {gpu} G**",
        f"such as the name of a pod, creates {agent} new",
        f"| a poll of a team with up to 100 agents | {MIN_REQUESTS_PER_POLL}:",
        f"1 more, so {MAX_REQUESTS_PER_POLL} at most |",
    ]
    for fleet, teams, agents, gpus in (
        ("1 team, 10 agents with one GPU each", 1, 10, 1),
        ("5 teams, 100 agents with 4 GPUs each", 5, 100, 4),
        ("100 teams, 10,000 agents with 4 GPUs each", 100, 10_000, 4),
    ):
        wanted.append(f"| {fleet} | {team * teams + agents * (agent + gpu * (gpus - 1)):,} |")
    missing = [words for words in wanted if words not in text]
    assert not missing, "\n".join(("docs/cardinality.md has other numbers; write these instead:", *missing))
