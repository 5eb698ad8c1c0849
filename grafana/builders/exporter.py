"""How far can the numbers be trusted, and what stands between the platform and us?"""

from typing import Final

from exporter import catalog
from exporter.catalog import Metric
from grafana.builders import common, links, program, style
from grafana.builders.common import LIST, TEAM
from grafana.builders.frame import Board, Place, Section
from grafana.builders.grid import BACKGROUND, COLORED, HIDDEN_JOB, Column, Key, grid
from grafana.builders.grid import TEAM as TEAM_KEY
from grafana.builders.panel import Line, Look, Panel, Scale, Text, durations, lines, number, timeline
from grafana.builders.query import (
    RANGE,
    Selector,
    age,
    longest,
)

SELECT: Final = Selector(("team_name",))
_INSTANCE: Final = "{{instance}}"
_BANDS: Final = 12
_ROWS: Final = 20
_REQUESTS: Final = SELECT.rate(catalog.API_REQUESTS)
_FAILURES: Final = SELECT.rate(catalog.API_REQUEST_FAILURES)


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=links.EXPORTER,
        title="Cyberun / Exporter",
        answers="How far can the numbers be trusted, and what stands between the platform and us?",
        selector=SELECT,
        sections=(
            Section("", [Place(panel, 4, 4) for panel in _first_row()]),
            Section("Polls", [Place(_polls(), 24, 8), Place(_up(), 12, 6), Place(common.data_age(SELECT), 12, 6)]),
            Section(
                "Platform API",
                [
                    Place(_requests(), 6, 8),
                    Place(_failures(), 6, 8),
                    Place(_failing(), 7, 8),
                    Place(_unknown(), 5, 8),
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
    failed = f"sum({SELECT.increase(catalog.API_REQUEST_FAILURES, over=RANGE)})"
    sent = f"(sum({SELECT.increase(catalog.API_REQUESTS, over=RANGE)}) > 0)"
    lost = f"sum({SELECT(catalog.COLLECTOR_TRUNCATED)}) + sum({SELECT(catalog.SERIES_DROPPED)})"
    return (
        common.not_reporting(SELECT),
        common.oldest_data(SELECT),
        number(
            Text("Failed API requests", "Requests without a usable answer among all within the time shown."),
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
                "Time until the first credential that tells its expiry ends, but for sessions that renew themselves."
                " Below 7 days the alert begins to count.",
                empty="none known",
            ),
            f"min({_remaining()})",
            Scale("s", style.LIFETIME, decimals=0),
        ),
        number(
            Text("Configuration", catalog.CONFIG_RELOAD_SUCCESSFUL),
            f"min({SELECT(catalog.CONFIG_RELOAD_SUCCESSFUL)})",
            Scale("none", mappings=style.OK_OR_FAILING),
        ),
    )


def _remaining() -> str:
    """Seconds left to each team's credential that does not renew itself."""
    # Not by `changes`, which counts the first sample on VictoriaMetrics.
    expiry = SELECT.each(catalog.CREDENTIAL_EXPIRY)
    renewed = f"max_over_time({expiry}[1d]) > min_over_time({expiry}[1d])"
    return f"({SELECT(catalog.CREDENTIAL_EXPIRY)} - time() unless on ({TEAM}) {renewed})"


# --- Polls ---


def _each(metric: Metric) -> str:
    """What each exporter says about each list."""
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
            mappings=style.never("never read"),
            cell=COLORED,
            decimals=1,
        ),
        Column("Last attempt", age(_each(catalog.COLLECTOR_LAST_ATTEMPT)), unit="s", decimals=0),
        Column("Interval", _each(catalog.COLLECTOR_INTERVAL), unit="s"),
        Column("Duration", _each(catalog.COLLECTOR_DURATION), unit="s"),
        Column("Items read", _each(catalog.COLLECTOR_ITEMS), unit="short"),
        Column("Items reported", _each(catalog.COLLECTOR_ITEMS_REPORTED), unit="short", width=115),
        Column("Truncated", _each(catalog.COLLECTOR_TRUNCATED), mappings=style.NO_OR_YES, cell=COLORED),
        # Back-off is the team's; it is repeated for each list, so that the rows stay whole.
        Column(
            "Back-off left",
            f"clamp_min({lists} * on (instance, {TEAM}) group_left () {backoff}, 0)",
            unit="s",
            decimals=0,
        ),
    ]
    about = (
        "The last poll of each team's lists, failed ones first; the age of data is in poll intervals. Tasks are counted"
        " by the platform's totals and read only in part; agents are read in full. Back-off is empty while the team is"
        " polled as planned."
    )
    keys = [HIDDEN_JOB, TEAM_KEY, Key("collector", "List"), Key("instance", "Instance", width=150, last=True)]
    return grid(Text("Polls", about), keys, columns, sort={"Last poll": False, "Data age": True})


