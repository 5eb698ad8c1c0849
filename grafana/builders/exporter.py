"""How far can the numbers be trusted, and what stands between the platform and us?"""

from typing import Final

from exporter import catalog
from grafana.builders import common, frame, style
from grafana.builders.frame import Board, Place, Section
from grafana.builders.grid import BACKGROUND, COLORED, Column, Key, grid
from grafana.builders.panel import Line, Look, Panel, Text, bars, durations, lines, number, timeline, verdict
from grafana.builders.query import (
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_START,
    RANGE,
    RATE,
    Selector,
    age,
    foreign,
    of_exporters,
)

SELECT: Final = Selector(("team_name",))
_LIST: Final = "team_name, collector"
_INSTANCE: Final = "{{instance}}"
_REQUESTS: Final = SELECT.rate(catalog.API_REQUESTS)
_FAILURES: Final = SELECT.rate(catalog.API_REQUEST_FAILURES)


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=frame.EXPORTER,
        title="Cyberun / Exporter",
        answers="How far can the numbers be trusted, and what stands between the platform and us?",
        selector=SELECT,
        sections=(
            Section("", [Place(panel, 4, 4) for panel in _first_row()]),
            Section("Polls", [Place(_polls(), 24, 8), Place(_up(), 12, 6), Place(_behind(), 12, 6)]),
            Section(
                "Platform API",
                [
                    Place(_requests(), 8, 8),
                    Place(_failures(), 8, 8),
                    Place(_unknown(), 8, 8),
                    Place(_latency_map(), 12, 8),
                    Place(_latency(), 12, 8),
                ],
            ),
            Section("Credentials", [Place(_credentials(), 16, 6), Place(_skew(), 8, 6)]),
            Section(
                "Program",
                [
                    Place(_builds(), 24, 4),
                    Place(_series(), 8, 7),
                    Place(_memory(), 8, 7),
                    Place(_cpu(), 8, 7),
                ],
            ),
        ),
    )


def _first_row() -> tuple[Panel, ...]:
    failed = f"sum({SELECT.increase(catalog.API_REQUEST_FAILURES, over=RANGE)})"
    sent = f"(sum({SELECT.increase(catalog.API_REQUESTS, over=RANGE)}) > 0)"
    lost = f"sum({SELECT(catalog.COLLECTOR_TRUNCATED)}) + sum({SELECT(catalog.SERIES_DROPPED)})"
    remaining = f"min({SELECT(catalog.CREDENTIAL_EXPIRY)} - time())"
    return (
        common.not_reporting(SELECT),
        common.oldest_data(SELECT),
        number(
            Text("Failed API requests", "Requests without a usable answer among all within the time shown."),
            f"{failed} / {sent}",
            "percentunit",
            style.steps(style.GOOD, (0.01, style.WARN), (0.1, style.BAD)),
            decimals=1,
        ),
        number(
            Text("Left out", "Lists that were not read to the end, plus series left out because a limit was reached."),
            lost,
            "short",
            style.MORE_IS_WORSE,
        ),
        number(
            Text(
                "Next credential expiry",
                "Time until the first credential that tells its expiry does; JWT sessions renew themselves before.",
                empty="none known",
            ),
            remaining,
            "s",
            style.LIFETIME,
            decimals=0,
        ),
        verdict(
            Text("Configuration", catalog.CONFIG_RELOAD_SUCCESSFUL),
            f"min({SELECT(catalog.CONFIG_RELOAD_SUCCESSFUL)})",
            style.YES_OR_NO,
        ),
    )


# --- Polls ---


def _worst(expression: str) -> str:
    return f"max by ({_LIST}) ({expression})"


def _polls() -> Panel:
    backoff = f"max by (team_name) ({SELECT(catalog.API_BACKOFF_UNTIL)} - time())"
    lists = f"group by ({_LIST}) ({SELECT(catalog.COLLECTOR_SUCCESS)})"
    columns = [
        Column(
            "Last poll",
            f"min by ({_LIST}) ({SELECT(catalog.COLLECTOR_SUCCESS)})",
            mappings=style.YES_OR_NO,
            cell=BACKGROUND,
        ),
        Column(
            "Data age",
            _worst(age(SELECT(catalog.COLLECTOR_LAST_SUCCESS))),
            unit="s",
            steps=style.DATA_AGE,
            cell=COLORED,
            decimals=0,
        ),
        Column("Last attempt", _worst(age(SELECT(catalog.COLLECTOR_LAST_ATTEMPT))), unit="s", decimals=0),
        Column("Interval", _worst(SELECT(catalog.COLLECTOR_INTERVAL)), unit="s"),
        Column("Duration", _worst(SELECT(catalog.COLLECTOR_DURATION)), unit="s"),
        Column("Items read", _worst(SELECT(catalog.COLLECTOR_ITEMS)), unit="short"),
        Column("Items reported", _worst(SELECT(catalog.COLLECTOR_ITEMS_REPORTED)), unit="short"),
        Column("Truncated", _worst(SELECT(catalog.COLLECTOR_TRUNCATED)), mappings=style.NO_OR_YES, cell=COLORED),
        # Back-off is the team's; it is repeated for each list, so that the rows stay whole.
        Column(
            "Back-off left", f"clamp_min({lists} * on (team_name) group_left () {backoff}, 0)", unit="s", decimals=0
        ),
    ]
    about = (
        "The last poll of each team's lists. Tasks are counted by the platform's totals and read only in part;"
        " agents are read in full. Back-off is empty while the team is polled as planned."
    )
    keys = [Key("team_name", "Team"), Key("collector", "List")]
    return grid(Text("Polls", about), keys, columns, sort="Data age")


