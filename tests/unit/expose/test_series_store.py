import gzip
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import catalog
from exporter.catalog import Metric, Scope
from exporter.expose import series_store as module
from exporter.expose.compression import deflate
from exporter.expose.series_store import (
    TEAMS_PER_GROUP,
    CompressedFamilies,
    SeriesStore,
    compress_families,
    concatenate_families,
)
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
def store(now: Now) -> SeriesStore:
    return SeriesStore(now)


def families_of(metric: Metric, *labels: str, value: int = 1) -> CompressedFamilies:
    samples = Samples()
    samples.add(metric, value, *labels)
    return compress_families(samples)


def tasks(team: str, value: int = 1) -> CompressedFamilies:
    return families_of(catalog.TASKS, team, "running", value=value)


def agents(team: str) -> CompressedFamilies:
    return families_of(catalog.AGENTS, team, "idle")


def info(team: str) -> CompressedFamilies:
    return families_of(catalog.TEAM_INFO, team, "", "jwt")


def series(store: SeriesStore, *, openmetrics: bool = False) -> list[str]:
    """The lines of the domain series now."""
    text = gzip.decompress(b"".join(store.exposition(deflate(ABOUT), openmetrics=openmetrics).gzip))
    assert text.startswith(ABOUT)
    return [line for line in text.decode().splitlines() if not line.startswith("#")]


RENDER_TASKS = 'cyberun_tasks{team_name="render",status="running"} 1'
RENDER_AGENTS = 'cyberun_agents{team_name="render",status="idle"} 1'
RENDER_INFO = 'cyberun_team_info{team_name="render",team_id="",credential_kind="jwt"} 1'
FILM_TASKS = 'cyberun_tasks{team_name="film",status="running"} 1'


def test_nothing_yet(store: SeriesStore) -> None:
    """Before the first poll there is what is said about the exporter, and the end mark where the format has one."""
    assert b"".join(store.exposition(deflate(ABOUT), openmetrics=False).text()) == ABOUT
    assert b"".join(store.exposition(deflate(ABOUT), openmetrics=True).text()) == ABOUT + OPENMETRICS_END


def test_family_by_family(store: SeriesStore) -> None:
    """The series of a family, of all teams, are together under one header, in the catalogue's order."""
    store.put("render", Scope.AGENTS, agents("render"), 10.0)
    store.put("render", Scope.TASKS, tasks("render"), 10.0)
    store.put("film", Scope.TASKS, tasks("film"), 10.0)
    text = b"".join(store.exposition(deflate(ABOUT), openmetrics=True).text())
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
def test_withheld_once_stale(store: SeriesStore, now: Now, time: float, *, served: bool, openmetrics: bool) -> None:
    """Data is served until it is stale and not at that moment or later, also when nothing else changes."""
    store.put("render", Scope.TASKS, tasks("render"), 10.0)
    assert series(store, openmetrics=openmetrics) == [RENDER_TASKS]
    now.time = time
    assert series(store, openmetrics=openmetrics) == [RENDER_TASKS] * served
    assert store.series("render") == int(served)


def test_each_scope_ages_alone(store: SeriesStore, now: Now) -> None:
    """A failing list does not affect the data of the other."""
    store.put("render", Scope.TASKS, tasks("render"), 10.0)
    store.put("render", Scope.AGENTS, agents("render"), 20.0)
    store.put("film", Scope.TASKS, tasks("film"), 30.0)
    shown = {}
    for now.time in (5.0, 15.0, 25.0, 35.0):
        shown[now.time] = series(store)
    assert shown == {
        5.0: [RENDER_TASKS, FILM_TASKS, RENDER_AGENTS],
        15.0: [FILM_TASKS, RENDER_AGENTS],
        25.0: [FILM_TASKS],
        35.0: [],
    }