def _up() -> Panel:
    absent = f"1 - ({SELECT(catalog.UP)})"
    about = f"{catalog.UP.help} The {_BANDS} teams that failed for longest within the time shown."
    query = Line(longest(_BANDS, SELECT(catalog.UP), absent, TEAM), "{{team_name}}")
    return timeline(Text("Teams reporting", about), query, style.OK_OR_FAILING)


# --- Platform API ---


def _requests() -> Panel:
    text = Text("API requests", "Requests to the platform by path. This is what polling costs the platform.")
    return lines(text, [Line(f"sum by (path) ({_REQUESTS})", "{{path}}")], "reqps", Look(stacked=True))


def _failures() -> Panel:
    about = (
        "Requests without a usable answer, by reason. auth: renew the credential; rate_limited: poll less often;"
        " schema: the platform changed; timeout, connect, tls: the way there. Empty while all is well."
    )
    query = Line(f"60 * sum by (reason) ({_FAILURES}) > 0", "{{reason}}")
    text = Text("Failed API requests per minute", about, empty="none known")
    return lines(text, [query], "short", Look(colors=style.REASON_COLORS, stacked=True, bars=True))


def _failing() -> Panel:
    about = "Which team's requests failed, where and why, within the time shown."
    failed = f"sum by ({TEAM}, path, reason) ({SELECT.increase(catalog.API_REQUEST_FAILURES, over=RANGE)}) > 0"
    columns = [Column("Failed", f"topk({_ROWS}, {failed})", unit="short", decimals=0)]
    keys = [HIDDEN_JOB, TEAM_KEY, Key("path", "Path"), Key("reason", "Reason")]
    return grid(Text("Failed API requests by team", about, empty="none known"), keys, columns, sort={"Failed": True})


def _unknown() -> Panel:
    increase = SELECT.increase(catalog.UNKNOWN_VALUES, over=RANGE)
    columns = [Column("Values", f"topk({_ROWS}, sum by (field) ({increase}) > 0)", unit="short", decimals=0)]
    text = Text("Values not understood", catalog.UNKNOWN_VALUES, empty="none known")
    return grid(text, [Key("field", "Field")], columns, sort={"Values": True})


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
    expiry = SELECT(catalog.CREDENTIAL_EXPIRY)
    columns = [
        Column("Kind", SELECT(catalog.TEAM_INFO), shown=False),
        Column("Read", age(SELECT(catalog.CREDENTIAL_LAST_LOAD)), unit="s", decimals=0),
        Column("Expires in", _remaining(), unit="s", judgement=style.LIFETIME, cell=COLORED, decimals=0),
        Column(
            "Session ends in", f"({expiry} - time()) unless on ({TEAM}) {_remaining()}", unit="s", decimals=0, width=125
        ),
    ]
    keys = [
        HIDDEN_JOB,
        TEAM_KEY,
        Key("credential_kind", "Credential", width=115),
        Key("team_id", "Team id", width=300),
    ]
    about = (
        "What each team is polled with, how long ago it was read, and when it expires, where that is known. A session"
        " renews itself before its end."
    )
    return grid(Text("Credentials", about), keys, columns, sort={"Expires in": False, "Team": False})


def _discoveries() -> Panel:
    found = SELECT(catalog.DISCOVERY_LAST_SUCCESS)
    each = {state: SELECT.each(catalog.DISCOVERY_TEAMS, f'state="{state}"') for state in catalog.DISCOVERED_TEAM_STATES}
    teams = {state: f"max by (job, discovery) ({one})" for state, one in each.items()}
    columns = [
        Column("Last look", SELECT(catalog.DISCOVERY_SUCCESS), mappings=style.FAILING_ONLY, cell=BACKGROUND),
        # 0 stands for never.
        Column("Last success", f"time() - ({found} > 0)", unit="s", decimals=0),
        Column("Polled", teams["polled"], unit="short"),
        Column("Left out", teams["left_out"], unit="short", judgement=style.ANY_IS_A_WARNING, cell=COLORED),
        Column("Not wanted", teams["not_wanted"], unit="short"),
    ]
    about = (
        "What each credential that looks for its teams has found. Left out are teams that are wanted and cannot be"
        " polled: the log and the exporter's own page say why."
    )
    keys = [HIDDEN_JOB, Key("discovery", "Discovery", width=180)]
    text = Text("Discoveries", about, empty="none known")
    return grid(text, keys, columns, sort={"Last look": False, "Left out": True})


def _skew() -> Panel:
    query = Line(SELECT.each(catalog.CLOCK_SKEW), _INSTANCE)
    return lines(Text("Clock skew", catalog.CLOCK_SKEW), [query], "s", Look(minimum=None))
