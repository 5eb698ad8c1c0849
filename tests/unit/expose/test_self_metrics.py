from dataclasses import replace

import pytest

from exporter.errors import REASONS
from exporter.expose.compression import inflate
from exporter.expose.counters import ApiCounters
from exporter.expose.self_metrics import REVISION_VARIABLE, SelfMetrics
from exporter.status import Attempt, CollectorStatus, ExporterStatus, TeamStatus
from support import Samples, parse_openmetrics, parse_text

NOW = 1_739_194_200.0
UNTRIED = CollectorStatus("tasks", 30.0, (), False, False, None, None, None, None, None, 0, None)
TRIED = CollectorStatus(
    name="agents",
    interval=30.0,
    attempts=(Attempt(NOW - 5, 0.5, 1, 3, None, None), Attempt(NOW - 35, 9.0, 0, None, "timeout", "no answer")),
    success=True,
    fresh=True,
    last_attempt_at=NOW - 5,
    last_success_at=NOW - 4.5,
    items=3,
    items_reported=4,
    truncated=True,
    failures_in_a_row=0,
    backoff_until=None,
)
TEAM = TeamStatus("render", None, "integration", (UNTRIED, TRIED), None, NOW - 60, None, 12, 3)
STATUS = ExporterStatus("1.2.3", NOW, NOW - 60, 120.0, None, (TEAM,))


def samples_of(status: ExporterStatus, counters: ApiCounters | None = None) -> Samples:
    return parse_text(text_of(status, counters or ApiCounters()))


def text_of(status: ExporterStatus, counters: ApiCounters, *, openmetrics: bool = False) -> str:
    metrics = SelfMetrics(counters)
    for team in status.teams:
        metrics.add_team(team, up=team.up)
    return inflate(metrics.render(status, openmetrics=openmetrics)).decode()


def test_what_is_not_known_has_no_series() -> None:
    """Before the first poll, the first answer and the first reload there are no times, items or skews."""
    found = samples_of(replace(STATUS, teams=(replace(TEAM, collectors=(UNTRIED,), credential_loaded_at=None),)))
    ours = {name for name in found.names() if name.startswith("cyberun_")}
    counted = {"cyberun_exporter_unknown_values_total", "cyberun_exporter_series", "cyberun_exporter_series_dropped"}
    about_polls = {"cyberun_up", "cyberun_collector_success", "cyberun_collector_interval_seconds"}
    process = {"cyberun_exporter_config_last_reload_successful", "cyberun_exporter_build_info"}
    process |= {"cyberun_exporter_internal_errors_total", "cyberun_exporter_log_lines_dropped_total"}
    assert ours == counted | about_polls | process


def test_collector() -> None:
    """A collector shows its last poll, how much it read and whether it was truncated."""
    found, who = samples_of(STATUS), {"team_name": "render", "collector": "agents"}
    shown = {name: found.value(f"cyberun_collector_{name}", **who) for name in ("success", "items", "items_reported")}
    assert shown == {"success": 1, "items": 3, "items_reported": 4}
    assert found.value("cyberun_collector_duration_seconds", **who) == 0.5
    assert found.value("cyberun_collector_truncated", **who) == 1
    assert found.value("cyberun_collector_last_attempt_timestamp_seconds", **who) == NOW - 5
    assert found.value("cyberun_collector_last_success_timestamp_seconds", **who) == NOW - 4.5


@pytest.mark.parametrize(
    ("success", "fresh", "up"), [(True, True, 1), (True, False, 0), (False, True, 0), (False, False, 0)]
)
def test_up(*, success: bool, fresh: bool, up: int) -> None:
    """A team is up if the last poll of each of its lists succeeded and the data is still fresh."""
    other = replace(TRIED, name="tasks", success=success, fresh=fresh)
    found = samples_of(replace(STATUS, teams=(replace(TEAM, collectors=(TRIED, other)),)))
    assert found.value("cyberun_up", team_name="render") == up