def test_what_is_true_of_the_team_goes_with_its_data(store: SeriesStore, now: Now) -> None:
    """Series about a team as a whole exist while any of its data does, and never alone."""
    store.put("render", Scope.TEAM, info("render"), None)
    assert series(store) == []
    store.put("render", Scope.TASKS, tasks("render"), 10.0)
    store.put("render", Scope.AGENTS, agents("render"), 20.0)
    now.time = 15.0
    assert series(store) == [RENDER_INFO, RENDER_AGENTS]
    assert store.series("render") == 2
    now.time = 20.0
    assert series(store) == []
    assert store.series("render") == 0


def test_newer_data_replaces_older(store: SeriesStore, now: Now) -> None:
    """The latest poll of a list is served, and lasts from then on."""
    store.put("render", Scope.TASKS, tasks("render"), 10.0)
    assert series(store) == [RENDER_TASKS]
    store.put("render", Scope.TASKS, tasks("render", value=7), 20.0)
    now.time = 15.0
    assert series(store) == ['cyberun_tasks{team_name="render",status="running"} 7']


def test_removed_team(store: SeriesStore) -> None:
    """Nothing of a removed team is served, and removing it twice is harmless."""
    store.put("render", Scope.TASKS, tasks("render"), 10.0)
    store.put("film", Scope.TASKS, tasks("film"), 10.0)
    assert len(series(store)) == 2
    store.remove("render")
    store.remove("render")
    assert series(store) == [FILM_TASKS]
    assert store.series("render") == 0


def test_team_alone(store: SeriesStore, now: Now) -> None:
    """One team's exposition holds its series and no other's, and obeys the same freshness."""
    store.put("render", Scope.TASKS, tasks("render"), 10.0)
    store.put("film", Scope.TASKS, tasks("film"), 10.0)

    def alone(team: str) -> str:
        return b"".join(store.team_exposition(deflate(ABOUT), team, openmetrics=True).text()).decode()

    assert FILM_TASKS in alone("film")
    assert "render" not in alone("film")
    assert alone("nobody") == "# about\n# EOF\n"
    now.time = 10.0
    assert alone("film") == "# about\n# EOF\n"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often texts were compressed and concatenated since."""
    calls: Counter[str] = Counter()

    def count(name: str) -> None:
        real = getattr(module, name)

        def counted(*args: object) -> object:
            calls[name] += 1
            return real(*args)

        monkeypatch.setattr(module, name, counted)

    count("deflate")
    count("concatenate")
    count("inflate")
    return calls


def test_nothing_is_made_again_at_the_next_scrape(store: SeriesStore, now: Now, calls: Counter[str]) -> None:
    """A scrape compresses nothing, even if something became stale, and reuses what was concatenated."""
    store.put("render", Scope.TASKS, tasks("render"), 10.0)
    store.put("film", Scope.TASKS, tasks("film"), 20.0)
    for openmetrics in (False, True):
        series(store, openmetrics=openmetrics)
    calls.clear()
    for now.time in (1.0, 5.0, 9.0):
        for openmetrics in (False, True):
            assert len(series(store, openmetrics=openmetrics)) == 2
    assert calls == {}
    now.time = 10.0
    assert [series(store), series(store)] == [[FILM_TASKS]] * 2
    assert calls == {"concatenate": 1}


def many(store: SeriesStore, count: int, *, fresh_until: float = 10.0) -> None:
    for number in range(count):
        store.put(f"t{number}", Scope.TASKS, tasks(f"t{number}"), fresh_until)


def test_small_teams_are_compressed_together(store: SeriesStore) -> None:
    """A hundred small teams take a fraction of the space of their separately compressed texts."""
    many(store, 100)
    exposition = store.exposition(deflate(ABOUT), openmetrics=False)
    alone = sum(len(tasks(f"t{number}").texts[catalog.TASKS.name]) for number in range(100))
    assert len(series(store)) == 100
    assert sum(map(len, exposition.gzip)) < alone / 3


def test_a_poll_compresses_few_other_teams_texts(store: SeriesStore, calls: Counter[str]) -> None:
    """A poll recompresses at most the team's group, however many teams there are."""
    many(store, 3 * TEAMS_PER_GROUP)
    calls.clear()
    store.put("t5", Scope.TASKS, tasks("t5", value=7), 10.0)
    assert calls["inflate"] == TEAMS_PER_GROUP


