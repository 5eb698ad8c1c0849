"""Is anything wrong with the fleet or its work, and can these numbers be trusted?"""

from typing import Final

from exporter import catalog
from grafana.builders import alerts, common, links, style
from grafana.builders.common import ALL, FAILED, OLDEST, TEAM, TRIED, UNSTARTED
from grafana.builders.frame import Board, Place, Section
from grafana.builders.grid import BACKGROUND, COLORED, HIDDEN_JOB, JOB, Column, Key, grid, ratio
from grafana.builders.grid import TEAM as TEAM_KEY
from grafana.builders.panel import Line, Look, Panel, Text, lines
from grafana.builders.query import Selector, age, none

SELECT: Final = Selector(("team_name",))


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=links.OVERVIEW,
        title="Cyberun / Overview",
        answers="Is anything wrong with the fleet or its work, and can these numbers be trusted?",
        selector=SELECT,
        sections=(
            Section("", [Place(panel, 4, 4) for panel in _first_row()]),
            Section("Alerts and teams", [Place(alerts.firing(), 24, 6), Place(_teams(), 24, 8)]),
            Section(
                "Work",
                [
                    Place(common.active_tasks(SELECT), 8, 8),
                    Place(common.finished_tasks(SELECT), 8, 8),
                    Place(_waits(), 8, 8),
                ],
            ),
            Section("Fleet", [Place(_statuses(), 8, 8), Place(_demand(), 8, 8), Place(_memory(), 8, 8)]),
            Section(
                "Trust",
                [
                    Place(common.data_age(SELECT), 8, 8),
                    Place(common.failed_requests(SELECT), 8, 8),
                    Place(_limits(), 8, 8),
                ],
            ),
        ),
    )


def _first_row() -> tuple[Panel, ...]:
    return (
        common.not_reporting(SELECT),
        alerts.number_firing(),
        common.oldest_unstarted(SELECT),
        common.failed_share(SELECT),
        common.in_service(SELECT),
        common.capacity_used(SELECT),
    )


def _by_team(expression: str) -> str:
    return f"sum by ({TEAM}) ({expression})"


def _teams() -> Panel:
    running, capacity = _by_team(SELECT(catalog.AGENT_RUNNING_TASKS)), _by_team(SELECT(catalog.AGENT_GPU_CAPACITY))
    failed = _by_team(SELECT.increase_in_range(catalog.TASKS_FINISHED, FAILED))
    tried = _by_team(SELECT.increase_in_range(catalog.TASKS_FINISHED, TRIED))
    waiting = _by_team(SELECT(catalog.TASKS, UNSTARTED))
    columns = [
        Column("Reporting", common.reporting(SELECT), mappings=style.FAILING_ONLY, cell=BACKGROUND),
        Column(
            "Data age",
            f"max by ({TEAM}) ({common.intervals_behind(SELECT)})",
            decimals=1,
            judgement=style.INTERVALS_BEHIND,
            mappings=style.NEVER_READ,
            cell=COLORED,
        ),
        Column("Waiting", waiting, unit="short"),
        Column(
            "Oldest waiting",
            f"max by ({TEAM}) ({age(SELECT(catalog.TASK_OLDEST_CREATED, OLDEST))}) or 0 * {waiting}",
            unit="s",
            judgement=style.WAITING,
            cell=BACKGROUND,
            decimals=1,
        ),
        Column(
            "No eligible agent",
            SELECT(catalog.TASKS_WITHOUT_ELIGIBLE_AGENT),
            unit="short",
            judgement=style.ANY_IS_A_WARNING,
            cell=COLORED,
        ),
        Column("Running", _by_team(SELECT(catalog.TASKS, common.of_status("running"))), unit="short"),
        Column(
            "Failed",
            f"{failed} / ({tried} > 0)",
            unit="percentunit",
            judgement=style.FAILURES,
            cell=BACKGROUND,
            decimals=1,
        ),
        Column("Agents", f"count by ({TEAM}) ({SELECT(catalog.AGENT_CONNECTED)})", unit="short"),
        ratio("In service", f"avg by ({TEAM}) ({common.ready(SELECT)})", style.IN_SERVICE),
        ratio("In use", f"{running} / ({capacity} > 0)", style.USE),
    ]
    about = (
        "All teams, those that do not report first. The age of data is in poll intervals; failures are those in the"
        " time shown. A team links to its dashboards."
    )
    return grid(Text("Teams", about), [JOB, TEAM_KEY], columns, sort={"Reporting": False, "Waiting": True})


def _waits() -> Panel:
    about = (
        "How long tasks had waited when they started (median and 95th percentile), and the age of the oldest task that"
        " has not started."
    )
    queries = [
        Line(SELECT.quantile(0.5, catalog.TASK_WAIT), "p50"),
        Line(SELECT.quantile(0.95, catalog.TASK_WAIT), "p95"),
        Line(common.oldest_wait(SELECT), "oldest"),
    ]
    return lines(Text("Waiting times", about), queries, "s", Look(colors=style.QUANTILE_COLORS, coarse=True))


def _statuses() -> Panel:
    gone = f"sum(1 - {SELECT(catalog.AGENT_CONNECTED)})"
    queries = [Line(f"sum by (status) ({SELECT(catalog.AGENTS)})", "{{status}}"), Line(gone, "disconnected")]
    about = "Connected agents by status, plus disconnected ones: expected, or connected within collect.agent_memory."
    return lines(Text("Agents by status", about), queries, "short", Look(colors=style.AGENT_COLORS, stacked=True))


def _demand() -> Panel:
    queries = [
        Line(f"sum({SELECT(catalog.AGENT_GPU_CAPACITY)})", "capacity"),
        Line(f"sum({SELECT(catalog.AGENT_RUNNING_TASKS)})", "running"),
        Line(f"sum({SELECT(catalog.TASKS, common.ACTIVE)})", "demand"),
    ]
    about = "Capacity of the connected agents, tasks running on them, and all unfinished tasks (the demand)."
    colors = {"capacity": "blue", "running": "green", "demand": "orange"}
    return lines(Text("Capacity and demand", about), queries, "short", Look(colors=colors))


def _memory() -> Panel:
    about = "Free share of all GPU memory, and of the memory of the GPU that has the least."
    all_of_it = f"sum({SELECT(catalog.AGENT_GPU_VRAM_FREE)}) / sum({SELECT(catalog.AGENT_GPU_VRAM_SIZE)})"
    queries = [Line(all_of_it, "all GPUs"), Line(common.free_memory(SELECT, ""), "least free GPU")]
    look = Look(colors={"all GPUs": "blue", "least free GPU": "orange"}, maximum=1)
    return lines(Text("Free GPU memory", about), queries, "percentunit", look)


def _limits() -> Panel:
    keys = [HIDDEN_JOB, TEAM_KEY, Key("quota", "Limit", width=210)]
    quotas = SELECT(catalog.TEAM_QUOTA)
    no_quota = none(SELECT(catalog.UP), {"job": ALL, "team_name": ALL, "quota": "none known"}, "Inf")
    columns = [Column("Allowed", f"{quotas} or on () {no_quota}", unit="short", mappings=style.NOT_ANY)]
    text = Text("Limits of the teams", catalog.TEAM_QUOTA)
    return grid(text, keys, columns, sort={"Team": False, "Limit": False})
