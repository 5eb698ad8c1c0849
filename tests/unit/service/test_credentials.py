import base64
import json
from pathlib import Path
from typing import Any

import pytest

from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.errors import ConfigError
from exporter.service.credentials import open_credential, open_credentials, origin_key, release, warnings
from exporter.service.shard import Shard
from fixtures import TEAM_ID

ENVIRON = {"SK": "sk-MARKER", "DK": "dk-MARKER", "JWT": "eyJMARKER.x.y"}


def settings(teams: list[dict[str, Any]], discover: list[dict[str, Any]] | None = None) -> Settings:
    return load(None, {}, {"teams": teams, "discover": discover or []})


@pytest.fixture
def refresh_file(tmp_path: Path) -> Path:
    path = tmp_path / "operator"
    path.touch(mode=0o600)
    path.write_text("rt-MARKER\n")
    return path


def test_a_credential_is_opened_once(refresh_file: Path) -> None:
    """Teams and discoveries that name the same credential share it, so it is renewed once."""
    session = {"refresh_token_file": str(refresh_file)}
    one = settings(
        [
            {"name": "a", "team_id": TEAM_ID, **session},
            {"name": "b", "team_id": TEAM_ID, **session},
            {"name": "c", "token_env": "SK"},
        ],
        [session, {"token_env": "DK"}],
    )
    sources = open_credentials(one, ENVIRON, {}, lock=True)
    assert sorted(source.kind for source in sources.values()) == ["device", "integration", "jwt"]
    again = open_credentials(one, ENVIRON, sources, lock=True)
    assert all(again[key] is source for key, source in sources.items())
    release(sources.values())


def test_mistakes_are_told_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each credential that is unusable, or not for its purpose, says where it is; none quotes it."""
    monkeypatch.chdir(tmp_path)
    teams = [
        {"name": "a", "token_env": "JWT"},
        {"name": "b", "token_env": "SK", "agents_path": "/agents"},
        {"name": "c", "token_env": "UNSET"},
        {"name": "d", "token_file": "none"},
    ]
    discover = [{"token_env": "SK"}, {"refresh_token_file": "gone"}]
    Path("c.yaml").write_text(json.dumps({"teams": teams, "discover": discover}))
    with pytest.raises(ConfigError) as caught:
        open_credentials(load(Path("c.yaml"), {}), ENVIRON, {}, lock=True)
    assert caught.value.mistakes == (
        "c.yaml: teams[0].team_id: team a: found none; allowed: the team's id, which a user JWT needs",
        (
            "c.yaml: teams[1].agents_path: team b: found /agents;"
            " allowed: /r/agents, because an sk- key may use only runtime paths"
        ),
        (
            "c.yaml: teams[2].token_env: team c: UNSET: the environment variable is not set;"
            " expected one sk- key, dk- key or user JWT"
        ),
        "c.yaml: teams[3].token_file: team d: none: no such file; expected one sk- key, dk- key or user JWT",
        (
            "c.yaml: discover[0].token_env: discover[0]: found an sk- key;"
            " allowed: a dk- key or a user JWT, because an sk- key cannot list teams"
        ),
        (
            f"c.yaml: discover[1].refresh_token_file: discover[1]: {tmp_path}/gone: no such file;"
            " expected a refresh token in a file that can be replaced when it is rotated"
        ),
    )


def test_a_shard_names_the_same_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a mistake is that in the file, whatever other teams the shard has."""
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(json.dumps({"teams": [{"name": f"team-{n}", "token_env": f"T{n}"} for n in range(9)]}))
    one = load(Path("c.yaml"), {})
    for part in (Shard(number, 2).part(one) for number in range(2)):
        with pytest.raises(ConfigError) as caught:
            open_credentials(part, {}, {}, lock=False)
        places = [f"c.yaml: teams[{team.name[-1]}].token_env: team {team.name}: " for team in part.teams]
        assert [line[: len(place)] for line, place in zip(caught.value.mistakes, places, strict=True)] == places


def test_the_place_of_a_single_team_is_its_variable() -> None:
    """Without a file the variable that names the credential is the place."""
    with pytest.raises(ConfigError) as caught:
        open_credentials(load(None, {"CYBERUN_EXPORTER_TOKEN_FILE": "none"}), {}, {}, lock=False)
    assert caught.value.mistakes[0].startswith("environment variable CYBERUN_EXPORTER_TOKEN_FILE: team default: none: ")


def test_a_mistake_lets_go_of_what_was_opened(refresh_file: Path) -> None:
    """After a mistake, newly opened sessions are released, and earlier ones are kept."""
    session = {"name": "a", "team_id": TEAM_ID, "refresh_token_file": str(refresh_file)}
    broken = {"name": "b", "token_env": "UNSET"}
    for _ in range(2):
        with pytest.raises(ConfigError, match="UNSET") as caught:
            open_credentials(settings([session, broken]), ENVIRON, {}, lock=True)
        assert len(caught.value.mistakes) == 1
    known = open_credentials(settings([session]), ENVIRON, {}, lock=True)
    with pytest.raises(ConfigError):
        open_credentials(settings([session, broken]), ENVIRON, known, lock=True)
    with pytest.raises(ConfigError, match="already in use"):
        open_credential(settings([session]).teams[0], ENVIRON, lock=True)
    release(known.values())
    release(open_credentials(settings([session]), ENVIRON, {}, lock=True).values())


