"""Panels shared by several dashboards, so that the same name means the same number everywhere."""

from dataclasses import replace
from typing import Final

from exporter import catalog
from grafana.builders import links, style
from grafana.builders.panel import Line, Look, Panel, Scale, Text, lines, number
from grafana.builders.query import RANGE, SCRAPE_UP, Selector, age, foreign, highest, lowest, share

UNSTARTED: Final = f'status=~"{"|".join((*catalog.UNSTARTED_TASK_STATUSES, catalog.PROVISIONING))}"'
"""Of the counts; the oldest ones are known for fewer."""
OLDEST: Final = f'status=~"{"|".join(catalog.UNSTARTED_TASK_STATUSES)}"'
ACTIVE: Final = f'status=~"{"|".join((*catalog.ACTIVE_TASK_STATUSES, catalog.PROVISIONING, catalog.OTHER))}"'
FAILED: Final = 'status="failed"'
COMPLETED: Final = 'status="completed"'
TRIED: Final = 'status=~"completed|failed"'
READY: Final = 'status=~"idle|busy"'
TEAM: Final = "job, team_name"
AGENT: Final = "job, team_name, agent_id"
LIST: Final = "job, team_name, collector"
FEW: Final = 8
"""How many lines a panel has at most, where their number grows with the fleet."""


def by_team(text: Text, query: str, unit: str, look: Look | None = None, *, least: bool = False) -> Panel:
    """A line for each team, for as many as can be told from each other.

    Args:
        text: what it says, of one metric or in sentences; which teams are drawn is added.
        query: gives one value per team.
        unit: of the values.
        look: of the lines.
        least: the teams with the lowest values are drawn, not those with the highest.
    """
    which = "lowest" if least else "highest"
    about = f"{text.description} The {FEW} teams that reach the {which} values are drawn."
    chosen = (lowest if least else highest)(FEW, query, TEAM)
    return lines(replace(text, about=about), [Line(chosen, "{{team_name}}")], unit, look)


def reporting(select: Selector) -> str:
    """1 for each team whose data is whole and fresh, 0 for the others, also for those that vanished within an hour."""
    known = f"max by ({TEAM}) (last_over_time({select.each(catalog.UP)}[1h]))"
    return f"{select(catalog.UP)} or 0 * {known}"


def not_reporting(select: Selector) -> Panel:
    """Whether the rest of the page can be trusted."""
    # An exporter is a target that was one within a day: `up` alone does not tell what it is about.
    ours = " or ".join(f"last_over_time({select.each(metric)}[1d])" for metric in (catalog.UP, catalog.BUILD_INFO))
    down = f"(({foreign(SCRAPE_UP)} == 0) and on (job, instance) ({ours}))"
    # The teams of an exporter that is down are unknown, and the exporter is counted already.
    teams = f"(({reporting(select)}) == 0 unless on (job) {down})"
    blind = f"({select(catalog.DISCOVERY_SUCCESS)} == 0)"
    counted = " + ".join(f"(count({each}) or vector(0))" for each in (down, teams, blind))
    about = (
        "Exporters that Prometheus cannot scrape, plus teams whose last poll failed, whose data is too old, or of which"
        " nothing has been heard for up to an hour, plus failed discoveries of teams; 1 where Prometheus knows of no"
        " exporter at all."
        " Above 0, look at the Exporter dashboard first: the numbers beside this one are old or missing."
    )
    return number(
        Text("Not reporting", about),
        f"({counted}) > 0 or absent({select.each(catalog.UP)}) or vector(0)",
        Scale("none", style.MORE_IS_WORSE, unknown=style.BAD),
        leads=links.dashboard(links.EXPORTER),
    )


def intervals_behind(select: Selector, *, each: str = "") -> str:
    """Each list's age at the last scrape, in intervals at which it is polled; infinite where it was never read.

    Not the age by now: where polls are more frequent than scrapes, that would count the wait for the scrape too.
    Of several exporters, the one that is least behind counts, as in the alert.

    Args:
        select: of the dashboard.
        each: labels to keep besides the list's.
    """
    labels = f"{each}, {LIST}" if each else LIST
    last, interval = select.each(catalog.COLLECTOR_LAST_SUCCESS), select.each(catalog.COLLECTOR_INTERVAL)
    read = f"min by ({labels}) ((timestamp({last}) - {last}) / {interval})"
    # Added, not multiplied: 0 times infinity is no number.
    return f"({read} or max by ({labels}) ({select.each(catalog.COLLECTOR_SUCCESS)} == 0) + Inf)"


def oldest_data(select: Selector) -> Panel:
    """How far behind the page is."""
    about = (
        "Age of the list of a team that is furthest behind, in intervals at which it is polled: up to 1 is as planned,"
        " above 3 an alert begins to count."
    )
    return number(
        Text("Intervals behind", about),
        f"max({intervals_behind(select)})",
        Scale("none", style.INTERVALS_BEHIND, decimals=1, mappings=style.never("never read")),
    )


