from typing import Any

import pytest

from exporter.demo import KINDS, FaultError, Faults

TASKS = "/r/tasks"


@pytest.fixture
def faults() -> Faults:
    return Faults({"render", "batch"})


def test_text_form(faults: Faults) -> None:
    """The text form states team, path, kind, value and count; spaces and an empty text are accepted."""
    faults.parse("")
    faults.parse("render:/r/tasks:status=500#2, *:/agents:latency=1500ms,batch:*:hang,*:*:redirect=http://x:1/y")
    assert [(fault.team, fault.path, fault.kind, fault.left) for fault in faults] == [
        ("render", TASKS, "status", 2),
        ("*", "/agents", "latency", None),
        ("batch", "*", "hang", None),
        ("*", "*", "redirect", None),
    ]
    struck = faults.strike("render", "/agents")
    assert struck == {"latency": 1.5, "redirect": "http://x:1/y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hang", "cannot read the fault 'hang'; allowed: team:path:kind, team:path:kind=value#times"),
        ("nobody:*:hang", "unknown team 'nobody'"),
        (
            "*:/tasks:hang",
            "unknown path '/tasks'; allowed: *, /r/tasks, /r/agents, /agents, /users/me, /r/workflows, /auth/refresh",
        ),
        ("*:*:hang#x", "times is 'x' in '*:*:hang#x'; allowed: 1 and more"),
        ("*:*:hang#0", "times is 0; allowed: 1 and more"),
        ("*:*:latency=fast", "latency cannot be 'fast'; allowed: a duration: 2s, 500ms, 1m"),
        ("*:*:latency", "latency cannot be None; allowed: a duration: 2s, 500ms, 1m"),
        ("*:*:hang=5", "hang cannot be '5'; allowed: no value"),
        ("*:*:per_page=0", "per_page cannot be '0'; allowed: the page size served whatever was asked for"),
    ],
)
def test_mistakes_say_what_is_allowed(faults: Faults, text: str, message: str) -> None:
    """The message of a mistake names what was found and what is allowed; no fault is switched on."""
    with pytest.raises(FaultError) as caught:
        faults.parse("*:*:empty," + text)
    assert str(caught.value) == message
    assert len(faults) == 0


def test_unknown_kinds(faults: Faults) -> None:
    """The message about an unknown kind lists all kinds."""
    with pytest.raises(FaultError, match=r"unknown fault 'fire'; allowed: latency, .*, items"):
        faults.set("fire")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("status", 99),
        ("status", "1e3"),
        ("status", None),
        ("latency", -1),
        ("latency", "9" * 400),
        ("gzip_bomb", "1.5GiB"),
        ("total", "lots"),
        ("total", ["+1"]),
        ("hostile", "nice"),
        ("hostile", {}),
        ("shift", "x"),
        ("duplicate", 0),
        ("items", "[]"),
        ("date", "later"),
        ("hang", []),
    ],
)
def test_values_that_do_not_fit(faults: Faults, kind: str, value: Any) -> None:
    """Every kind refuses a value that it cannot use."""
    with pytest.raises(FaultError, match=f"{kind} cannot be .*; allowed: "):
        faults.set(kind, value=value)


def test_setting_replaces_and_clearing_chooses(faults: Faults) -> None:
    """A fault of the same kind, team and path is replaced; clearing removes all faults or the chosen ones."""
    faults.set("status", team="render", value=500)
    faults.set("status", team="render", value=503)
    faults.set("status", path=TASKS, value=404)
    faults.set("hang", team="render")
    assert len(faults) == 3
    faults.clear("status", team="render")
    assert [(fault.kind, fault.team) for fault in faults] == [("status", "*"), ("hang", "render")]
    faults.clear()
    assert len(faults) == 0


def test_counted_faults_go_off(faults: Faults) -> None:
    """A fault with a count affects that many matching requests and no others."""
    faults.set("hang", team="render", times=2)
    struck = [bool(faults.strike(team, TASKS)) for team in ("batch", None, "render", "render", "render")]
    assert struck == [False, False, True, True, False]
    assert len(faults) == 0


def test_nobody_is_struck_by_everybodys_faults(faults: Faults) -> None:
    """A request without a known team is affected by faults for all teams."""
    faults.set("empty")
    assert faults.strike(None, "/auth/refresh") == {"empty": True}


def test_kinds_say_what_they_take() -> None:
    """Each kind describes its values."""
    assert all(kind.allowed for kind in KINDS.values())
