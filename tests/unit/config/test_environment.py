from pathlib import Path
from typing import Any

import pytest

from exporter.config.address import ListenAddress
from exporter.config.environment import key_paths
from exporter.config.load import load
from exporter.config.variables import variable
from exporter.errors import ConfigError

TOKEN = {"CYBERUN_EXPORTER_TOKEN": "sk-1"}
P = "environment variable CYBERUN_EXPORTER_"

VALUES: dict[str, tuple[str, Any]] = {
    "api.base_url": ("http://h/", "http://h"),
    "api.ca_file": ("ca.pem", "ca.pem"),
    "api.timeout": ("5s", 5.0),
    "api.max_requests_per_second": ("0.5", 0.5),
    "api.max_concurrency": ("3", 3),
    "api.max_response_bytes": ("2048", 2048),
    "api.max_pages": ("7", 7),
    "collect.interval": ("7s", 7.0),
    "collect.stale_after": ("7m", 420.0),
    "collect.agent_memory": ("7h", 25_200.0),
    "collect.max_agents": ("9", 9),
    "collect.agent_labels": ("true", True),
    "web.listen_address": ("[::1]:1, :2", (ListenAddress("::1", 1), ListenAddress(None, 2))),
    "collect.workflows": ("7", 7),
    "web.telemetry_path": ("/m", "/m"),
    "web.config_file": ("web.yml", "web.yml"),
    "web.enable_lifecycle": ("false", False),
    "log.level": ("error", "error"),
    "log.format": ("json", "json"),
}


@pytest.mark.parametrize(("key", "text", "value"), [(key, *pair) for key, pair in VALUES.items()])
def test_each_key_is_read_from_its_variable(key: str, text: str, value: object) -> None:
    """The variable of section.key is CYBERUN_EXPORTER_SECTION__KEY."""
    section, name = key.split(".")
    settings = load(None, TOKEN | {f"CYBERUN_EXPORTER_{section}__{name}".upper(): text})
    read = getattr(getattr(settings, section), name)
    assert (read if isinstance(read, type(value)) else str(read)) == value


def test_every_key_is_tried_above() -> None:
    """A new key joins the table."""
    assert {".".join(map(str, loc)) for loc in key_paths()} == {*VALUES, "teams", "discover"}
    assert variable(("teams", 0, "name")) == "CYBERUN_EXPORTER_TEAMS"


def test_the_process_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the given mapping is read, not the process' environment."""
    monkeypatch.setenv("CYBERUN_EXPORTER_API__MAX_PAGES", "5")
    monkeypatch.setenv("CYBERUN_EXPORTER_NONSENSE", "5")
    assert load(None, TOKEN).api.max_pages == 1000


@pytest.mark.parametrize("text", ['[{"name": "a", "token_env": "A"}]', "- name: a\n  token_env: A\n"])
def test_teams_come_as_json_or_yaml(text: str) -> None:
    """One variable holds the whole list."""
    assert [team.name for team in load(None, {"CYBERUN_EXPORTER_TEAMS": text}).teams] == ["a"]


def test_one_team_from_a_token_variable() -> None:
    """The team refers to the variable; the token itself is not copied."""
    (team,) = load(None, TOKEN).teams
    assert (team.name, team.token_env, team.token_file, team.team_id) == (
        "default",
        "CYBERUN_EXPORTER_TOKEN",
        None,
        None,
    )


def test_one_team_from_a_token_file() -> None:
    """Name and id are optional."""
    identity = "019abc12-4567-7890-abcd-ef1234567891"
    environ = {"TOKEN_FILE": "/run/token", "TEAM_NAME": "render", "TEAM_ID": identity}
    (team,) = load(None, {f"CYBERUN_EXPORTER_{name}": value for name, value in environ.items()}).teams
    assert (team.name, str(team.token_file), team.token_env, team.team_id) == ("render", "/run/token", None, identity)


def test_a_configured_team_may_use_the_token_variable() -> None:
    """A variable that a team names as its token_env does not conflict with that team."""
    teams = [{"name": "a", "token_env": "CYBERUN_EXPORTER_TOKEN"}]
    assert load(None, TOKEN, {"teams": teams}).teams[0].name == "a"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "10042"),
        ("SERVICE_PORT_HTTP_METRICS", "10042"),
        ("PORT", "tcp://10.0.0.1:10042"),
        ("PORT_10042_TCP", "tcp://10.0.0.1:10042"),
        ("PORT_10042_TCP_PROTO", "tcp"),
        ("PORT_10042_TCP_PORT", "10042"),
        ("PORT_10042_TCP_ADDR", "10.0.0.1"),
        ("HEADLESS_SERVICE_HOST", "10.0.0.1"),
        ("HEADLESS_PORT", "tcp://10.0.0.1:10042"),
        ("REVISION", "abc"),
        ("NONSENSE", ""),
    ],
)
def test_variables_of_kubernetes_and_empty_ones_are_passed_over(name: str, value: str) -> None:
    """Kubernetes describes each Service to every pod in variables that start with the Service's name."""
    assert load(None, TOKEN | {f"CYBERUN_EXPORTER_{name}": value}) == load(None, TOKEN)


