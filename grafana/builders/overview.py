"""Is anything wrong with the fleet or its work, and can these numbers be trusted?"""

from typing import Final

from exporter import catalog
from grafana.builders import common, frame, style
from grafana.builders.common import FAILED, READY, TRIED, UNSTARTED
from grafana.builders.frame import Board, Place, Section
from grafana.builders.grid import BACKGROUND, COLORED, GAUGE, Column, Key, grid
from grafana.builders.panel import Line, Look, Panel, Text, lines
from grafana.builders.query import RANGE, Selector, age

SELECT: Final = Selector(("team_name",))


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=frame.OVERVIEW,
        title="Cyberun / Overview",
        answers="Is anything wrong with the fleet or its work, and can these numbers be trusted?",
        selector=SELECT,
        sections=(
            Section("", [Place(panel, 4, 4) for panel in _first_row()]),
            Section("Teams", [Place(_teams(), 24, 7)]),
            Section("Work", [Place(_active(), 8, 8), Place(_finished(), 8, 8), Place(_waits(), 8, 8)]),
            Section("Fleet", [Place(_statuses(), 8, 8), Place(_demand(), 8, 8), Place(_memory(), 8, 8)]),
            Section("Trust", [Place(_behind(), 8, 7), Place(_failures(), 8, 7), Place(_limits(), 8, 7)]),
        ),
    )


def _first_row() -> tuple[Panel, ...]:
    return (
        common.not_reporting(SELECT),
        common.oldest_data(SELECT),
        common.in_service(SELECT),
        common.capacity_used(SELECT),
        common.oldest_unstarted(SELECT),
        common.failed_share(SELECT),
    )


def _by_team(expression: str) -> str:
    return f"sum by (team_name) ({expression})"


def _teams() -> Panel:
    running, capacity = _by_team(SELECT(catalog.AGENT_RUNNING_TASKS)), _by_team(SELECT(catalog.AGENT_GPU_CAPACITY))
    failed = _by_team(SELECT.increase(catalog.TASKS_FINISHED, FAILED, over=RANGE))
    tried = _by_team(SELECT.increase(catalog.TASKS_FINISHED, TRIED, over=RANGE))
    known = f"count by (team_name) ({SELECT(catalog.AGENT_CONNECTED)})"
    columns = [
        Column("Reporting", f"min by (team_name) ({SELECT(catalog.UP)})", mappings=style.YES_OR_NO, cell=BACKGROUND),
        Column(
            "Data age",
            f"max by (team_name) ({age(SELECT(catalog.COLLECTOR_LAST_SUCCESS))})",
            unit="s",
            decimals=0,
            steps=style.DATA_AGE,
            cell=COLORED,
        ),
        Column("Agents known", known, unit="short"),
        Column(
            "In service",
            f"{_by_team(SELECT(catalog.AGENTS, READY))} / {known}",
            unit="percentunit",
            steps=style.IN_SERVICE,
            cell=GAUGE,
            maximum=1,
            decimals=0,
        ),
        Column(
            "Capacity in use",
            f"{running} / ({capacity} > 0)",
            unit="percentunit",
            steps=style.USE,
            cell=GAUGE,
            maximum=1,
            decimals=0,
        ),
        Column("Waiting", _by_team(SELECT(catalog.TASKS, UNSTARTED)), unit="short"),
        Column(
            "Oldest waiting",
            f"max by (team_name) ({age(SELECT(catalog.TASK_OLDEST_CREATED, UNSTARTED))})",
            unit="s",
            steps=style.WAITING,
            cell=BACKGROUND,
            decimals=1,
        ),
        Column(
            "No eligible agent",
            f"max by (team_name) ({SELECT(catalog.TASKS_WITHOUT_ELIGIBLE_AGENT)})",
            unit="short",
            steps=style.ANY_IS_A_WARNING,
            cell=COLORED,
        ),
        Column("Running", _by_team(SELECT(catalog.TASKS, common.of_status("running"))), unit="short"),
        Column(
            "Failed",
            f"{failed} / ({tried} > 0)",
            unit="percentunit",
            steps=style.FAILURES,
            cell=BACKGROUND,
            decimals=1,
        ),
    ]
    about = "Each team at a glance; failures are those within the time shown. A click on a team opens its agents."
    return grid(Text("Teams", about), [Key("team_name", "Team", link=frame.AGENTS)], columns, sort="Waiting")


