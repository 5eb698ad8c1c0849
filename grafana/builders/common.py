"""Panels shared by several dashboards, so that the same name means the same number everywhere."""

from dataclasses import replace
from typing import Final

from exporter import catalog
from grafana.builders import links, style
from grafana.builders.panel import Line, Look, Panel, Scale, Text, lines, number
from grafana.builders.query import (
    HIGHEST,
    HIGHEST_ON_AVERAGE,
    SCRAPE_UP,
    Rank,
    Selector,
    age,
    chosen,
    foreign,
    none,
    share,
)

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
ALL: Final = "All"
"""For a column whose names are links: Grafana takes it for a choice of all."""
_AGE_DRAWN: Final = 10
"""In intervals. Above the alert's threshold; what is older, or was never read, is drawn here."""


def by_team(text: Text, query: str, unit: str, look: Look | None = None, rank: Rank = HIGHEST) -> Panel:
    """A line for each team, for as many as can be told apart.

    Args:
        text: what it says, of one metric or in sentences; which teams are drawn is added.
        query: gives one value per team.
        unit: of the values.
        look: of the lines.
        rank: which teams are drawn.
    """
    about = f"{text.description} Shows the {FEW} teams with {rank.words}."
    return lines(replace(text, about=about), [Line(chosen(rank, FEW, query, TEAM), "{{team_name}}")], unit, look)


def reporting(select: Selector) -> str:
    """1 for each team whose data is complete and fresh, else 0, also for teams that vanished within the last hour."""
    known = f"max by ({TEAM}) (last_over_time({select.each(catalog.UP)}[1h]))"
    return f"{select(catalog.UP)} or 0 * {known}"


def not_reporting(select: Selector) -> Panel:
    """Whether the rest of the page can be trusted."""
    # A target counts as an exporter if it was one within a day: `up` alone does not say what the target is.
    ours = " or ".join(f"last_over_time({select.each(metric)}[1d])" for metric in (catalog.UP, catalog.BUILD_INFO))
    down = f"(({foreign(SCRAPE_UP)} == 0) and on (job, instance) ({ours}))"
    # The teams of an exporter that is down are unknown, and the exporter is counted already.
    teams = f"(({reporting(select)}) == 0 unless on (job) {down})"
    blind = f"({select(catalog.DISCOVERY_SUCCESS)} == 0)"
    counted = " + ".join(f"(count({each}) or vector(0))" for each in (down, teams, blind))
    about = (
        "Exporters that Prometheus cannot scrape, plus teams whose last poll failed, whose data is too old or that"
        " vanished within the last hour, plus failing team discoveries. It is 1 if Prometheus has no exporter at all."
        " Above 0, start with the Exporter dashboard: other numbers on this page are outdated or missing."
    )
    return number(
        Text("Not reporting", about),
        f"({counted}) > 0 or absent({select.each(catalog.UP)}) or vector(0)",
        Scale("none", style.MORE_IS_WORSE, unknown=style.BAD),
        leads=links.dashboard(links.EXPORTER),
    )