@pytest.mark.parametrize(
    ("environ", "mistake"),
    [
        ({"PORT": "9000"}, f"{P}PORT: unknown variable; allowed: "),
        ({"API_TIMEOUT": "1s"}, f"{P}API_TIMEOUT: unknown variable; allowed: CYBERUN_EXPORTER_API__TIMEOUT"),
        ({"API": "{}"}, f"{P}API: unknown variable; allowed: "),
        ({"WEB__PORT": "tcp://10.0.0.1:1"}, f"{P}WEB__PORT: unknown variable; allowed: "),
        ({"web__port": "1"}, f"{P}web__port: unknown variable; allowed: "),
        ({"API__TIMEOUT": "5"}, f'{P}API__TIMEOUT: found "5"; allowed: a duration such as 30s, 2m or 1h30m, '),
        ({"TEAM_NAME": "a\nb"}, f'{P}TEAM_NAME: found "a\\nb"; allowed: text of 1 to 100 printable characters'),
        (
            {"TEAM_ID": "a b"},
            f'{P}TEAM_ID: found "a b"; allowed: the team\'s id as the platform writes it: 1 to ',
        ),
        ({"TOKEN_FILE": "t"}, f"{P}TOKEN: found CYBERUN_EXPORTER_TOKEN_FILE as well; allowed: one of the two"),
        (
            {"TEAMS": "[{name: a, token_env: A}]"},
            f"{P}TOKEN: found a value although teams are configured; allowed: one of",
        ),
        ({"TEAMS": "{"}, f"{P}TEAMS: line 1, column 2: found malformed YAML ("),
        ({"WEB__CONFIG_FILE": " "}, f'{P}WEB__CONFIG_FILE: found " "; allowed: the path of a file, not a credential'),
        (
            {"DISCOVER": "[{token_env: A}]"},
            f"{P}TOKEN: found a value although teams are configured; allowed: one of the two",
        ),
        (
            {"DISCOVER": "[{token_env: CYBERUN_EXPORTER_TOKEN, include: ['(']}]"},
            f'{P}DISCOVER: discover[0].include[0]: found "("; allowed: a regular expression such as render-.*',
        ),
    ],
)
def test_mistakes_name_the_variable(environ: dict[str, str], mistake: str) -> None:
    """A mistake from the environment says which variable to change."""
    with pytest.raises(ConfigError) as caught:
        load(None, TOKEN | {f"CYBERUN_EXPORTER_{name}": value for name, value in environ.items()})
    (line,) = caught.value.mistakes
    assert line.startswith(mistake)


def test_a_credential_to_discover_teams_with_may_have_any_variable() -> None:
    """The variable of a single team's credential may be used by discoveries, with and without teams."""
    discover = {"CYBERUN_EXPORTER_DISCOVER": "[{token_env: CYBERUN_EXPORTER_TOKEN}]"}
    alone = load(None, TOKEN | discover)
    assert (alone.teams, [one.token_env for one in alone.discover]) == ((), ["CYBERUN_EXPORTER_TOKEN"])
    beside = load(None, TOKEN | discover | {"CYBERUN_EXPORTER_TEAMS": "[{name: a, token_env: A}]"})
    assert (len(beside.teams), len(beside.discover)) == (1, 1)


def test_a_team_in_a_variable_is_named_by_its_place() -> None:
    """Inside a list the key path follows the variable."""
    with pytest.raises(ConfigError) as caught:
        load(None, {"CYBERUN_EXPORTER_TEAMS": "[{name: a, token_env: A}, {name: a, token_env: B}]"})
    assert caught.value.mistakes == (
        f"{P}TEAMS: teams[1].name: found the name of teams[0] again; allowed: a unique name",
    )


def test_without_a_team_the_mistake_says_what_to_set() -> None:
    """A configuration without teams is a mistake, and the message says how to configure one."""
    with pytest.raises(ConfigError) as caught:
        load(None, {"CYBERUN_EXPORTER_TEAM_NAME": "a"})
    assert caught.value.mistakes == (
        (
            "configuration: teams: found none; allowed: at least one, in a file given as --config.file, or "
            "CYBERUN_EXPORTER_TOKEN_FILE or CYBERUN_EXPORTER_TOKEN in the environment; "
            "`cyberun-exporter demo` shows a simulated fleet"
        ),
    )


@pytest.mark.parametrize("found", ["null", "{a: 1}", "{}", "'render'"])
def test_teams_that_are_no_list_are_one_mistake(found: str, tmp_path: Path) -> None:
    """Whatever stands in place of the list, the mistake has one line."""
    file = tmp_path / "c.yaml"
    file.write_text(f"teams: {found}")
    with pytest.raises(ConfigError, match=r"^\S+: teams: found \S.*; allowed: a list; each item: [^;]*$") as caught:
        load(file, {})
    assert len(caught.value.mistakes) == 1