def _active() -> Panel:
    queries = [
        Line(f"sum({SELECT(catalog.TASKS, common.of_status(status))})", status)
        for status in reversed(catalog.ACTIVE_TASK_STATUSES)
    ]
    about = "Tasks that are not over, by status. A growing area above the green one is work that nobody takes."
    return lines(Text("Tasks under way", about), queries, "short", Look(colors=style.TASK_COLORS, stacked=True))


def _finished() -> Panel:
    rate = SELECT.rate(catalog.TASKS_FINISHED)
    about = "Tasks that finished, per minute and by how they ended."
    look = Look(colors=style.TASK_COLORS, stacked=True)
    return lines(Text("Tasks finished", about), [Line(f"60 * sum by (status) ({rate})", "{{status}}")], "cpm", look)


def _waits() -> Panel:
    about = (
        "How long tasks that started had waited (median and 95th percentile), and how long the oldest that has not"
        " started waits by now."
    )
    queries = [
        Line(SELECT.quantile(0.5, catalog.TASK_WAIT), "p50"),
        Line(SELECT.quantile(0.95, catalog.TASK_WAIT), "p95"),
        Line(f"max({age(SELECT(catalog.TASK_OLDEST_CREATED, UNSTARTED))})", "oldest"),
    ]
    return lines(Text("Waiting times", about), queries, "s", Look(colors=style.QUANTILE_COLORS, coarse=True))


def _statuses() -> Panel:
    gone = f"sum(1 - {SELECT(catalog.AGENT_CONNECTED)})"
    queries = [Line(f"sum by (status) ({SELECT(catalog.AGENTS)})", "{{status}}"), Line(gone, "disconnected")]
    about = "Connected agents by status, and those that are expected or were connected a while ago."
    return lines(Text("Agents by status", about), queries, "short", Look(colors=style.AGENT_COLORS, stacked=True))


def _demand() -> Panel:
    queries = [
        Line(f"sum({SELECT(catalog.AGENT_GPU_CAPACITY)})", "capacity"),
        Line(f"sum({SELECT(catalog.AGENT_RUNNING_TASKS)})", "running"),
        Line(f"sum({SELECT(catalog.TASKS, common.ACTIVE)})", "wanted"),
    ]
    about = "What connected agents offer, what runs on them, and what would run if there were room: all tasks not over."
    colors = {"capacity": "blue", "running": "green", "wanted": "orange"}
    return lines(Text("Capacity and demand", about), queries, "short", Look(colors=colors))


def _memory() -> Panel:
    free, size = SELECT(catalog.AGENT_GPU_VRAM_FREE), SELECT(catalog.AGENT_GPU_VRAM_SIZE)
    about = "Free share of all GPU memory of each team, and of the single GPU that has the least."
    queries = [
        Line(f"{_by_team(free)} / {_by_team(size)}", "{{team_name}}"),
        Line(f"min({free} / {size})", "fullest GPU"),
    ]
    look = Look(colors={"fullest GPU": "red"}, maximum=1)
    return lines(Text("Free GPU memory", about), queries, "percentunit", look)


def _behind() -> Panel:
    about = "Age of the data when it was scraped, in intervals of the team's polls. Above 3, polls fail; see Exporter."
    query = Line(f"max by (team_name) ({common.intervals_behind(SELECT)})", "{{team_name}}")
    look = Look(limit=style.steps("transparent", (3, style.BAD)))
    return lines(Text("Data age in poll intervals", about), [query], "none", look)


def _failures() -> Panel:
    query = Line(f"60 * sum by (reason) ({SELECT.rate(catalog.API_REQUEST_FAILURES)}) > 0", "{{reason}}")
    about = "Requests to the platform that gave no usable answer, per minute. Empty while all is well."
    text = Text("Failed API requests", about, empty="no failures")
    return lines(text, [query], "cpm", Look(stacked=True, bars=True))


def _limits() -> Panel:
    keys = [Key("team_name", "Team"), Key("quota", "Limit")]
    columns = [Column("Allowed", f"max by (team_name, quota) ({SELECT(catalog.TEAM_QUOTA)})", unit="short")]
    return grid(Text("Limits of the teams", catalog.TEAM_QUOTA, empty="none known"), keys, columns)
