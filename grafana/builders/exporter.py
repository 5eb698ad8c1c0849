"""How far can the numbers be trusted, and what is wrong between the exporter and the platform?"""

from typing import Final

from exporter import catalog
from exporter.catalog import Metric
from grafana.builders import common, links, program, style
from grafana.builders.common import ALL, LIST, TEAM
from grafana.builders.frame import Board, Place, Section
from grafana.builders.grid import BACKGROUND, COLORED, HIDDEN_JOB, Column, Key, grid
from grafana.builders.grid import TEAM as TEAM_KEY
from grafana.builders.panel import Line, Look, Panel, Scale, Text, durations, lines, number, timeline
from grafana.builders.query import Selector, age, longest, none

SELECT: Final = Selector(("team_name",))
_INSTANCE: Final = "{{instance}}"
_BANDS: Final = 12
_ROWS: Final = 20
_REQUESTS: Final = SELECT.rate(catalog.API_REQUESTS)


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=links.EXPORTER,
        title="Cyberun / Exporter",
        answers="How far can the numbers be trusted, and what is wrong between the exporter and the platform?",
        selector=SELECT,
        sections=(
            Section("", [Place(panel, 4, 4) for panel in _first_row()]),
            Section("Polls", [Place(_polls(), 24, 8), Place(_up(), 12, 6), Place(common.data_age(SELECT), 12, 6)]),
            Section(
                "Platform API",
                [
                    Place(_requests(), 12, 8),
                    Place(common.failed_requests(SELECT), 12, 8),
                    Place(_failing(), 12, 7),
                    Place(_unknown(), 12, 7),
                    Place(_latency_map(), 12, 8),
                    Place(_latency(), 12, 8),
                ],
            ),
            Section(
                "Credentials and discovery",
                [Place(_credentials(), 24, 6), Place(_discoveries(), 16, 6), Place(_skew(), 8, 6)],
            ),
            Section("Program", program.places()),
        ),
    )


def _first_row() -> tuple[Panel, ...]:
    failed = f"sum({SELECT.increase_in_range(catalog.API_REQUEST_FAILURES)})"
    sent = f"(sum({SELECT.increase_in_range(catalog.API_REQUESTS)}) > 0)"
    lost = f"sum({SELECT(catalog.COLLECTOR_TRUNCATED)}) + sum({SELECT(catalog.SERIES_DROPPED)})"
    return (
        common.not_reporting(SELECT),
        common.oldest_data(SELECT),
        number(
            Text(
                "Failed API requests", "Requests without a usable answer as a share of all requests in the time shown."
            ),
            f"{failed} / {sent}",
            Scale("percentunit", style.REQUEST_FAILURES, decimals=1),
        ),
        number(
            Text("Left out", "Lists that were not read to the end, plus series left out because a limit was reached."),
            lost,
            Scale("short", style.MORE_IS_WORSE),
        ),
        number(
            Text(
                "Credential expiry",
                "Time until the first credential with a known expiry ends, except sessions, which renew themselves. An"
                " alert fires below 7 days.",
            ),
            f"min({_remaining()}) or {none(SELECT(catalog.CREDENTIAL_LAST_LOAD), value='Inf')}",
            Scale("s", style.LIFETIME, decimals=0, mappings=style.infinite("none known", style.UNKNOWN)),
        ),
        number(
            Text("Configuration", catalog.CONFIG_RELOAD_SUCCESSFUL),
            f"min({SELECT(catalog.CONFIG_RELOAD_SUCCESSFUL)})",
            Scale("none", mappings=style.OK_OR_FAILING),
        ),
    )


def _remaining() -> str:
    """Seconds left for each team's credential, if it is known and does not renew itself."""
    # Not by `changes`, which counts the first sample on VictoriaMetrics.
    expiry = SELECT.each(catalog.CREDENTIAL_EXPIRY)
    renewed = f"max_over_time({expiry}[1d]) > min_over_time({expiry}[1d])"
    return f"({SELECT(catalog.CREDENTIAL_EXPIRY)} - time() unless on ({TEAM}) {renewed})"


