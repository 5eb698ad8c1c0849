import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from exporter.catalog import Operation
from exporter.errors import Forbidden, RateLimited, ServerFailed
from exporter.service.discovery import INTERVAL, MIN_PAUSE, RETRY, Discovery, Findings, FoundTeam
from fixtures.fakes import FakeClient

ME = "/users/me"


def discovery(client: FakeClient, name: str = "discover[0]", findings: Findings | None = None) -> Discovery:
    return Discovery(
        name,
        client=client.asking("jwt"),
        findings=findings or Findings(),
        counters=client.counters,
        clock=client.clock.clock.monotonic,
        random=lambda: 0.5,
    )


@pytest.fixture
def client() -> FakeClient:
    """A platform where the credential sees two teams."""
    teams = [{"id": "b", "display_name": "Film"}, {"id": "a", "display_name": "Render", "quotas": {"gpus": 4}}]
    return FakeClient("discover[0]", me={"id": "u", "team_list": teams})


async def test_teams_are_found(client: FakeClient) -> None:
    """Teams are found with id and name, sorted by id whatever the order of the list."""
    one = discovery(client)
    assert (one.findings.teams, one.findings.attempted, one.findings.failure) == ((), False, None)
    await one.look()
    assert one.findings.teams == (FoundTeam("a", "Render"), FoundTeam("b", "Film"))
    assert (one.findings.attempted, one.findings.failure, client.asked(ME)) == (True, None, 1)


