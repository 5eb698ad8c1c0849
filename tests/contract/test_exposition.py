"""The catalogue and a scrape of the full fixture agree, in both directions."""

import asyncio
import re

import pytest
from prometheus_client import Metric as Family

from exporter import catalog, errors
from exporter.catalog import (
    CATALOG,
    DOMAIN_METRICS,
    EXPORTER_METRICS,
    ClosedSet,
    Kind,
    Label,
    Metric,
)
from fixtures import full_exporter, stable_exposition
from support import Samples, parse_openmetrics, parse_text

PROCESS = ("process_", "python_")
SUFFIXES = {
    Kind.GAUGE: ("",),
    Kind.COUNTER: ("_total",),
    Kind.INFO: ("_info",),
    Kind.HISTOGRAM: ("_bucket", "_sum", "_count"),
}

every_metric = pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)


@pytest.fixture(scope="module")
def both() -> tuple[str, str]:
    """The full fixture in the text format and in OpenMetrics."""
    return asyncio.run(_both())


async def _both() -> tuple[str, str]:
    exporter = await full_exporter()
    return await stable_exposition(exporter, openmetrics=False), await stable_exposition(exporter, openmetrics=True)


@pytest.fixture(scope="module")
def text(both: tuple[str, str]) -> Samples:
    return parse_text(both[0])


@pytest.fixture(scope="module")
def openmetrics(both: tuple[str, str]) -> Samples:
    return parse_openmetrics(both[1])


def sample_names(metric: Metric) -> set[str]:
    return {metric.family + suffix for suffix in SUFFIXES[metric.kind]}


def family(metric: Metric, samples: Samples) -> Family:
    """The family as the client library read it."""
    found = samples.families.get(metric.family)
    if found is None:
        pytest.fail(
            f"no series of {metric.name}: yield it in exporter/expose, and let tests/fixtures/full.py have some"
        )
    return found


@every_metric
def test_openmetrics_is_as_catalogued(metric: Metric, openmetrics: Samples) -> None:
    """Each metric is exposed, under its type, unit and help."""
    found = family(metric, openmetrics)
    assert (found.type, found.unit, found.documentation) == (metric.kind.value, metric.unit, metric.help)


@every_metric
def test_text_is_as_catalogued(metric: Metric, both: tuple[str, str]) -> None:
    """The text format has neither infos nor units; its headers use the names of the samples."""
    kind = "gauge" if metric.kind is Kind.INFO else metric.kind.value
    assert f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {kind}\n{metric.name}" in both[0]


@every_metric
def test_labels_are_as_catalogued(metric: Metric, text: Samples) -> None:
    """Every sample carries exactly the labels of its metric; buckets a bound besides."""
    found = [(name, set(dict(labels))) for name, labels in text.values if name in sample_names(metric)]
    assert found
    for name, labels in found:
        assert labels == {*metric.label_names, *(["le"] if name.endswith("_bucket") else [])}


def test_nothing_else_is_exposed(text: Samples, openmetrics: Samples) -> None:
    """Every sample belongs to the catalogue."""
    known = set().union(*map(sample_names, CATALOG))
    assert text.names() == openmetrics.names() == known


def test_both_formats_say_the_same(text: Samples, openmetrics: Samples) -> None:
    """A series and its value do not depend on the format."""
    assert text.values == openmetrics.values


def test_order_of_the_payload(both: tuple[str, str]) -> None:
    """Families come in the order of the catalogue, each once, and those about the exporter first."""
    for exposition, name in zip(both, ("name", "family"), strict=True):
        headed = re.findall(r"^# TYPE (\S+) ", exposition, re.MULTILINE)
        assert headed == [getattr(metric, name) for metric in (*EXPORTER_METRICS, *DOMAIN_METRICS)]


async def test_process_metrics_stand_with_the_exporters_own() -> None:
    """The metrics of the process come after those of the exporter and before those of the teams."""
    answer = await (await full_exporter()).scrape(openmetrics=True)
    headed = re.findall(r"^# TYPE (\S+) ", b"".join(answer.text()).decode(), re.MULTILINE)
    process = [i for i, name in enumerate(headed) if name.startswith(PROCESS)]
    assert process == list(range(len(EXPORTER_METRICS), len(headed) - len(DOMAIN_METRICS)))
    assert process


@pytest.mark.parametrize(
    ("metric", "label"),
    [(metric, label) for metric in CATALOG for label in metric.labels if isinstance(label.bound, ClosedSet)],
    ids=lambda part: part.name,
)
def test_closed_sets_are_shown(metric: Metric, label: Label, text: Samples) -> None:
    """A label with a closed set has no other values, and the full fixture shows each of them."""
    # Nothing is queued at the end of the fixture: what is not known has no series.
    missing = {"queued"} if metric is catalog.TASK_OLDEST_CREATED else set()
    found = {labels[label.name] for name in sample_names(metric) for labels in text.series(name)}
    assert found == set(metric.values_of(label.name) or ()) - missing


def test_every_team_starts_every_reason_at_0(text: Samples) -> None:
    """Each path of each team has a counter for every reason, so that the first failure is an increase."""
    name = catalog.API_REQUEST_FAILURES.name
    for team in ("render", "film", "samples", "account", "archive", "audio"):
        for path in ("/r/tasks", "/r/agents" if team in ("samples", "audio") else "/agents"):
            reasons = {labels["reason"] for labels in text.series(name, team_name=team, path=path)}
            assert reasons == set(errors.REASONS)
