import gzip
from dataclasses import dataclass

import pytest

from exporter import catalog
from exporter.catalog import Metric, Scope
from exporter.expose import payload as module
from exporter.expose.payload import Batch, Payload, batch, joined
from exporter.expose.text import OPENMETRICS_END, Samples, header

ABOUT = b"# about\n"


@dataclass(slots=True)
class Now:
    """Mutable: a clock that a test sets."""

    time: float = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def payload(now: Now) -> Payload:
    return Payload(now)


def batch_of(metric: Metric, *labels: str, value: int = 1) -> Batch:
    samples = Samples()
    samples.add(metric, value, *labels)
    return batch(samples)


def tasks(team: str, value: int = 1) -> Batch:
    return batch_of(catalog.TASKS, team, "running", value=value)


def agents(team: str) -> Batch:
    return batch_of(catalog.AGENTS, team, "idle")


def info(team: str) -> Batch:
    return batch_of(catalog.TEAM_INFO, team, "", "jwt")


def series(payload: Payload, *, openmetrics: bool = False) -> list[str]:
    """The lines of the domain series now."""
    text = gzip.decompress(b"".join(payload.answer(ABOUT, openmetrics=openmetrics).gzip))
    assert text.startswith(ABOUT)
    return [line for line in text.decode().splitlines() if not line.startswith("#")]


RENDER_TASKS = 'cyberun_tasks{team_name="render",status="running"} 1'
RENDER_AGENTS = 'cyberun_agents{team_name="render",status="idle"} 1'
RENDER_INFO = 'cyberun_team_info{team_name="render",team_id="",credential_kind="jwt"} 1'
FILM_TASKS = 'cyberun_tasks{team_name="film",status="running"} 1'


def test_nothing_yet(payload: Payload) -> None:
    """Before the first poll there is what is said about the exporter, and the end mark where the format has one."""
    assert b"".join(payload.answer(ABOUT, openmetrics=False).text()) == ABOUT
    assert b"".join(payload.answer(ABOUT, openmetrics=True).text()) == ABOUT + OPENMETRICS_END


def test_family_by_family(payload: Payload) -> None:
    """All teams' series of a family stand together under one header, in the catalogue's order."""
    payload.put("render", Scope.AGENTS, agents("render"), 10.0)
    payload.put("render", Scope.TASKS, tasks("render"), 10.0)
    payload.put("film", Scope.TASKS, tasks("film"), 10.0)
    text = b"".join(payload.answer(ABOUT, openmetrics=True).text())
    assert text.decode() == "".join(
        (
            ABOUT.decode(),
            header(catalog.TASKS, openmetrics=True).decode(),
            RENDER_TASKS + "\n",
            FILM_TASKS + "\n",
            header(catalog.AGENTS, openmetrics=True).decode(),
            RENDER_AGENTS + "\n",
            "# EOF\n",
        )
    )


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize(("time", "served"), [(9.999, True), (10.0, False), (10.001, False)])
def test_withheld_once_stale(payload: Payload, now: Now, time: float, *, served: bool, openmetrics: bool) -> None:
    """Data is served until it is stale and not at that moment or later, also when nothing else changes."""
    payload.put("render", Scope.TASKS, tasks("render"), 10.0)
    assert series(payload, openmetrics=openmetrics) == [RENDER_TASKS]
    now.time = time
    assert series(payload, openmetrics=openmetrics) == [RENDER_TASKS] * served
    assert payload.series("render") == int(served)


def test_each_scope_ages_alone(payload: Payload, now: Now) -> None:
    """A list that fails takes nothing of the other list with it."""
    payload.put("render", Scope.TASKS, tasks("render"), 10.0)
    payload.put("render", Scope.AGENTS, agents("render"), 20.0)
    payload.put("film", Scope.TASKS, tasks("film"), 30.0)
    shown = {}
    for now.time in (5.0, 15.0, 25.0, 35.0):
        shown[now.time] = series(payload)
    assert shown == {
        5.0: [RENDER_TASKS, FILM_TASKS, RENDER_AGENTS],
        15.0: [FILM_TASKS, RENDER_AGENTS],
        25.0: [FILM_TASKS],
        35.0: [],
    }


