"""What the simulated platform sends and does is marked as documented or inferred, and the page says the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from exporter.demo import ASSUMPTIONS, SimulatedPlatform, demo_platform
from exporter.demo.machines import READY
from exporter.demo.sources import FIELDS, RULES, STATUSES, Source
from exporter.demo.wire import PROVISIONING
from exporter.demo.wire import STATUSES as FILTERS

if TYPE_CHECKING:
    from unit.demo.conftest import Asker, Clock

pytestmark = pytest.mark.loopback

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures"
CHOSEN = {"quotas", "teams"}
"""Their keys are names and ids that the platform chooses."""


def names(value: Any, chosen: bool = False) -> Iterator[str]:  # noqa: FBT001, FBT002  it calls itself alone
    """The fields of a JSON value, those inside of others after a dot."""
    for item in value if isinstance(value, list) else [value]:
        for key, inner in item.items() if isinstance(item, dict) else ():
            below = list(names(inner, key in CHOSEN))
            yield from (f"{'*' if chosen else key}{end}" for end in ([f".{name}" for name in below] or [""]))


def known(thing: str, *sources: Source) -> set[str]:
    return {name for source in sources or Source for name in FIELDS[source].get(thing, ())}


@pytest.mark.parametrize(
    ("file", "name", "thing"), [("tasks.json", "task_list", "a task"), ("agents.json", "agent_list", "an agent")]
)
def test_the_samples_are_what_is_documented(file: str, name: str, thing: str) -> None:
    """The documented bodies have the documented fields, every one; the name of a task's status alone is inferred."""
    body = json.loads((FIXTURES / file).read_text(encoding="utf-8"))
    assert set(names(body[name])) - {"task_status"} == known(thing, Source.DOCUMENTED)
    assert set(names(body["page_meta"])) == known("`page_meta`")


def test_the_sample_of_an_account_is_what_is_documented() -> None:
    """The documented account has the documented fields; what is inside of a team's flags is inferred."""
    body = json.loads((FIXTURES / "me.json").read_text(encoding="utf-8"))
    documented = known("`/users/me`", Source.DOCUMENTED) - {"feature_flags.teams.*"}
    assert documented <= set(names(body)) <= known("`/users/me`")


async def test_nothing_else_is_sent(ask: "Asker", platform: SimulatedPlatform, clock: "Clock") -> None:
    """Every field of every answer is a marked one, through half an hour of a living fleet."""
    living = demo_platform(agents=18, clock=clock)
    clock.now += 1800
    assert living.life
    living.life.advance(clock.now)
    agents = [agent for team in living.teams.values() for agent in team.agents().cut(0, 100)]
    tasks = [task for team in living.teams.values() for task in team.tasks().cut(0, 10_000)]
    assert set(names(agents)) <= known("an agent")
    assert set(names(tasks)) <= known("a task")
    assert {task["task_status"] for task in tasks} <= set(STATUSES[Source.DOCUMENTED]["a task"])
    assert {agent["agent_status"] for agent in agents} <= set(STATUSES[Source.DOCUMENTED]["an agent"])
    platform.teams["render"].add_task(status="completed")
    platform.teams["render"].add_agent("gpu-1")
    for path, name, thing in (("/r/tasks", "task_list", "a task"), ("/r/agents", "agent_list", "an agent")):
        body = (await ask(path, "sk-render")).json
        assert body.keys() == {name, "page_meta"}
        assert set(names(body[name])) <= known(thing)
        assert set(names(body["page_meta"])) == known("`page_meta`")
    assert set(names((await ask("/users/me", "dk-research")).json)) <= known("`/users/me`")
    refreshed = await ask.refresh({"refresh_token": platform.teams["batch"].refresh_token})
    assert set(names(refreshed.json)) == known("`/auth/refresh`")
    assert set(names((await ask("/nothing", "sk-render")).json)) == known("an error")


def test_every_status_is_marked() -> None:
    """The filter's statuses, provisioning, and what machines can be are marked, and there are no others."""
    assert set(STATUSES[Source.DOCUMENTED]["a task"]) == {*FILTERS, PROVISIONING}
    assert READY not in STATUSES[Source.DOCUMENTED]["an agent"]


def test_every_assumption_is_a_rule() -> None:
    """Each assumption stands behind exactly one inferred rule."""
    turned = [rule.assumption for rule in RULES if rule.assumption]
    assert sorted(turned) == sorted(ASSUMPTIONS)
    assert all(rule.source is Source.INFERRED for rule in RULES if rule.assumption)


def table() -> str:
    """The tables of docs/simulator.md."""
    rows = ["| field | documented | inferred |", "|---|---|---|"]
    for thing in FIELDS[Source.DOCUMENTED]:
        cells = [", ".join(f"`{name}`" for name in FIELDS[source].get(thing, ())) for source in Source]
        rows.append(f"| of {thing} | {' | '.join(cells)} |")
    for thing, statuses in STATUSES[Source.DOCUMENTED].items():
        rows.append(f"| status of {thing} | {', '.join(f'`{name}`' for name in statuses)} | |")
    rows += ["", "| rule | source | assumption | reversed |", "|---|---|---|---|"]
    rows += [
        f"| {rule.text} | {rule.source} | {f'`{rule.assumption}`' if rule.assumption else ''} | {rule.reverse} |"
        for rule in RULES
    ]
    return "\n".join(rows).replace("|  |", "| |").replace("|  |", "| |") + "\n"


def test_the_page_says_the_same() -> None:
    """docs/simulator.md marks the same fields, statuses and rules."""
    page = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    assert table() in page, f"write this:\n{table()}"