def test_who_only_checks_takes_nothing(refresh_file: Path) -> None:
    """Without the lock two can read a session at once."""
    one = settings([{"name": "a", "team_id": TEAM_ID, "refresh_token_file": str(refresh_file)}])
    for _ in range(2):
        open_credentials(one, ENVIRON, {}, lock=False)
    assert [path.name for path in refresh_file.parent.iterdir()] == ["operator"]


def test_a_shard_opens_its_own_credentials() -> None:
    """The shards together have all teams, each once; every shard has all discoveries."""
    one = settings([{"name": f"team-{n}", "token_env": f"T{n}"} for n in range(20)], [{"token_env": "DK"}])
    parts = [Shard(number, 3).part(one) for number in range(3)]
    names = [{team.name for team in part.teams} for part in parts]
    assert set.union(*names) == {team.name for team in one.teams}
    assert sum(map(len, names)) == 20
    assert all(part.discover == one.discover for part in parts)
    tokens = {f"T{team.name[5:]}": "sk-x" for team in parts[0].teams} | ENVIRON
    assert len(open_credentials(parts[0], tokens, {}, lock=True)) == len(parts[0].teams) + 1


def test_keys_tell_credentials_apart() -> None:
    """A token_file and a refresh_token_file are different credentials, even with the same path."""
    keys = [
        origin_key(settings([{"name": "a", key: "same"}]).teams[0])
        for key in ("token_file", "token_env", "refresh_token_file")
    ]
    assert len(set(keys)) == 3


NOW = 1_800_000_000.0
SESSION = "; configure a session with refresh_token_file"


def jwt(expires: float | None) -> str:
    """A user JWT with this expiry, or without one."""
    claims = {} if expires is None else {"exp": expires}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{payload}.x"


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (jwt(NOW - 1), [f"team a: the JWT has expired{SESSION}"]),
        (jwt(NOW + 3000), [f"team a: the JWT expires in 50m, and nothing renews it{SESSION}"]),
        (jwt(NOW + 86_399), [f"team a: the JWT expires in 1d, and nothing renews it{SESSION}"]),
        (jwt(NOW + 86_401), []),
        (jwt(None), []),
        ("sk-made-up", []),
    ],
)
def test_a_jwt_that_ends_soon_is_told(token: str, told: list[str]) -> None:
    """A JWT that expires within a day, or has expired, causes a warning."""
    one = settings([{"name": "a", "team_id": TEAM_ID, "token_env": "T"}])
    assert list(warnings(one, open_credentials(one, {"T": token}, {}, lock=False), NOW)) == told


def test_the_end_of_a_key_is_told() -> None:
    """For keys, `token_expires` causes the same warning, for teams and for discoveries."""
    ends = "2027-01-15T08:00:00Z"
    one = settings(
        [{"name": "a", "token_env": "SK", "token_expires": ends}, {"name": "b", "token_env": "OTHER"}],
        [{"name": "all", "token_env": "DK", "token_expires": "2027-01-16"}],
    )
    sources = open_credentials(one, ENVIRON | {"OTHER": "sk-OTHER"}, {}, lock=False)
    assert list(warnings(one, sources, NOW)) == [
        "team a: the key has expired, as token_expires says",
        "all: the key expires in 16h, and nothing renews it, as token_expires says",
    ]


def test_teams_that_are_the_same_one_are_told() -> None:
    """One key for two teams causes a warning, even from two variables; one JWT only with the same team_id."""
    teams = [{"name": name, "token_env": variable} for name, variable in (("a", "SK"), ("b", "SAME"), ("c", "OTHER"))]
    teams += [{"name": name, "team_id": team_id, "token_env": "JWT"} for name, team_id in (("d", "1"), ("e", "2"))]
    teams += [{"name": name, "team_id": "3", "token_env": variable} for name, variable in (("f", "JWT"), ("g", "JWT2"))]
    one = settings(teams)
    sources = open_credentials(
        one, ENVIRON | {"SAME": ENVIRON["SK"], "OTHER": "sk-OTHER", "JWT2": "eyJ2.x.y"}, {}, lock=False
    )
    assert list(warnings(one, sources, NOW)) == [
        "teams a, b: they share one key, which reads only one team, so all show the same data",
        "teams f, g: they have the same team_id, so all show the same data",
    ]


def test_a_session_is_not_told_of(refresh_file: Path) -> None:
    """A session causes no such warning, because it renews itself."""
    one = settings([{"name": "a", "team_id": TEAM_ID, "refresh_token_file": str(refresh_file)}])
    assert list(warnings(one, open_credentials(one, ENVIRON, {}, lock=False), NOW)) == []
