"""Does work flow: how long does it wait and run, what fails, what is stuck?"""

from typing import Final

from exporter import catalog
from grafana.builders import common, gpu_time, links, style
from grafana.builders.common import ACTIVE, COMPLETED, FAILED, TEAM, TRIED, UNSTARTED, by_team, of_status
from grafana.builders.frame import Board, Place, Section
from grafana.builders.panel import Line, Look, Panel, Scale, Text, durations, lines, number
from grafana.builders.query import Selector, age, none

SELECT: Final = Selector(("team_name", "workflow_id"))


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=links.TASKS,
        title="Cyberun / Tasks",
        answers="Does work flow: how long does it wait and run, what fails, what is stuck?",
        selector=SELECT,
        sections=(
            Section(
                "", [Place(panel, width, 4) for panel, width in zip(_first_row(), (3, 3, 4, 5, 5, 4), strict=True)]
            ),
            Section(
                "Flow",
                [
                    Place(common.active_tasks(SELECT), 8, 8),
                    Place(common.finished_tasks(SELECT), 8, 8),
                    Place(_drain(), 8, 8),
                ],
            ),
            Section(
                "Durations",
                [
                    Place(_wait_map(), 12, 8),
                    Place(_wait_quantiles(), 12, 8),
                    Place(_run_map(), 12, 8),
                    Place(_run_quantiles(), 12, 8),
                ],
            ),
            Section("Failures", [Place(_failed(), 8, 8), Place(_failed_runs(), 8, 8), Place(_retries(), 8, 8)]),
            Section(
                "Stuck work",
                [
                    Place(_oldest(), 12, 8),
                    Place(_longest(), 12, 8),
                    Place(_ineligible(), 8, 8),
                    Place(_on_absent_agents(), 8, 8),
                    Place(_retrying(), 8, 8),
                ],
            ),
            Section("GPU time", gpu_time.places()),
            Section("Workflows", [Place(gpu_time.workflows(), 24, 8)]),
            Section("History", [Place(_listed(), 24, 7)]),
        ),
    )


def _first_row() -> tuple[Panel, ...]:
    longest = f"max({age(SELECT(catalog.TASK_OLDEST_STARTED))}) or {none(SELECT(catalog.TASKS))}"
    return (
        number(
            Text(
                "Not started",
                "Tasks that are pending, waiting for a free agent, being provisioned or queued on an agent.",
            ),
            f"sum({SELECT(catalog.TASKS, UNSTARTED)})",
            Scale("short"),
        ),
        number(
            Text("Running", "Tasks that are running now."),
            f"sum({SELECT(catalog.TASKS, of_status('running'))})",
            Scale("short"),
        ),
        common.oldest_unstarted(SELECT),
        number(
            Text("Longest running task", "Time since the oldest running task started; 0 if no task is running."),
            longest,
            Scale("s", style.RUNNING, decimals=1),
        ),
        number(
            Text("Without eligible agent", catalog.TASKS_WITHOUT_ELIGIBLE_AGENT),
            f"sum({SELECT(catalog.TASKS_WITHOUT_ELIGIBLE_AGENT)})",
            Scale("short", style.ANY_IS_A_WARNING),
        ),
        common.failed_share(SELECT),
    )


# --- Flow ---


def _drain() -> Panel:
    left = f"sum by ({TEAM}) ({SELECT(catalog.TASKS, ACTIVE)})"
    rate = f"sum by ({TEAM}) ({SELECT.rate(catalog.TASKS_FINISHED)})"
    about = (
        "How long the fleet needs for all unfinished tasks at its current rate. It rises when the queue grows or the"
        " fleet slows down. Gaps: no task finished."
    )
    return by_team(Text("Time to clear the queue", about), f"{left} / ({rate} > 0)", "s", Look(coarse=True))


# --- Durations ---


def _wait_map() -> Panel:
    buckets = f"sum by (le) ({SELECT.increase(catalog.TASK_WAIT, suffix='_bucket')})"
    return durations(Text("How long tasks waited", catalog.TASK_WAIT), buckets, "Oranges")


def _wait_quantiles() -> Panel:
    about = "95th percentile of the time from creation to start, by team."
    slow = SELECT.quantile(0.95, catalog.TASK_WAIT, by=TEAM)
    return by_team(Text("Waiting time, 95th percentile", about), slow, "s", Look(coarse=True))


