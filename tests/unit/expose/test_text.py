import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import catalog
from exporter.catalog import Metric
from exporter.expose.text import OPENMETRICS_END, Samples, header
from exporter.fleet.text import label_text
from support import parse_openmetrics, parse_text


def text_of(samples: Samples, *, openmetrics: bool = False) -> str:
    text = b"".join(header(metric, openmetrics=openmetrics) + lines for metric, lines in samples.families())
    return (text + OPENMETRICS_END * openmetrics).decode()


def lines_of(samples: Samples) -> str:
    return b"".join(lines for _, lines in samples.families()).decode()


@pytest.mark.parametrize(
    ("metric", "text", "openmetrics"),
    [
        (
            catalog.AGENT_STATUS,
            "# HELP cyberun_agent_status {help}\n# TYPE cyberun_agent_status gauge\n",
            "# HELP cyberun_agent_status {help}\n# TYPE cyberun_agent_status gauge\n",
        ),
        (
            catalog.TASK_RETRIES,
            "# HELP cyberun_task_retries_total {help}\n# TYPE cyberun_task_retries_total counter\n",
            "# HELP cyberun_task_retries {help}\n# TYPE cyberun_task_retries counter\n",
        ),
        (
            catalog.TEAM_INFO,
            "# HELP cyberun_team_info {help}\n# TYPE cyberun_team_info gauge\n",
            "# HELP cyberun_team {help}\n# TYPE cyberun_team info\n",
        ),
        (
            catalog.TASK_WAIT,
            "# HELP cyberun_task_wait_seconds {help}\n# TYPE cyberun_task_wait_seconds histogram\n",
            (
                "# HELP cyberun_task_wait_seconds {help}\n# TYPE cyberun_task_wait_seconds histogram\n"
                "# UNIT cyberun_task_wait_seconds seconds\n"
            ),
        ),
    ],
    ids=["gauge", "counter", "info", "histogram with unit"],
)
def test_headers(metric: Metric, text: str, openmetrics: str) -> None:
    """Headers of text 0.0.4 have the samples' name; those of OpenMetrics the family's name, and the unit."""
    assert header(metric, openmetrics=False).decode() == text.format(help=metric.help)
    assert header(metric, openmetrics=True).decode() == openmetrics.format(help=metric.help)


def test_help_is_escaped() -> None:
    """A backslash and a line break in a help text are escaped; a quote only where OpenMetrics asks for it."""
    metric = Metric("m", catalog.Kind.GAUGE, catalog.Scope.TEAM, 'a\\b\n"c"')
    assert header(metric, openmetrics=False) == b'# HELP m a\\\\b\\n"c"\n# TYPE m gauge\n'
    assert header(metric, openmetrics=True) == b'# HELP m a\\\\b\\n\\"c\\"\n# TYPE m gauge\n'


def test_samples() -> None:
    """A sample is its name, its labels in the catalogue's order, its value."""
    samples = Samples()
    samples.add(catalog.TASKS, 3, "render", "running")
    samples.add(catalog.CLOCK_SKEW, -0.25)
    assert lines_of(samples) == (
        'cyberun_exporter_clock_skew_seconds -0.25\ncyberun_tasks{team_name="render",status="running"} 3\n'
    )
    assert samples.count == 2


def test_families_come_in_the_order_of_the_catalogue() -> None:
    """In whatever order samples are added, each family is contiguous and in its place."""
    samples = Samples()
    for metric in (catalog.AGENTS, catalog.TASKS, catalog.AGENTS, catalog.UP):
        samples.add(metric, 1, *metric.label_names)
    assert [(metric, text.count(b"\n")) for metric, text in samples.families()] == [
        (catalog.UP, 1),
        (catalog.TASKS, 1),
        (catalog.AGENTS, 2),
    ]
    assert samples.count == 4


@pytest.mark.parametrize("labels", [(), ("render",), ("render", "idle", "more")])
def test_number_of_labels(labels: tuple[str, ...]) -> None:
    """More or fewer values than the metric has labels is an error."""
    with pytest.raises(TypeError):
        Samples().add(catalog.TASKS, 1, *labels)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (2**63 - 1, "9223372036854775807"),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        (1739194200.25, "1739194200.25"),
    ],
)
def test_values(value: float, written: str) -> None:
    """Integers are exact; floats are written in the fewest digits that read back the same."""
    samples = Samples()
    samples.add(catalog.CLOCK_SKEW, value)
    assert lines_of(samples) == f"cyberun_exporter_clock_skew_seconds {written}\n"


def test_histogram() -> None:
    """Buckets are cumulated up to +Inf, which is the count; bounds are floats."""
    metric = catalog.API_REQUEST_SECONDS
    samples = Samples()
    samples.add_histogram(metric, [1, 0, 2, *[0] * 8, 4], 50.5, "/r/tasks")
    found = parse_text(text_of(samples))
    name, path = metric.name, "/r/tasks"
    assert found.value(f"{name}_bucket", path=path, le="0.01") == 1
    assert found.value(f"{name}_bucket", path=path, le="0.05") == 3
    assert found.value(f"{name}_bucket", path=path, le="30.0") == 3
    assert found.value(f"{name}_bucket", path=path, le="+Inf") == 7
    assert found.value(f"{name}_count", path=path) == 7
    assert found.value(f"{name}_sum", path=path) == 50.5
    assert len(found.values) == samples.count == len(metric.buckets) + 3


@pytest.mark.parametrize("count", [0, 11, 13])
def test_histogram_of_other_buckets(count: int) -> None:
    """Counts that do not match the metric's buckets are an error."""
    with pytest.raises(ValueError, match="zip"):
        Samples().add_histogram(catalog.API_REQUEST_SECONDS, [0] * count, 0.0, "/r/tasks")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('say "hi"', r"say \"hi\""),
        ("back\\slash", r"back\\slash"),
        ("line\nbreak", r"line\nbreak"),
        ("\\n", r"\\n"),
        ('\\"\n', r"\\\"\n"),
        ("{a=b},# 5%s %d", "{a=b},# 5%s %d"),
        ("", ""),
    ],
)
def test_label_values_are_escaped(value: str, written: str) -> None:
    """Quotes, backslashes and line breaks are escaped; nothing else is."""
    samples = Samples()
    samples.add(catalog.UP, 1, value)
    assert lines_of(samples) == f'cyberun_up{{team_name="{written}"}} 1\n'


@given(st.lists(st.text(st.characters(codec=None)), min_size=1, max_size=5, unique_by=label_text))
def test_any_label_survives(texts: list[str]) -> None:
    """Any sanitized text is read back unchanged by both parsers, and distinct texts are distinct series."""
    values = [label_text(text) for text in texts]
    samples = Samples()
    for value in values:
        samples.add(catalog.UP, 1, value)
    for found in (parse_text(text_of(samples)), parse_openmetrics(text_of(samples, openmetrics=True))):
        assert [labels["team_name"] for labels in found.series("cyberun_up")] == values
