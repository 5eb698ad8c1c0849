"""Questions that more than one dashboard asks, so that the same name means the same number everywhere."""

from typing import Final

from exporter import catalog
from grafana.builders import style
from grafana.builders.panel import Panel, Text, number
from grafana.builders.query import RANGE, Selector, age, foreign, of_exporters, share

UNSTARTED: Final = f'status=~"{"|".join(catalog.UNSTARTED_TASK_STATUSES)}"'
ACTIVE: Final = f'status=~"{"|".join(catalog.ACTIVE_TASK_STATUSES)}"'
FAILED: Final = 'status="failed"'
COMPLETED: Final = 'status="completed"'
TRIED: Final = 'status=~"completed|failed"'
READY: Final = 'status=~"idle|busy"'
PRESENCE: Final = "team_name, agent_id"


def not_reporting(select: Selector) -> Panel:
    """Whether the rest of the page can be believed."""
    targets = of_exporters(f"1 - {foreign('up')}", gone_too=True)
    # Zero is true: the teams of an exporter that is gone are unknown, and the exporter is counted already.
    teams = f"(sum(1 - {select(catalog.UP)}) or vector(0))"
    about = (
        "Exporters that Prometheus cannot scrape, plus teams whose last poll failed or whose data is too old."
        " Above 0, look at the Exporter dashboard first: the numbers below are old or missing."
    )
    return number(Text("Not reporting", about), f"sum({targets}) + {teams}", "none", style.MORE_IS_WORSE)


def oldest_data(select: Selector) -> Panel:
    """How far behind the page is."""
    about = (
        "Time since the last successful poll of the team and list that is furthest behind. The colours suit the default"
        " interval of 30 s and collect.stale_after of 2 min, after which a team's series end."
    )
    expression = f"max({age(select(catalog.COLLECTOR_LAST_SUCCESS))})"
    return number(Text("Oldest data", about, empty="none yet"), expression, "s", style.DATA_AGE, decimals=0)


def intervals_behind(select: Selector) -> str:
    """Each list's age at the last scrape, in intervals at which it is polled.

    Not the age by now: where polls are more frequent than scrapes, that would count the wait for the scrape too.
    """
    last = select(catalog.COLLECTOR_LAST_SUCCESS)
    return f"(timestamp({last}) - {last}) / {select(catalog.COLLECTOR_INTERVAL)}"


def in_service(select: Selector) -> Panel:
    """How much of the fleet can take tasks."""
    about = (
        "Idle and busy agents among all that are connected, expected, or were connected within collect.agent_memory."
        " The rest are disconnected, unhealthy, syncing or in interactive use."
    )
    # No agent at all gives no series: neither part of a ratio then.
    expression = f"sum({select(catalog.AGENTS, READY)}) / (count({select(catalog.AGENT_CONNECTED)}) > 0)"
    text = Text("Agents in service", about, empty="no agents")
    return number(text, expression, "percentunit", style.IN_SERVICE, decimals=0)


def capacity_used(select: Selector) -> Panel:
    """How much of the fleet works."""
    about = (
        "Running tasks by the capacity of the connected agents. Near 100 % with tasks waiting, the fleet is too small."
    )
    expression = share(select(catalog.AGENT_RUNNING_TASKS), select(catalog.AGENT_GPU_CAPACITY))
    text = Text("GPU capacity in use", about, empty="no capacity")
    return number(text, expression, "percentunit", style.USE, decimals=0)


def oldest_unstarted(select: Selector) -> Panel:
    """Whether work is stuck."""
    about = "Time since the oldest task that has not started was created; 0 when none waits."
    # The second part is 0 where tasks are known and none waits; nothing where they are not known.
    waited = f"max({age(select(catalog.TASK_OLDEST_CREATED, UNSTARTED))})"
    expression = f"{waited} or 0 * sum({select(catalog.TASKS)})"
    return number(Text("Oldest waiting task", about), expression, "s", style.WAITING, decimals=1)


def failed_share(select: Selector) -> Panel:
    """Whether work goes wrong."""
    about = "Failed tasks among the completed and failed ones within the time shown; cancelled tasks do not count."
    expression = share(
        select.increase(catalog.TASKS_FINISHED, FAILED, over=RANGE),
        select.increase(catalog.TASKS_FINISHED, TRIED, over=RANGE),
    )
    text = Text("Failed tasks", about, empty="none finished")
    return number(text, expression, "percentunit", style.FAILURES, decimals=1)


def status_codes(select: Selector) -> str:
    """Each agent's status as a number of `style.AGENT_CODES`; expected and remembered agents are disconnected."""
    parts = [
        f"{code} * (max by ({PRESENCE}) ({select(catalog.AGENT_STATUS, of_status(status))}) == 1)"
        for status, code in style.AGENT_CODES.items()
        if code
    ]
    gone = f"max by ({PRESENCE}) ({select(catalog.AGENT_CONNECTED)}) == 0"
    return " or ".join([*parts, f"({gone})"])


def of_status(status: str) -> str:
    """A matcher."""
    return f'status="{status}"'
