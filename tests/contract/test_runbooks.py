import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser as promql
import pytest

from support.rules import ALERTS, RECORDS, ROOT, Rule, each_alert, labels_of_series, names, selectors

FOLDER = ROOT / "docs" / "runbooks"
RUNBOOKS = sorted(FOLDER.glob("*.md"))
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
FROM_PROMETHEUS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "scrape_duration_seconds", "up"}

each_runbook = pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)


def test_every_alert_has_a_runbook_and_the_other_way_round() -> None:
    """Every alert has a runbook, and every runbook an alert."""
    assert [path.stem for path in RUNBOOKS] == sorted(alert.name for alert in ALERTS)


@each_runbook
def test_runbooks_have_one_shape(runbook: Path) -> None:
    """Each runbook has meaning, impact, diagnosis and mitigation, and fits on two screens."""
    text = runbook.read_text(encoding="utf-8")
    assert text.startswith(f"# {runbook.stem}\n")
    assert re.findall(r"^## (.+)", text, re.MULTILINE) == SECTIONS
    meaning, impact, diagnosis, mitigation = re.split(r"^## .+\n", text, flags=re.MULTILINE)[1:]
    for prose in (meaning, impact):
        assert len(prose.split()) >= 8, prose
        assert prose.rstrip().endswith("."), prose
    assert "```promql\n" in diagnosis
    assert re.match(r"\s*- (\S+\s+){4}", mitigation), "a list of what to do"
    assert len(text.splitlines()) <= 80


def queries(text: str) -> Iterator[str]:
    """The queries a runbook gives, in blocks, one a line, and within a sentence."""
    for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
        yield from block.strip().splitlines()
    yield from (code for code in re.findall(r"`([^`\n]+)`", text) if re.search(r"cyberun_\w+.*[({ ]", code))


@each_runbook
def test_queries_of_runbooks_are_right(runbook: Path) -> None:
    """Queries are valid PromQL on existing metrics and labels, and every diagnosis has one."""
    found = list(queries(runbook.read_text(encoding="utf-8")))
    assert found
    for query in found:
        for selector in selectors(promql.parse(query)):
            assert selector.name is not None
            if selector.name not in FROM_PROMETHEUS:
                known = labels_of_series(selector.name)  # KeyError: there is no such metric
                assert {matcher.name for matcher in selector.matchers.matchers} <= known, query


@each_alert
def test_diagnosis_starts_from_what_fired(alert: Rule) -> None:
    """A diagnosis looks at a metric that the alert is about."""
    text = (FOLDER / f"{alert.name}.md").read_text(encoding="utf-8")
    asked = {name for query in queries(text) for name in names(promql.parse(query))}
    assert asked & set(scraped(alert)), sorted(scraped(alert))


def scraped(rule: Rule) -> Iterator[str]:
    """The scraped series behind a rule, through its recordings; none that merely say whether data is fresh."""
    for name in names(rule.expression):
        if name in RECORDS and not name.endswith((":fresh", ":withheld")) and name != rule.name:
            yield from scraped(RECORDS[name])
        elif name not in RECORDS and name != "ALERTS":
            yield name


def table() -> str:
    """The table for docs/alerts.md, from the rules."""
    rows = ["| alert | severity | after | starts when |", "|---|---|---|---|"]
    areas: dict[str, list[Rule]] = {}
    for alert in ALERTS:
        areas.setdefault(alert.labels["area"], []).append(alert)
    for area in ("trust", "work", "fleet"):
        rows.append(f"| **{area}** | | | |")
        for alert in areas[area]:
            link = f"[{alert.name}](runbooks/{alert.name}.md)"
            marks = "; ".join(marked(alert))
            what = alert.annotations["summary"].rstrip(".")
            rows.append(
                f"| {link} | {alert.labels['severity']} | {alert.document['for']} | {what}{marks and f' ({marks})'} |"
            )
    return "\n".join(rows) + "\n"


def marked(alert: Rule) -> Iterator[str]:
    """The numbers of an alert that may be changed, in words; also those of the recording it compares."""
    recorded = [RECORDS[name].text for name in dict.fromkeys(names(alert.expression)) if name in RECORDS]
    for text in (alert.text, *recorded):
        for compare, number, mark, unit in re.findall(
            r"([<>]=?) (\S+)  # (threshold|minimum): (.+)$", text, re.MULTILINE
        ):
            yield f"{'minimum ' if mark == 'minimum' else ''}{compare} {number} {unit}"


def test_the_list_of_alerts_is_that_of_the_rules() -> None:
    """The table in docs/alerts.md agrees with the rules."""
    text = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    found = "".join(
        line + "\n" for line in text.splitlines() if line.startswith("|") and ("[Cyb" in line or "**" in line)
    )
    assert found == "".join(table().splitlines(keepends=True)[2:]), f"write this instead:\n{table()}"


@pytest.mark.parametrize(("page", "words"), [("README.md", r"(\d+) \[alerts\]"), ("CHANGELOG.md", r"(\d+) alerts")])
def test_the_number_of_alerts_is_right(page: str, words: str) -> None:
    """The number of alerts, where it is mentioned, is right."""
    assert re.findall(words, (ROOT / page).read_text(encoding="utf-8")) == [str(len(ALERTS))]