async def test_our_own_mistake_leaves_the_teams_as_they_were(
    client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """An unforeseen error fails only this attempt: it is counted, logged with its traceback, and tried again."""

    def stumble(path: str, _: object) -> None:
        assert path == ME
        raise ZeroDivisionError

    one = discovery(client)
    await one.look()
    teams, client.before = one.findings.teams, stumble
    await one.look()
    assert one.findings.teams == teams
    assert isinstance(one.findings.failure, ZeroDivisionError)
    assert one.findings.failure.__traceback__ is None
    assert client.counters.internal_errors[Operation.DISCOVERY] == 1
    [record] = caplog.records
    assert record.exc_info
    client.clock.advance(MIN_PAUSE)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        raise asyncio.CancelledError

    async def tell() -> None:
        return None

    with pytest.raises(asyncio.CancelledError):
        await one.keep_looking(tell, sleep)
    assert pauses == [RETRY]


@pytest.mark.parametrize(
    ("team_list", "found"),
    [
        ([], []),
        ([None, 7, "x", {}, {"id": None}, {"id": ""}, {"id": 5, "display_name": "Five"}, {"id": "a"}], ["a"]),
        ([{"id": "a"}, {"id": "b", "display_name": None}, {"id": "c", "display_name": " \u00a0"}], ["a", "b", "c"]),
        ([{"id": "a", "display_name": "A"}, {"id": "a", "display_name": "Again"}], ["Again"]),
        ([{"id": "a", "display_name": {"deep": []}}, {"id": "b", "display_name": "B"}], ["a", "B"]),
    ],
)
async def test_odd_items(client: FakeClient, team_list: Sequence[Any], found: Sequence[str]) -> None:
    """Items without an id are ignored, a missing name is replaced by the id, and each id counts once."""
    client.me = {"team_list": team_list}
    one = discovery(client)
    await one.look()
    assert ([team.name for team in one.findings.teams], one.findings.failure) == (found, None)


@pytest.mark.parametrize(
    "me",
    [
        {},
        {"team_list": None},
        {"team_list": "x"},
        {"team_list": {}},
        [],
        None,
        {"team_list": []},
        {"team_list": [{"display_name": "Render"}, {"display_name": "Film"}]},
        {"team_list": [{"team_id": "a"}, {"team_id": "b"}]},
        {"team_list": [{"id": 1}, {"id": 2}]},
    ],
)
async def test_an_answer_without_teams_is_no_end_of_all_teams(client: FakeClient, me: Any) -> None:
    """Missing, renamed or numeric ids, and a list that is suddenly empty, remove no team and count as `schema`."""
    one = discovery(client)
    client.counters.start("discover[0]", (ME,))
    await one.look()
    client.me = me
    await one.look()
    assert [team.name for team in one.findings.teams] == ["Render", "Film"]
    assert one.findings.failure is not None
    assert client.counters.failures["discover[0]", ME, "schema"] == 1


async def test_a_list_without_an_end_is_refused(client: FakeClient) -> None:
    """A thousand teams are accepted, more are refused."""
    one = discovery(client)
    client.me = {"team_list": [{"id": f"{number}"} for number in range(1000)]}
    await one.look()
    assert len(one.findings.teams) == 1000
    client.me["team_list"].append({"id": "more"})
    await one.look()
    assert (len(one.findings.teams), one.findings.failure is None) == (1000, False)


async def test_a_failed_look_keeps_the_teams(client: FakeClient, caplog: pytest.LogCaptureFixture) -> None:
    """The last known teams are kept through failures, until an attempt succeeds."""
    one = discovery(client)
    await one.look()
    client.failures[ME] = Forbidden("GET /users/me: 403")
    await one.look()
    assert (len(one.findings.teams), str(one.findings.failure)) == (2, "GET /users/me: 403")
    assert [record.getMessage() for record in caplog.records] == ["teams not discovered"]
    client.failures.clear()
    client.me = {"team_list": [{"id": "a"}]}
    await one.look()
    assert (len(one.findings.teams), one.findings.failure) == (1, None)


async def test_a_first_look_that_fails_was_a_try(client: FakeClient) -> None:
    """A failed attempt counts as an attempt."""
    client.failures[ME] = ServerFailed("GET /users/me: 503")
    one = discovery(client)
    await one.look()
    assert (one.findings.attempted, one.findings.teams) == (True, ())


class Sleeper:
    """Advances the fake clock. Mutable: it records the pauses, and ends the task after a number of them."""

    def __init__(self, client: FakeClient, times: int) -> None:
        self.client, self.times = client, times
        self.slept: list[float] = []
        self.told = 0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.client.clock.advance(seconds)
        if len(self.slept) == self.times:
            raise asyncio.CancelledError

    async def tell(self) -> None:
        self.told += 1


async def _keep(client: FakeClient, times: int) -> Sleeper:
    sleeper = Sleeper(client, times)
    with pytest.raises(asyncio.CancelledError):
        await discovery(client).keep_looking(sleeper.tell, sleeper.sleep)
    assert sleeper.told == times
    return sleeper


async def test_looks_come_at_their_interval(client: FakeClient) -> None:
    """Teams are requested every five minutes, and each attempt is reported."""
    assert (await _keep(client, 3)).slept == [INTERVAL] * 3


async def test_failed_looks_come_sooner_and_then_rarer(client: FakeClient) -> None:
    """After a failure it is tried again soon; if it keeps failing, at most every five minutes."""
    client.failures[ME] = ServerFailed("GET /users/me: 503")
    assert (await _keep(client, 7)).slept == [RETRY, RETRY, 45.0, 90.0, 180.0, 225.0, 225.0]


async def test_a_wait_that_the_platform_asks_for_is_kept(client: FakeClient) -> None:
    """Retry-After applies to discoveries too."""
    client.failures[ME] = RateLimited("GET /users/me: 429", retry_after=700.0)
    assert (await _keep(client, 2)).slept == [700.0, 700.0]


@pytest.mark.parametrize(("retry_after", "pause"), [(None, MIN_PAUSE), (700.0, 700.0)])
async def test_reloads_do_not_multiply_requests(client: FakeClient, retry_after: float | None, pause: float) -> None:
    """What a reload takes over also says when the platform may be asked again; then the interval counts."""
    client.failures[ME] = RateLimited("GET /users/me: 429", retry_after=retry_after)
    before = discovery(client)
    await before.look()
    client.failures.clear()
    sleeper = Sleeper(client, 2)
    with pytest.raises(asyncio.CancelledError):
        await discovery(client, findings=before.findings).keep_looking(sleeper.tell, sleeper.sleep)
    assert (sleeper.slept, sleeper.told) == ([pause, INTERVAL], 1)


async def test_an_attempt_that_a_reload_ends_counts(client: FakeClient) -> None:
    """A request under way was sent, so the next one waits as after any other."""

    def end(*_: object) -> None:
        raise asyncio.CancelledError

    client.before = end
    one = discovery(client)
    with pytest.raises(asyncio.CancelledError):
        await one.look()
    sleeper = Sleeper(client, 1)
    with pytest.raises(asyncio.CancelledError):
        await discovery(client, findings=one.findings).keep_looking(sleeper.tell, sleeper.sleep)
    assert (sleeper.slept, one.findings.attempted) == ([MIN_PAUSE], False)
