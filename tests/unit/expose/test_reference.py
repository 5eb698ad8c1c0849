import re

import pytest

from exporter.catalog import CATALOG, ClosedSet, Kind, Metric
from exporter.errors import REASONS
from exporter.expose.reference import markdown

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in markdown().splitlines() if line.startswith("|")
]


@pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
def test_every_metric_has_a_row(metric: Metric) -> None:
    """Each metric is in exactly one table, with its type, unit, labels and help."""
    labels = ", ".join(f"`{label}`" for label in metric.label_names)
    assert ROWS.count([f"`{metric.name}`", metric.kind.value, metric.unit, labels, metric.help]) == 1


def test_tables_are_rectangular() -> None:
    """No cell breaks its table, and every table has a header and a delimiter row."""
    tables = re.findall(r"(?:^\|.*\n)+", markdown(), re.MULTILINE)
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
        assert set(table.splitlines()[1]) <= set("| -")
    assert len(tables) == 7


CLOSED = {label.bound.values for m in CATALOG for label in m.labels if isinstance(label.bound, ClosedSet)}


@pytest.mark.parametrize("values", sorted(CLOSED), ids=lambda values: values[0])
def test_closed_labels_are_listed(values: tuple[str, ...]) -> None:
    """Every closed set of label values is listed."""
    assert any(row[1] == ", ".join(f"`{value}`" for value in values) for row in ROWS)


def test_other_labels_say_what_bounds_them() -> None:
    """For every other label the page says how many values it takes."""
    assert ["`gpu`", "at most 64 for each agent"] in ROWS
    others = {label.name for m in CATALOG for label in m.labels if not isinstance(label.bound, ClosedSet)}
    listed = {name.strip("`") for row in ROWS if len(row) == 2 for name in row[0].split(", ")}
    assert others <= listed


def test_reasons_and_buckets_are_listed() -> None:
    """The reasons of failures and the bounds of each histogram are listed."""
    assert ", ".join(f"`{reason}`" for reason in REASONS) in markdown()
    for metric in CATALOG:
        if metric.kind is Kind.HISTOGRAM:
            assert [f"`{metric.name}`", ", ".join(f"{bound:g}" for bound in metric.buckets)] in ROWS


def test_ends_in_one_newline() -> None:
    """The reference ends with its last table and one newline, and has no double empty lines."""
    assert markdown().endswith("|\n")
    assert "\n\n\n" not in markdown()