def data_age(select: Selector) -> Panel:
    """Which team is behind, and since when."""
    about = (
        "Age of each team's data when it was scraped, in intervals of its polls. Above 3, polls fail or take too long."
    )
    query = f"max by ({TEAM}) ({intervals_behind(select)} < Inf)"
    return by_team(Text("Data age in poll intervals", about), query, "none", Look(limit=3))


def in_service(select: Selector) -> Panel:
    """How much of the fleet can take tasks."""
    about = (
        "Idle and busy agents among all that are connected, expected, or were connected within collect.agent_memory."
        " The rest are disconnected, unhealthy, syncing or in interactive use."
    )
    # No agent at all gives no series: neither part of a ratio then.
    expression = f"sum({select(catalog.AGENTS, READY)}) / (count({select(catalog.AGENT_CONNECTED)}) > 0)"
    leads = links.dashboard(links.AGENTS)
    return number(
        Text("Agents in service", about), expression, Scale("percentunit", style.IN_SERVICE, decimals=0), leads=leads
    )


def capacity_used(select: Selector) -> Panel:
    """How much of the fleet works."""
    about = (
        "Running tasks by the capacity of the connected agents. Near 100 % with tasks waiting, the fleet is too small;"
        " low with tasks waiting, it has the wrong agents."
    )
    expression = share(select(catalog.AGENT_RUNNING_TASKS), select(catalog.AGENT_GPU_CAPACITY))
    return number(
        Text("GPU capacity in use", about),
        expression,
        Scale("percentunit", decimals=0),
        leads=links.dashboard(links.AGENTS),
    )


def oldest_unstarted(select: Selector) -> Panel:
    """Whether work is stuck."""
    about = "Time since the oldest task that has not started was created; 0 when none waits."
    # The second part is 0 where tasks are known and none waits; nothing where they are not known.
    waited = f"max({age(select(catalog.TASK_OLDEST_CREATED, OLDEST))})"
    expression = f"{waited} or 0 * sum({select(catalog.TASKS)})"
    leads = links.dashboard(links.TASKS)
    return number(Text("Oldest waiting task", about), expression, Scale("s", style.WAITING, decimals=1), leads=leads)


def failed_share(select: Selector) -> Panel:
    """Whether work goes wrong."""
    about = "Failed tasks among the completed and failed ones within the time shown; cancelled tasks do not count."
    expression = share(
        select.increase(catalog.TASKS_FINISHED, FAILED, over=RANGE),
        select.increase(catalog.TASKS_FINISHED, TRIED, over=RANGE),
    )
    # Of the time shown, and only while tasks are known now: what an exporter said before it was gone is no news.
    expression = f"{expression} and on () sum({select(catalog.TASKS)})"
    text = Text("Failed tasks", about)
    leads = links.dashboard(links.TASKS)
    return number(text, expression, Scale("percentunit", style.FAILURES, decimals=1), leads=leads)


def active_tasks(select: Selector) -> Panel:
    """Where work stands."""
    queries = [
        Line(f"sum({select(catalog.TASKS, of_status(status))})", status)
        for status in reversed(catalog.ACTIVE_TASK_STATUSES)
    ]
    # Not on every platform.
    rare = f'status=~"{catalog.PROVISIONING}|{catalog.OTHER}"'
    queries.append(Line(f"sum by (status) ({select(catalog.TASKS, rare)})", "{{status}}"))
    about = (
        "Tasks that are not over, by status: pending is the scheduler's, waiting the fleet's, queued the agents' delay."
        " A growing area above the green one is work that nobody takes. Other are tasks that no filter of the platform"
        " shows."
    )
    return lines(Text("Tasks under way", about), queries, "short", Look(colors=style.TASK_COLORS, stacked=True))


def finished_tasks(select: Selector) -> Panel:
    """How much work gets done."""
    query = Line(f"60 * sum by (status) ({select.rate(catalog.TASKS_FINISHED)})", "{{status}}")
    look = Look(colors=style.TASK_COLORS, stacked=True)
    return lines(Text("Tasks finished per minute", "Tasks that finished, by how they ended."), [query], "short", look)


def free_memory(select: Selector, labels: str) -> str:
    """The least share of memory that a GPU of each group has free."""
    free, size = select(catalog.AGENT_GPU_VRAM_FREE), select(catalog.AGENT_GPU_VRAM_SIZE)
    return f"min by ({labels}) ({free} / {size})" if labels else f"min({free} / {size})"


def status_codes(select: Selector) -> str:
    """Each agent's status as a number of `style.AGENT_CODES`; expected and remembered agents are disconnected."""
    parts = [
        f"{code} * (max by ({AGENT}) ({select.each(catalog.AGENT_STATUS, of_status(status))}) == 1)"
        for status, code in style.AGENT_CODES.items()
        if code
    ]
    return " or ".join([*parts, f"({select(catalog.AGENT_CONNECTED)} == 0)"])


def of_status(status: str) -> str:
    """A matcher."""
    return f'status="{status}"'