def test_what_is_true_of_the_team_goes_with_its_data(payload: Payload, now: Now) -> None:
    """Series about the team as a whole are there while any of its data is, and never alone."""
    payload.put("render", Scope.TEAM, info("render"), None)
    assert series(payload) == []
    payload.put("render", Scope.TASKS, tasks("render"), 10.0)
    payload.put("render", Scope.AGENTS, agents("render"), 20.0)
    now.time = 15.0
    assert series(payload) == [RENDER_INFO, RENDER_AGENTS]
    assert payload.series("render") == 2
    now.time = 20.0
    assert series(payload) == []
    assert payload.series("render") == 0


def test_newer_data_replaces_older(payload: Payload, now: Now) -> None:
    """The latest poll of a list is served, and lasts from then on."""
    payload.put("render", Scope.TASKS, tasks("render"), 10.0)
    assert series(payload) == [RENDER_TASKS]
    payload.put("render", Scope.TASKS, tasks("render", value=7), 20.0)
    now.time = 15.0
    assert series(payload) == ['cyberun_tasks{team_name="render",status="running"} 7']


def test_removed_team(payload: Payload) -> None:
    """Nothing of a team that was removed is served, and removing it twice does no harm."""
    payload.put("render", Scope.TASKS, tasks("render"), 10.0)
    payload.put("film", Scope.TASKS, tasks("film"), 10.0)
    assert len(series(payload)) == 2
    payload.remove("render")
    payload.remove("render")
    assert series(payload) == [FILM_TASKS]
    assert payload.series("render") == 0


def test_team_alone(payload: Payload, now: Now) -> None:
    """One team's exposition holds its series and no other's, and obeys the same freshness."""
    payload.put("render", Scope.TASKS, tasks("render"), 10.0)
    payload.put("film", Scope.TASKS, tasks("film"), 10.0)

    def alone(team: str) -> str:
        return b"".join(payload.team_answer(ABOUT, team, openmetrics=True).text()).decode()

    assert FILM_TASKS in alone("film")
    assert "render" not in alone("film")
    assert alone("nobody") == "# about\n# EOF\n"
    now.time = 10.0
    assert alone("film") == "# about\n# EOF\n"


def test_nothing_is_made_again_at_the_next_scrape(payload: Payload, now: Now, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape compresses what is said about the exporter; the teams' bytes are joined once and used again."""
    payload.put("render", Scope.TASKS, tasks("render"), 10.0)
    payload.put("film", Scope.TASKS, tasks("film"), 20.0)
    calls: dict[str, int] = {"deflate": 0, "splice": 0}

    def counting(name: str) -> None:
        real = getattr(module, name)

        def counted(*args: object) -> object:
            calls[name] += 1
            return real(*args)

        monkeypatch.setattr(module, name, counted)

    for openmetrics in (False, True):
        series(payload, openmetrics=openmetrics)
    counting("deflate")
    counting("splice")
    for now.time in (1.0, 5.0, 9.0):
        for openmetrics in (False, True):
            assert len(series(payload, openmetrics=openmetrics)) == 2
    assert calls == {"deflate": 6, "splice": 0}
    now.time = 10.0
    assert [series(payload), series(payload)] == [[FILM_TASKS]] * 2
    assert calls == {"deflate": 8, "splice": 1}


def test_batch_counts_its_series() -> None:
    """A batch knows how many series it holds, histograms by their lines."""
    samples = Samples()
    samples.add(catalog.TASKS, 1, "render", "running")
    samples.add_histogram(catalog.TASK_WAIT, [0] * 15, 0.0, "render")
    made = batch(samples)
    assert made.series == 1 + 17
    assert set(made.pieces) == {catalog.TASKS, catalog.TASK_WAIT}


def test_parts_of_one_poll_are_one_batch(payload: Payload) -> None:
    """What was compressed page by page reads like what is compressed at once, family by family."""
    parts = [agents("render"), batch_of(catalog.AGENTS, "render", "busy"), info("render")]
    payload.put("render", Scope.AGENTS, joined(parts), 10.0)
    assert joined(parts).series == 3
    assert [line.partition("{")[0] for line in series(payload)] == ["cyberun_team_info", *["cyberun_agents"] * 2]
