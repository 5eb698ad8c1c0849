"""What is remembered of active tasks between two polls."""

from collections.abc import Mapping

from exporter.catalog import ACTIVE_TASK_STATUSES
from exporter.fleet.activity import ActiveStatusScan, Activity
from exporter.fleet.tasks import Task


def scans(totals: Mapping[str, int] | None = None, **ids: str) -> Mapping[str, ActiveStatusScan]:
    """Tasks named by one letter, by status; a larger total means that more are listed than were read."""
    return {
        status: ActiveStatusScan(
            total=(totals or {}).get(status, len(ids.get(status, ""))),
            tasks=[Task(task_id=task_id, created_at=1.0) for task_id in ids.get(status, "")],
            pages=1,
            items=len(ids.get(status, "")),
            truncated=False,
        )
        for status in ACTIVE_TASK_STATUSES
    }


def after(active: Mapping[str, ActiveStatusScan]) -> Activity:
    return Activity().after(active, waited=(), ended=(), first=False)


def test_a_task_that_left_is_gone() -> None:
    """A task that was active at the last poll and is in no active status now is gone."""
    assert after(scans(queued="q", running="r")).gone(scans(queued="q")) == {"r": 1.0}


def test_a_task_that_moved_on_is_not_gone() -> None:
    """A task that is back in an earlier status is not gone."""
    before = after(scans(waiting="w", running="r"))
    assert before.gone(scans(running="w", queued="r")) == {}


def test_a_task_may_be_among_those_not_read() -> None:
    """If more tasks run than were read, one that left an earlier status may be among them, so it is not gone."""
    before = after(scans(waiting="w", queued="q"))
    assert before.gone(scans({"running": 300}, running="r")) == {}
    assert before.gone(scans({"queued": 300}, running="r", queued="x")) == {}


def test_only_later_statuses_matter() -> None:
    """An incompletely read status may hide tasks from earlier statuses, but not from later ones."""
    before = after(scans(waiting="w", running="r"))
    assert before.gone(scans({"waiting": 300})) == {"r": 1.0}