def _up() -> Panel:
    query = Line(f"min by (team_name) ({SELECT(catalog.UP)})", "{{team_name}}")
    return timeline(Text("Teams reporting", catalog.UP), query, style.YES_OR_NO)


def _behind() -> Panel:
    about = (
        "Age of the data when it was scraped, in intervals of the list's polls. Above 3, polls fail or take too long."
    )
    query = Line(_worst(common.intervals_behind(SELECT)), "{{team_name}} {{collector}}")
    look = Look(limit=style.steps("transparent", (3, style.BAD)), table=True)
    return lines(Text("Data age in poll intervals", about), [query], "none", look)


# --- Platform API ---


def _requests() -> Panel:
    text = Text(
        "API requests", "Requests to the platform per second, by path. This is what polling costs the platform."
    )
    return lines(text, [Line(f"sum by (path) ({_REQUESTS})", "{{path}}")], "reqps", Look(stacked=True))


def _failures() -> Panel:
    about = (
        "Requests without a usable answer, per minute and by reason. auth: renew the credential; rate_limited: poll"
        " less often; schema: the platform changed; timeout, connect, tls: the way there. Empty while all is well."
    )
    query = Line(f"60 * sum by (team_name, reason) ({_FAILURES}) > 0", "{{team_name}} {{reason}}")
    text = Text("Failed API requests by reason", about, empty="no failures")
    return lines(text, [query], "cpm", Look(stacked=True, bars=True))


def _unknown() -> Panel:
    text = Text("Values not understood", catalog.UNKNOWN_VALUES, empty="all understood")
    increase = SELECT.increase(catalog.UNKNOWN_VALUES, over=RANGE)
    query = Line(f"sort_desc(sum by (field) ({increase}) > 0)", "{{field}}")
    return bars(text, query, "short", style.ANY_IS_A_WARNING)


def _latency_map() -> Panel:
    buckets = f"sum by (le) ({SELECT.increase(catalog.API_REQUEST_SECONDS, suffix='_bucket')})"
    return durations(Text("How long the platform takes to answer", catalog.API_REQUEST_SECONDS), buckets, "Blues")


def _latency() -> Panel:
    queries = [
        Line(SELECT.quantile(0.5, catalog.API_REQUEST_SECONDS, by="path"), "{{path}} p50"),
        Line(SELECT.quantile(0.95, catalog.API_REQUEST_SECONDS, by="path"), "{{path}} p95"),
    ]
    about = "Median and 95th percentile of the time to an answer, by path. Near api.timeout, polls begin to fail."
    return lines(Text("Answer times", about), queries, "s", Look(table=True))


# --- Credentials ---


def _credentials() -> Panel:
    columns = [
        Column("Kind", f"max by (team_name, credential_kind, team_id) ({SELECT(catalog.TEAM_INFO)})", shown=False),
        Column("Read", f"max by (team_name) ({age(SELECT(catalog.CREDENTIAL_LAST_LOAD))})", unit="s", decimals=0),
        Column(
            "Expires in",
            f"min by (team_name) ({SELECT(catalog.CREDENTIAL_EXPIRY)} - time())",
            unit="s",
            steps=style.LIFETIME,
            cell=COLORED,
            decimals=0,
        ),
    ]
    keys = [Key("team_name", "Team"), Key("credential_kind", "Credential"), Key("team_id", "Team id")]
    about = "What each team is polled with, how long ago it was read, and when it expires, where it says so itself."
    return grid(Text("Credentials", about), keys, columns)


def _skew() -> Panel:
    query = Line(SELECT(catalog.CLOCK_SKEW), _INSTANCE)
    return lines(Text("Clock skew", catalog.CLOCK_SKEW), [query], "s", Look(minimum=None))


# --- Program ---


def _builds() -> Panel:
    labels = "instance, version, revision, python_version"
    columns = [
        Column("Build", f"max by ({labels}) ({SELECT(catalog.BUILD_INFO)})", shown=False),
        Column(
            "Running for",
            f"max by (instance) ({of_exporters(age(foreign(PROCESS_START)))})",
            unit="s",
            decimals=1,
        ),
        Column(
            "Configuration",
            f"min by (instance) ({SELECT(catalog.CONFIG_RELOAD_SUCCESSFUL)})",
            mappings=style.YES_OR_NO,
            cell=BACKGROUND,
        ),
        Column(
            "Configuration read",
            f"max by (instance) ({age(SELECT(catalog.CONFIG_RELOAD_SUCCESS))})",
            unit="s",
            decimals=1,
        ),
    ]
    titles = {"instance": "Instance", "version": "Version", "revision": "Revision", "python_version": "Python"}
    about = (
        "Each exporter: its version, when it started, and whether its last attempt to read its configuration succeeded."
    )
    return grid(Text("Exporters", about), [Key(label, title) for label, title in titles.items()], columns)


def _series() -> Panel:
    queries = [
        Line(f"sum by (team_name) ({SELECT(catalog.SERIES)})", "{{team_name}}"),
        Line(f"sum by (team_name) ({SELECT(catalog.SERIES_DROPPED)}) > 0", "{{team_name}} left out"),
    ]
    about = "Domain series that each team's data takes in Prometheus, and those left out because a limit was reached."
    return lines(Text("Series", about), queries, "short", Look(stacked=True))


def _memory() -> Panel:
    text = Text("Memory", "Resident memory of each exporter. A line that only rises is a leak.")
    return lines(text, [Line(of_exporters(foreign(PROCESS_MEMORY)), _INSTANCE)], "bytes")


def _cpu() -> Panel:
    text = Text("CPU", "Processor time of each exporter, in cores. Near 1, polls and scrapes begin to wait.")
    return lines(text, [Line(of_exporters(f"rate({foreign(PROCESS_CPU)}[{RATE}])"), _INSTANCE)], "none")