def intervals_behind(select: Selector, *, each: str = "") -> str:
    """Each list's age at the last scrape, in poll intervals; infinite if it was never read.

    Not its age now: where polls are more frequent than scrapes, that would include the wait for the scrape.
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
        "Age of the oldest list of any team, in poll intervals. Up to 1 is normal; above 3 for five minutes fires an"
        " alert."
    )
    return number(
        Text("Intervals behind", about),
        f"max({intervals_behind(select)})",
        Scale("none", style.INTERVALS_BEHIND, decimals=1, mappings=style.NEVER_READ),
    )


def data_age(select: Selector) -> Panel:
    """Which team is behind, and since when."""
    about = (
        "Age of each team's data at the scrape, in poll intervals. Above 3, polls fail or take too long."
        f" {_AGE_DRAWN} stands for {_AGE_DRAWN} or more, and for data that was never read."
    )
    query = f"clamp_max(max by ({TEAM}) ({intervals_behind(select)}), {_AGE_DRAWN})"
    # Not the highest: that is the same for all that an exporter has not read yet after its start.
    look = Look(limit=3, at_least=4)
    return by_team(Text("Data age in poll intervals", about), query, "none", look, HIGHEST_ON_AVERAGE)


def in_service(select: Selector) -> Panel:
    """How much of the fleet can take tasks."""
    about = (
        "Idle and busy agents as a share of all agents that are connected, are expected or were connected within"
        " collect.agent_memory. The others are disconnected, unhealthy, syncing or in interactive use."
    )
    expression = f"avg({ready(select)})"
    leads = links.dashboard(links.AGENTS)
    return number(
        Text("Agents in service", about), expression, Scale("percentunit", style.IN_SERVICE, decimals=0), leads=leads
    )


def ready(select: Selector) -> str:
    """1 for each agent that can take tasks, 0 for all others, disconnected ones too.

    Not from the totals by status: those of two exporters may be of different moments, and count an agent twice.
    """
    return f"max by ({AGENT}) ({select.each(catalog.AGENT_STATUS, READY)}) or 0 * {select(catalog.AGENT_CONNECTED)}"


def capacity_used(select: Selector) -> Panel:
    """How much of the fleet works."""
    about = (
        "Running tasks as a share of the capacity of the connected agents. If tasks wait while this is near 100 %, the"
        " fleet is too small; if they wait while it is low, its agents do not match the tasks."
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
    about = "Time since the oldest task that has not started was created; 0 if all tasks have started."
    leads = links.dashboard(links.TASKS)
    scale = Scale("s", style.WAITING, decimals=1)
    return number(Text("Oldest waiting task", about), oldest_wait(select), scale, leads=leads)


def oldest_wait(select: Selector) -> str:
    """Seconds since the oldest task that has not started was created, 0 if there is none."""
    return f"max({age(select(catalog.TASK_OLDEST_CREATED, OLDEST))}) or {none(select(catalog.TASKS))}"


def failed_share(select: Selector) -> Panel:
    """Whether work goes wrong."""
    about = "Failed tasks as a share of those that completed or failed in the time shown. Cancelled tasks do not count."
    expression = share(
        select.increase_in_range(catalog.TASKS_FINISHED, FAILED),
        select.increase_in_range(catalog.TASKS_FINISHED, TRIED),
    )
    text = Text("Failed tasks", about)
    leads = links.dashboard(links.TASKS)
    return number(text, expression, Scale("percentunit", style.FAILURES, decimals=1), leads=leads)


def active_tasks(select: Selector) -> Panel:
    """Where work stands."""
    queries = [
        Line(f"sum({select(catalog.TASKS, of_status(status))})", status)
        for status in reversed(catalog.ACTIVE_TASK_STATUSES)
    ]
    # Not every platform has these.
    rare = f'status=~"{catalog.PROVISIONING}|{catalog.OTHER}"'
    queries.append(Line(f"sum by (status) ({select(catalog.TASKS, rare)})", "{{status}}"))
    about = (
        "Unfinished tasks by status. Pending tasks wait for the scheduler, waiting ones for a free agent, queued ones"
        " on an agent. If the areas above the green one grow, work piles up. Other: tasks that none of the platform's"
        " status filters returns."
    )
    return lines(Text("Tasks under way", about), queries, "short", Look(colors=style.TASK_COLORS, stacked=True))


def finished_tasks(select: Selector) -> Panel:
    """How much work gets done."""
    query = Line(f"60 * sum by (status) ({select.rate(catalog.TASKS_FINISHED)})", "{{status}}")
    look = Look(colors=style.TASK_COLORS, stacked=True)
    return lines(Text("Tasks finished per minute", "Tasks that finished, by final status."), [query], "short", look)


def failed_requests(select: Selector) -> Panel:
    """Why requests to the platform fail."""
    failures = f"60 * sum by (reason) ({select.rate(catalog.API_REQUEST_FAILURES)}) > 0"
    about = (
        "Requests to the platform without a usable answer, by reason. auth: renew the credential; rate_limited: poll"
        " less often; schema: the API changed; timeout, connect, tls: check the network path."
    )
    line = Line(f"{failures} or on () {none(select(catalog.UP), {'reason': style.NO_FAILURE})}", "{{reason}}")
    look = Look(colors=style.REASON_COLORS, stacked=True, bars=True, at_least=1)
    return lines(Text("Failed API requests per minute", about), [line], "short", look)


def free_memory(select: Selector, labels: str) -> str:
    """The free share of memory of the GPU in each group that has the least."""
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
