"""The real schedule under stress: no burst of requests after an outage, and fairness when the request rate is too low.

An outage: several hundred teams are polled at a short interval, then every request is refused, or hangs, until polls
are held back, then the platform works again. The requests of each second after that are compared with those of the
time before the outage: if all held-back teams came at once, that would be a burst. `max_requests_per_second` bounds
them too, but allows bursts of one second's worth: a single second may show twice as many.

Too low a rate: only half of the requests that the intervals need are allowed. No team may be polled much less often
than another, and the log and the metrics must show that the intervals are not kept.
"""

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from logging.handlers import BufferingHandler
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import aiohttp
from rig import Fleet, exporting, report, simulated
from rig.polls import Sent, traffic

from exporter.service.budget import MIN_REQUESTS_PER_POLL
from exporter.service.exporter import Exporter

FLEET = Fleet(teams=240, agents=1, tasks=5)
INTERVAL = 4.0
"""Seconds."""
NEEDED = FLEET.teams * MIN_REQUESTS_PER_POLL / INTERVAL
"""Requests a second."""
ALLOWED = 1.5 * NEEDED
OUTAGES = {"status=503": 4 * INTERVAL, "hang": 2 * INTERVAL}
"""Seconds by fault. Polls are held back from the third failure in a row on; hanging polls fail too rarely for that."""
MAX_RECOVERY = 60.0

SHORT_OF = Fleet(teams=20, agents=1, tasks=5)
SHORT_INTERVAL = 1.0
SHORT_FOR = 24.0


async def switch(base_url: str, faults: str) -> None:
    """Make the platform show these faults and no others."""
    async with aiohttp.ClientSession(base_url.removesuffix("api/v1")) as session:
        await session.delete("_simulate/faults")
        await session.post("_simulate/faults", json={"faults": faults})


async def until_up(exporter: Exporter) -> None:
    """Wait until the last poll of every team succeeded.

    Raises:
        TimeoutError: that took too long.
    """
    async with asyncio.timeout(MAX_RECOVERY):
        while not all(team.up for team in exporter.status().teams):  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.25)


def per_second(sent: Sequence[Sent], start: float, seconds: float) -> list[int]:
    """Requests in each full second from `start` on."""
    counts = Counter(int(request.at - start) for request in sent if request.at >= start)
    return [counts[second] for second in range(int(seconds))]


async def outage(base_url: str, fault: str, lasts: float) -> dict[str, object]:
    """The line of one outage."""
    limits = {"max_requests_per_second": ALLOWED, "max_concurrency": 32, "timeout": "2s"}
    with traffic() as sent:
        async with exporting(base_url, FLEET, interval=INTERVAL, **limits) as exporter:
            polling = asyncio.create_task(exporter.run())
            await asyncio.sleep(INTERVAL)
            await until_up(exporter)
            calm = time.monotonic()
            await asyncio.sleep(INTERVAL)
            began = time.monotonic()
            await switch(base_url, f"*:*:{fault}")
            await asyncio.sleep(lasts)
            held = sum(team.backoff_until is not None for team in exporter.status().teams)
            back = time.monotonic()
            await switch(base_url, "")
            await until_up(exporter)
            up = time.monotonic()
            await asyncio.sleep(INTERVAL)
            await ended(polling)
    steady, down = per_second(sent.requests, calm, began - calm), per_second(sent.requests, began, lasts)
    after = per_second(sent.requests, back, up - back + INTERVAL)
    return {
        "outage": f"{fault}, {lasts:.0f} s",
        "teams": FLEET.teams,
        "held back": held,
        "allowed/s": ALLOWED,
        "steady/s": sum(steady) / len(steady),
        "highest": max(steady),
        "down/s": sum(down) / len(down),
        "after, highest second": max(after),
        "/ steady": max(after) * len(steady) / sum(steady),
        "/ allowed": max(after) / ALLOWED,
        "all up within s": up - back,
        "each second after": " ".join(map(str, after[:12])),
    }


async def ended(polling: asyncio.Task[None]) -> None:
    """Stop a schedule."""
    polling.cancel()
    with suppress(asyncio.CancelledError):
        await polling


async def too_slow(base_url: str, logged: BufferingHandler) -> dict[str, object]:
    """The line of a request rate that is half of what is needed."""
    needed = SHORT_OF.teams * MIN_REQUESTS_PER_POLL / SHORT_INTERVAL
    logged.flush()
    # Few teams are polled at once, so a poll is short: it is the wait for its turn that takes longer than the interval.
    limits = {"max_requests_per_second": needed / 2, "max_concurrency": 4}
    with traffic() as sent:
        async with exporting(base_url, SHORT_OF, interval=SHORT_INTERVAL, **limits) as exporter:
            polling = asyncio.create_task(exporter.run())
            await asyncio.sleep(SHORT_FOR)
            durations = [
                max(collector.attempts[0].duration for collector in team.collectors) for team in exporter.status().teams
            ]
            await ended(polling)
    # Each poll reads one page of agents; the credential says whose.
    polls = Counter(request.call.secret for request in sent.requests if request.call.path == "/r/agents").values()
    return {
        "teams": SHORT_OF.teams,
        "needed/s": needed,
        "allowed/s": needed / 2,
        "sent/s": len(sent.requests) / SHORT_FOR,
        "polls if kept": SHORT_FOR / SHORT_INTERVAL,
        "fewest": min(polls),
        "most": max(polls),
        "fewest / most": min(polls) / max(polls),
        "teams with 'slow poll'": sum(record.getMessage() == "slow poll" for record in logged.buffer),
        "with duration > interval": sum(duration > SHORT_INTERVAL for duration in durations),
        "longest duration / interval": max(durations) / SHORT_INTERVAL,
    }


def main() -> None:
    """Prints a line for each outage, and one for too low a request rate."""
    logged = BufferingHandler(1_000_000)
    logging.basicConfig(handlers=[logged])
    with simulated(FLEET) as base_url:
        report("outage", [asyncio.run(outage(base_url, fault, lasts)) for fault, lasts in OUTAGES.items()])
    with simulated(SHORT_OF) as base_url:
        report("too_slow", [asyncio.run(too_slow(base_url, logged))])


if __name__ == "__main__":
    main()