def test_backoff_is_the_latest_of_the_team() -> None:
    """The back-off of a team is the later one of its lists."""
    collectors = (replace(TRIED, backoff_until=NOW + 60), replace(UNTRIED, backoff_until=NOW + 90))
    team = replace(TEAM, collectors=collectors, credential_expires_at=NOW + 5)
    found = samples_of(replace(STATUS, teams=(team,)))
    assert found.value("cyberun_exporter_api_backoff_until_timestamp_seconds", team_name="render") == NOW + 90
    assert found.value("cyberun_exporter_credential_expiry_timestamp_seconds", team_name="render") == NOW + 5


@pytest.mark.parametrize(("successful", "value"), [(True, 1), (False, 0)])
def test_reload(*, successful: bool, value: int) -> None:
    """The result of the last reload, and the time of the last successful one."""
    found = samples_of(replace(STATUS, last_reload_ok=successful, last_reload_ok_at=NOW - 7))
    assert found.value("cyberun_exporter_config_last_reload_successful") == value
    assert found.value("cyberun_exporter_config_last_reload_success_timestamp_seconds") == NOW - 7


def test_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version, the Python, and the revision where the image states one."""
    monkeypatch.delenv(REVISION_VARIABLE, raising=False)
    [build] = samples_of(STATUS).series("cyberun_exporter_build_info")
    assert (build["version"], build["revision"]) == ("1.2.3", "")
    monkeypatch.setenv(REVISION_VARIABLE, "0123abc")
    [build] = samples_of(STATUS).series("cyberun_exporter_build_info")
    assert build["revision"] == "0123abc"


def test_both_formats_parse_and_end_open() -> None:
    """The metrics about the exporter come first in the exposition, so they have no end marker."""
    counters = ApiCounters()
    counters.start("render", ("/agents",))
    counters.answered("/agents", 0.2)
    counters.clock_skew(-0.25)
    openmetrics = text_of(STATUS, counters, openmetrics=True)
    assert "# EOF" not in openmetrics
    found = parse_openmetrics(openmetrics + "# EOF\n")
    text = parse_text(text_of(STATUS, counters))
    ours = {key for key in text.values if key[0].startswith("cyberun_")}
    assert ours == {key for key in found.values if key[0].startswith("cyberun_")}
    assert "process_open_fds" in found.names() & text.names()


def test_one_team() -> None:
    """The metrics about one team's polls contain nothing about other teams or the process."""
    counters = ApiCounters()
    counters.start("render", ("/agents",))
    counters.start("film", ("/agents",))
    metrics = SelfMetrics(counters)
    metrics.add_team(TEAM, up=False)
    found = parse_text(inflate(metrics.render_teams(openmetrics=False)).decode())
    assert {dict(labels).get("team_name") for _, labels in found.values} == {"render"}
    assert found.value("cyberun_up", team_name="render") == 0
    assert found.value("cyberun_exporter_api_requests_total", team_name="render", path="/agents") == 0


def test_requests_of_a_discovery() -> None:
    """Requests of a discovery count under its own name."""
    counters = ApiCounters()
    counters.start("discover[0]", ("/users/me",))
    counters.request("discover[0]", "/users/me")
    found = samples_of(STATUS, counters)
    assert found.value("cyberun_exporter_api_requests_total", team_name="discover[0]", path="/users/me") == 1


def test_every_counter_of_a_team_starts_at_0() -> None:
    """Each path of a team has a count of requests and one of failures for every reason before anything happens."""
    counters = ApiCounters()
    counters.start("render", ("/agents",))
    found = samples_of(STATUS, counters)
    assert found.value("cyberun_exporter_api_requests_total", team_name="render", path="/agents") == 0
    failures = found.series("cyberun_exporter_api_request_failures_total")
    assert sorted(each["reason"] for each in failures) == sorted(REASONS)
