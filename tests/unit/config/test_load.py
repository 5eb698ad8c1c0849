from pathlib import Path

import pytest

from exporter.config.address import ListenAddress
from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "docs/examples/cyberun-exporter.example.yaml"
TEAMS = "teams: [{name: render, token_env: RENDER_TOKEN}]\n"


def test_the_example_file_loads_and_shows_the_defaults() -> None:
    """The example has every key, and all except its teams have the default values."""
    example = load(EXAMPLE, {})
    render, training = example.teams
    folder = EXAMPLE.parent
    assert (render.name, render.token_file, render.interval) == ("render", folder / "secrets/render", 15.0)
    assert (render.team_id, render.expected_agents) == ("019abc12-4567-7890-abcd-ef1234567891", ("gpu-node-01",))
    assert (training.token_env, training.agents_path, training.interval) == ("TRAINING_TOKEN", "/r/agents", None)
    assert example == Settings(teams=example.teams)


def test_the_documented_configuration_loads(tmp_path: Path) -> None:
    """Every documented key exists, with the documented default."""
    file = tmp_path / "c.yaml"
    file.write_text(
        """
api: {base_url: "https://core.cyberun.cloud/api/v1", ca_file: null, timeout: 10s, max_requests_per_second: 10,
      max_concurrency: 8, max_response_bytes: 16777216, max_pages: 1000}
collect: {interval: 30s, stale_after: 2m, agent_memory: 1h, max_agents: 10000, agent_labels: false}
teams:
  - name: render
    token_file: secrets/render
    refresh_token_file: null
    team_id: 019abc12-4567-7890-abcd-ef1234567891
    interval: 15s
    expected_agents: [gpu-node-01]
discover: []
web: {listen_address: ":10042", telemetry_path: /metrics, config_file: null, enable_lifecycle: false}
log: {level: info, format: logfmt}
"""
    )
    settings = load(file, {})
    assert settings == Settings(teams=settings.teams)
    assert settings.collect.stale_after == 120.0
    assert settings.web.listen_address == (ListenAddress(None, 10042),)


def test_the_metrics_may_be_at_the_root() -> None:
    """As in the official exporters, the metrics may be at `/`, and then replace the status page."""
    given = {"CYBERUN_EXPORTER_TOKEN": "sk-x", "CYBERUN_EXPORTER_WEB__TELEMETRY_PATH": "/"}
    assert load(None, given).web.telemetry_path == "/"


def test_warn_is_a_level() -> None:
    """`warn`, the word of the official exporters, means `warning`."""
    given = {"CYBERUN_EXPORTER_TOKEN": "sk-x", "CYBERUN_EXPORTER_LOG__LEVEL": "warn"}
    assert load(None, given).log.level == "warning"


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    """Sources are merged key by key within a section."""
    file = tmp_path / "c.yaml"
    file.write_text(TEAMS + "collect: {interval: 11s, max_agents: 11, stale_after: 11m}\n")
    environ = {"CYBERUN_EXPORTER_COLLECT__INTERVAL": "12s", "CYBERUN_EXPORTER_COLLECT__MAX_AGENTS": "12"}
    collect = load(file, environ, {"collect": {"interval": "13s"}}).collect
    assert (collect.interval, collect.max_agents, collect.stale_after) == (13.0, 12, 660.0)
    assert collect.agent_memory == 3600.0


def test_a_list_of_teams_replaces_the_one_below(tmp_path: Path) -> None:
    """Teams are not merged: they all come from the source with the highest precedence that has any."""
    file = tmp_path / "c.yaml"
    file.write_text(TEAMS)
    environ = {"CYBERUN_EXPORTER_TEAMS": '[{"name": "a", "token_file": "t"}]'}
    teams = load(file, environ).teams
    assert [(team.name, team.token_file) for team in teams] == [("a", Path("t"))]


def test_paths_in_the_file_are_relative_to_its_folder(tmp_path: Path) -> None:
    """Paths from other sources are relative to the working folder; absolute ones are unchanged."""
    file = tmp_path / "c.yaml"
    file.write_text("api: {ca_file: ca.pem}\nteams: [{name: a, token_file: t}, {name: b, token_file: /t}]\n")
    settings = load(file, {})
    assert settings.api.ca_file == tmp_path / "ca.pem"
    assert [team.token_file for team in settings.teams] == [tmp_path / "t", Path("/t")]
    assert load(file, {"CYBERUN_EXPORTER_API__CA_FILE": "b.pem"}).api.ca_file == Path("b.pem")
    file.write_text("log: {level: debug}\n")
    assert load(file, {"CYBERUN_EXPORTER_TOKEN_FILE": "t"}).teams[0].token_file == Path("t")


@pytest.mark.parametrize("text", ["", "# nothing\n", "api:\nteams:\n"])
def test_an_empty_file_or_section_means_the_defaults(tmp_path: Path, text: str) -> None:
    """A section whose keys are all commented out is null in YAML, which is not a mistake."""
    file = tmp_path / "c.yaml"
    file.write_text(text)
    environ = {"CYBERUN_EXPORTER_TOKEN": "sk-1"}
    assert load(file, environ) == load(None, environ)


def test_merge_keys_and_anchors_are_no_repeated_keys(tmp_path: Path) -> None:
    """A key that overrides a merged one appears once in its own mapping."""
    file = tmp_path / "c.yaml"
    file.write_text(
        "teams:\n- &a {name: a, token_env: A, interval: 5s}\n- &b {<<: *a, name: b}\n"
        "- {<<: *b, name: c, interval: 6s}\n"
    )
    assert [(t.name, t.token_env, t.interval) for t in load(file, {}).teams] == [
        ("a", "A", 5.0),
        ("b", "A", 5.0),
        ("c", "A", 6.0),
    ]


def test_the_interval_of_a_team_falls_back_to_the_general_one() -> None:
    """A team without an interval is polled at collect.interval."""
    teams = [{"name": "a", "token_env": "A"}, {"name": "b", "token_env": "B", "interval": "5s"}]
    settings = load(None, {}, {"teams": teams})
    assert [settings.interval_of(team) for team in settings.teams] == [30.0, 5.0]


def test_intervals_shorter_than_the_timeout_are_accepted() -> None:
    """One second is enough, whatever the timeout."""
    settings = load(None, {"CYBERUN_EXPORTER_TOKEN": "sk-1"}, {"collect": {"interval": "1s"}, "api": {"timeout": "1m"}})
    assert settings.collect.interval < settings.api.timeout


def test_settings_are_frozen_and_hold_no_credential() -> None:
    """Settings contain the places of credentials, never the credentials."""
    settings = load(None, {"CYBERUN_EXPORTER_TOKEN": "sk-marker"})
    assert "marker" not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.web.telemetry_path = "/x"  # type: ignore[misc]  # the rule under test


def test_the_error_leads_to_no_value(tmp_path: Path) -> None:
    """Neither the error nor its cause keeps the refused value, because a traceback would print it."""
    file = tmp_path / "c.yaml"
    file.write_text("teams: [{name: a, token: sk-marker}]")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert caught.value.__context__ is None
    assert "marker" not in str(caught.value)