# --- Polls ---


def _each(metric: Metric) -> str:
    """The values of each exporter for each list."""
    return f"max by (instance, {LIST}) ({SELECT.each(metric)})"


def _polls() -> Panel:
    backoff = f"max by (instance, {TEAM}) ({SELECT.each(catalog.API_BACKOFF_UNTIL)} - time())"
    lists = f"group by (instance, {LIST}) ({SELECT.each(catalog.COLLECTOR_SUCCESS)})"
    columns = [
        Column("Last poll", _each(catalog.COLLECTOR_SUCCESS), mappings=style.FAILING_ONLY, cell=BACKGROUND),
        Column(
            "Data age",
            common.intervals_behind(SELECT, each="instance"),
            judgement=style.INTERVALS_BEHIND,
            mappings=style.NEVER_READ,
            cell=COLORED,
            decimals=1,
        ),
        Column("Last attempt", age(_each(catalog.COLLECTOR_LAST_ATTEMPT)), unit="s", decimals=0),
        Column("Interval", _each(catalog.COLLECTOR_INTERVAL), unit="s"),
        Column("Duration", _each(catalog.COLLECTOR_DURATION), unit="s"),
        Column("Items read", _each(catalog.COLLECTOR_ITEMS), unit="short"),
        Column("Items reported", _each(catalog.COLLECTOR_ITEMS_REPORTED), unit="short"),
        Column("Truncated", _each(catalog.COLLECTOR_TRUNCATED), mappings=style.NO_OR_YES, cell=COLORED),
        # A team backs off as a whole: the value is repeated for each list, or it would get a row of its own.
        Column(
            "Back-off left",
            f"clamp_min({lists} * on (instance, {TEAM}) group_left () {backoff}, 0)",
            unit="s",
            decimals=0,
        ),
    ]
    about = (
        "The last poll of each team's lists, failed ones first; the age of data is in poll intervals. Tasks are counted"
        " by the platform's totals, so few are read; agents are read in full. Back-off left is missing while the team"
        " is polled on schedule."
    )
    keys = [HIDDEN_JOB, TEAM_KEY, Key("collector", "List"), Key("instance", "Instance", width=140, last=True)]
    return grid(Text("Polls", about), keys, columns, sort={"Last poll": False, "Data age": True})


def _up() -> Panel:
    absent = f"1 - ({SELECT(catalog.UP)})"
    about = f"{catalog.UP.help} Shows the {_BANDS} teams that failed for the longest in the time shown."
    failing = longest(_BANDS, SELECT(catalog.UP), absent, TEAM)
    query = Line(f"{failing} or on () {none(SELECT(catalog.UP), {'team_name': ALL}, '1')}", "{{team_name}}")
    return timeline(Text("Teams reporting", about), query, style.OK_OR_FAILING)


# --- Platform API ---


def _requests() -> Panel:
    text = Text("API requests", "Requests to the platform by path: the load that polling puts on it.")
    return lines(text, [Line(f"sum by (path) ({_REQUESTS})", "{{path}}")], "reqps", Look(stacked=True))


def _failing() -> Panel:
    about = "Requests without a usable answer in the time shown, by team, path and reason."
    failed = f"sum by ({TEAM}, path, reason) ({SELECT.increase_in_range(catalog.API_REQUEST_FAILURES)}) > 0"
    no_failure = none(SELECT(catalog.UP), {"job": ALL, "team_name": ALL, "path": ALL, "reason": ALL})
    columns = [Column("Failed", f"topk({_ROWS}, {failed}) or on () {no_failure}", unit="short", decimals=0)]
    keys = [HIDDEN_JOB, TEAM_KEY, Key("path", "Path", width=110), Key("reason", "Reason", width=110)]
    return grid(Text("Failed API requests by team", about), keys, columns, sort={"Failed": True})