def test_a_poll_compresses_its_own_group_alone(store: SeriesStore, calls: Counter[str]) -> None:
    """The cost of a poll does not grow with the number of teams, and an unchanged family costs nothing."""
    many(store, 3 * TEAMS_PER_GROUP)
    store.put("t5", Scope.AGENTS, agents("t5"), 10.0)
    polled = [tasks("t5", value=7), tasks("t5", value=7)]
    calls.clear()
    store.put("t5", Scope.TASKS, polled[0], 10.0)
    assert calls["deflate"] == 1
    store.put("t5", Scope.TASKS, polled[1], 20.0)
    assert calls["deflate"] == 1


def test_large_texts_stay_as_they_are(store: SeriesStore, calls: Counter[str]) -> None:
    """A large team and the small ones of its group do not recompress each other's texts."""
    many(store, 3)
    samples = Samples()
    for number in range(1000):
        samples.add(catalog.TASKS, number, "large", f"s{number}")
    large, after = compress_families(samples), tasks("after")
    calls.clear()
    store.put("large", Scope.TASKS, large, 10.0)
    store.put("after", Scope.TASKS, after, 10.0)
    assert calls["deflate"] == 2  # the three before it, each time
    found = series(store)
    assert (len(found), len(set(found))) == (1004, 1004)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from([Scope.TASKS, Scope.AGENTS]), st.integers(0, 9)),
        max_size=40,
    )
)
def test_groups_show_what_was_put(steps: list[tuple[str, Scope, int]]) -> None:
    """Whatever is added, ages and is removed, exactly the fresh data is served, once. A value of 0 means removal."""
    now = Now()
    store = SeriesStore(now)
    expected: dict[tuple[str, Scope], tuple[int, float]] = {}
    metrics = {Scope.TASKS: (catalog.TASKS, "running"), Scope.AGENTS: (catalog.AGENTS, "idle")}
    for now.time, (team, scope, value) in enumerate(steps):
        metric, status = metrics[scope]
        if value:
            store.put(team, scope, families_of(metric, team, status, value=value), now.time + value)
            expected[team, scope] = value, now.time + value
        else:
            store.remove(team)
            expected = {key: known for key, known in expected.items() if key[0] != team}
        lines = {
            f'{metrics[scope][0].name}{{team_name="{team}",status="{metrics[scope][1]}"}} {value}'
            for (team, scope), (value, until) in expected.items()
            if now.time < until
        }
        found = series(store)
        assert (set(found), len(found)) == (lines, len(lines))


def test_compressed_families_count_their_series() -> None:
    """Compressed families know their number of series; each line of a histogram is one."""
    samples = Samples()
    samples.add(catalog.TASKS, 1, "render", "running")
    samples.add_histogram(catalog.TASK_WAIT, [0] * 15, 0.0, "render")
    made = compress_families(samples)
    assert made.series == 1 + 17
    assert set(made.texts) == {catalog.TASKS.name, catalog.TASK_WAIT.name}


def test_parts_of_one_poll_are_one(store: SeriesStore) -> None:
    """Texts compressed page by page decompress to the same as one compressed at once, family by family."""
    parts = [agents("render"), families_of(catalog.AGENTS, "render", "busy"), info("render")]
    store.put("render", Scope.AGENTS, concatenate_families(parts), 10.0)
    assert concatenate_families(parts).series == 3
    assert [line.partition("{")[0] for line in series(store)] == ["cyberun_team_info", *["cyberun_agents"] * 2]
