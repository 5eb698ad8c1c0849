"""Where the dashboards' links lead. For each rule, a test shows that it notices its mistake."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from grafana import reading
from support.dashboards import Board, Rule, rule_tests
from support.drawing import Panel, columns, every_link, of_type, overridden, spoil_text

DASHBOARDS = reading.load()


def links_carry_what_was_clicked_on(board: Board) -> Iterator[str]:
    """A link contains the slug and the keys of its row up to the clicked column, each once."""
    for panel in reading.panels(board):
        for title, field in overridden(panel).items():
            for link in field.get("links", ()):
                yield from (f"{panel['title']}, {title}: {mistake}" for mistake in _mistakes(link, title, panel))
        for link in panel["fieldConfig"]["defaults"].get("links", ()):
            yield from (f"{panel['title']}: {mistake}" for mistake in _mistakes(link, "", panel))


def _mistakes(link: dict[str, Any], title: str, panel: Panel) -> Iterator[str]:
    url = link["url"]
    if url.startswith("https://"):
        return
    uid = url.split("/")[2]
    if uid not in DASHBOARDS or not url.startswith(f"/d/{uid}/{uid}?") or "${__url_time_range}" not in url:
        yield url
        return
    named = re.findall(r"var-(\w+)=\$\{__data\.fields\.(\w+):percentencode\}", url)
    if title and (not named or named[-1][1] != title):
        yield f"{url} hands over {named}"
    if not {column for _, column in named} <= set(columns(panel) if title else ()):
        yield f"{url} names columns that there are not"
    known = {each["name"] for each in DASHBOARDS[uid]["templating"]["list"]}
    variables = [name for name, _ in named] + re.findall(r"\$\{(\w+):queryparam\}", url)
    if not set(variables) <= known:
        yield f"{url} hands over what {uid} has no variable for"
    if sorted(variables) != sorted({*variables, "datasource", "job", "instance", "team_name"}):
        yield f"{url} carries {variables}"


def every_name_leads_on(board: Board) -> Iterator[str]:
    """A team in a table links to its agents, tasks and polls; an agent and a workflow link to their own details."""
    leads = {"Team": {"cyberun-agents", "cyberun-tasks", "cyberun-exporter"}, "Agent": {"cyberun-agents"}}
    leads |= {"Workflow": {"cyberun-tasks"}}
    for panel in of_type(board, "table"):
        named = panel["transformations"][-1]["options"]["renameByName"]
        for label in {"team_name", "agent_id", "workflow_id"} & set(named):
            links = overridden(panel)[named[label]].get("links", ())
            if {link["url"].split("/")[2] for link in links} != leads[named[label]]:
                yield f"{panel['title']}: {named[label]}"


RULES: dict[Rule, Callable[[Board], None]] = {
    links_carry_what_was_clicked_on: spoil_text("/d/cyberun-tasks/cyberun-tasks?", "/d/cyberun-tasks?"),
    every_name_leads_on: spoil_text("/d/cyberun-exporter/", "/d/cyberun-overview/"),
}
test_dashboards_keep_the_rule, test_the_rule_notices_a_mistake = rule_tests(RULES, "cyberun-agents")


def test_the_first_row_leads_on() -> None:
    """Each number in the Overview's first row links to the next place to look, keeping variables and time range."""
    overview = DASHBOARDS["cyberun-overview"]
    row = [panel for panel in reading.panels(overview) if panel["gridPos"]["y"] == 0]
    leads = {panel["title"]: [link["url"].split("?")[0].split("/")[-1] for link in every_link(panel)] for panel in row}
    assert leads == {
        "Not reporting": ["cyberun-exporter"],
        "Firing alerts": ["cyberun-overview"],
        "Oldest waiting task": ["cyberun-tasks"],
        "Failed tasks": ["cyberun-tasks"],
        "Agents in service": ["cyberun-agents"],
        "GPU capacity in use": ["cyberun-agents"],
    }
    (link,) = every_link(row[1])
    (shown,) = [panel for panel in overview["panels"] if f"viewPanel={panel['id']}&" in link["url"]]
    assert (shown["title"], shown["type"]) == ("Firing alerts and their runbooks", "table")