def _unknown() -> Panel:
    increase = SELECT.increase_in_range(catalog.UNKNOWN_VALUES)
    values = f"topk({_ROWS}, sum by (field) ({increase}) > 0) or on () {none(SELECT(catalog.UP), {'field': ALL})}"
    columns = [Column("Values", values, unit="short", decimals=0)]
    text = Text("Unexpected API values", catalog.UNKNOWN_VALUES)
    return grid(text, [Key("field", "Field", width=300)], columns, sort={"Values": True})


def _latency_map() -> Panel:
    buckets = f"sum by (le) ({SELECT.increase(catalog.API_REQUEST_SECONDS, suffix='_bucket')})"
    return durations(Text("API response times", catalog.API_REQUEST_SECONDS), buckets, "Blues")


def _latency() -> Panel:
    queries = [
        Line(SELECT.quantile(0.5, catalog.API_REQUEST_SECONDS, by="path"), "{{path}} p50"),
        Line(SELECT.quantile(0.95, catalog.API_REQUEST_SECONDS, by="path"), "{{path}} p95"),
    ]
    about = "Median and 95th percentile of the response time, by path. Near api.timeout, polls begin to fail."
    return lines(Text("API response times by path", about), queries, "s")


# --- Credentials ---


def _credentials() -> Panel:
    expiry, loaded = SELECT(catalog.CREDENTIAL_EXPIRY), SELECT(catalog.CREDENTIAL_LAST_LOAD)
    columns = [
        Column("Kind", SELECT(catalog.TEAM_INFO), shown=False),
        Column("Loaded", age(loaded), unit="s", decimals=0),
        Column(
            "Expires in",
            # Infinite where unknown: to Grafana a missing value would be the lowest, and come first.
            f"{_remaining()} or on ({TEAM}) 0 * {loaded} + Inf",
            unit="s",
            judgement=style.LIFETIME,
            mappings=style.infinite("unknown", style.TEXT),
            cell=COLORED,
            decimals=0,
        ),
        Column("Session ends in", f"({expiry} - time()) unless on ({TEAM}) {_remaining()}", unit="s", decimals=0),
    ]
    keys = [
        HIDDEN_JOB,
        TEAM_KEY,
        Key("credential_kind", "Credential", width=115),
        Key("team_id", "Team id", width=300),
    ]
    about = (
        "Each team's credential: how long ago it was loaded and, if known, when it expires. A session renews itself"
        " before it ends."
    )
    return grid(Text("Credentials", about), keys, columns, sort={"Expires in": False, "Team": False})


def _discoveries() -> Panel:
    found = SELECT(catalog.DISCOVERY_LAST_SUCCESS)
    no_discovery = none(SELECT(catalog.UP), {"discovery": "none configured"}, "Inf")
    each = {state: SELECT.each(catalog.DISCOVERY_TEAMS, f'state="{state}"') for state in catalog.DISCOVERED_TEAM_STATES}
    teams = {state: f"max by (job, discovery) ({one})" for state, one in each.items()}
    columns = [
        Column(
            "Last attempt",
            f"{SELECT(catalog.DISCOVERY_SUCCESS)} or on () {no_discovery}",
            mappings=[*style.FAILING_ONLY, *style.NOT_ANY],
            cell=BACKGROUND,
        ),
        # A time stamp of 0 stands for never.
        Column("Last success", f"time() - ({found} > 0)", unit="s", decimals=0),
        Column("Polled", teams["polled"], unit="short"),
        Column("Left out", teams["left_out"], unit="short", judgement=style.ANY_IS_A_WARNING, cell=COLORED),
        Column("Not wanted", teams["not_wanted"], unit="short"),
    ]
    about = (
        "The teams that each discovery credential has found. Left out: teams that are wanted but cannot be polled; the"
        " log and the exporter's status page say why."
    )
    keys = [HIDDEN_JOB, Key("discovery", "Discovery", width=180)]
    text = Text("Team discovery", about)
    return grid(text, keys, columns, sort={"Last attempt": False, "Left out": True})


def _skew() -> Panel:
    query = Line(SELECT.each(catalog.CLOCK_SKEW), _INSTANCE)
    return lines(Text("Clock skew", catalog.CLOCK_SKEW), [query], "s", Look(minimum=None))