def _run_map() -> Panel:
    buckets = f"sum by (le) ({SELECT.increase(catalog.TASK_RUN, COMPLETED, suffix='_bucket')})"
    about = "Time from start to end of completed tasks. Two bands are two kinds of work."
    return durations(Text("How long completed tasks ran", about), buckets, "Greens")


def _run_quantiles() -> Panel:
    about = "95th percentile of the time from start to end of completed tasks, by team."
    slow = SELECT.quantile(0.95, catalog.TASK_RUN, COMPLETED, by=TEAM)
    return by_team(Text("Run time, 95th percentile", about), slow, "s", Look(coarse=True))


# --- Failures ---


def _failed() -> Panel:
    failed = f"sum by ({TEAM}) ({SELECT.rate(catalog.TASKS_FINISHED, FAILED)})"
    tried = f"sum by ({TEAM}) ({SELECT.rate(catalog.TASKS_FINISHED, TRIED)})"
    about = "Failed tasks as a share of those that completed or failed. Gaps: no task finished."
    look = Look(limit=0.2, at_least=0.25, coarse=True)
    return by_team(Text("Failed tasks by team", about), f"{failed} / ({tried} > 0)", "percentunit", look)


def _failed_runs() -> Panel:
    runs = {
        status: [SELECT.rate(catalog.TASK_RUN, of_status(status), suffix=suffix) for suffix in ("_sum", "_count")]
        for status in ("completed", "failed")
    }
    queries = [Line(f"sum({total}) / (sum({count}) > 0)", status) for status, (total, count) in runs.items()]
    about = (
        "Mean time from start to end, by final status. Failed tasks that are much shorter than completed ones fail at"
        " the start, as with a missing model or a broken workflow; longer ones run into a timeout."
    )
    return lines(Text("How long failed tasks ran", about), queries, "s", Look(colors=style.TASK_COLORS, coarse=True))


def _retries() -> Panel:
    retries = f"sum by ({TEAM}) ({SELECT.rate(catalog.TASK_RETRIES)})"
    finished = f"sum by ({TEAM}) ({SELECT.rate(catalog.TASKS_FINISHED)})"
    about = "How often a task was retried on average. Faulty agents show here before tasks fail for good."
    look = Look(coarse=True)
    return by_team(Text("Retries per finished task", about), f"{retries} / ({finished} > 0)", "none", look)


# --- Stuck work ---


def _oldest() -> Panel:
    oldest = f"max by (status) ({age(SELECT(catalog.TASK_OLDEST_CREATED))})"
    known = f"max by (status) ({SELECT(catalog.TASKS, common.OLDEST)})"
    about = (
        "Time since the oldest task of each status was created; 0 if there is none. A line that rises steadily is a"
        " task that is stuck; a sawtooth is a queue that moves."
    )
    look = Look(colors=style.TASK_COLORS, limit=900)
    return lines(Text("Oldest task not started", about), [Line(f"{oldest} or 0 * {known}", "{{status}}")], "s", look)


def _longest() -> Panel:
    about = "Time since each team's oldest running task started; 0 if none is running."
    known = f"max by ({TEAM}) ({SELECT(catalog.TASKS, of_status('running'))})"
    oldest = f"{age(SELECT(catalog.TASK_OLDEST_STARTED))} or 0 * {known}"
    return by_team(Text("Longest running task by team", about), oldest, "s")


def _ineligible() -> Panel:
    text = Text("Waiting tasks without eligible agent", catalog.TASKS_WITHOUT_ELIGIBLE_AGENT)
    return by_team(text, SELECT(catalog.TASKS_WITHOUT_ELIGIBLE_AGENT), "short", Look(at_least=1))


def _on_absent_agents() -> Panel:
    text = Text("Running tasks on absent agents", catalog.TASKS_ON_ABSENT_AGENTS)
    return by_team(text, SELECT(catalog.TASKS_ON_ABSENT_AGENTS), "short", Look(at_least=1))


def _retrying() -> Panel:
    text = Text("Active tasks being retried", catalog.TASKS_RETRYING)
    return by_team(text, SELECT(catalog.TASKS_RETRYING), "short", Look(at_least=1))


# --- History ---


def _listed() -> Panel:
    queries = [Line(f"sum({SELECT(catalog.TASKS, of_status(each))})", each) for each in catalog.FINAL_TASK_STATUSES]
    about = (
        "Finished tasks that the platform still lists, not a rate of work: the number drops when retention removes old"
        " tasks."
    )
    return lines(Text("Finished tasks listed", about), queries, "short", Look(colors=style.TASK_COLORS))
