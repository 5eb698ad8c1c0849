"""What a hostile platform costs: the longest pause of the event loop and the memory of one page, by an answer's shape.

The page is one of agents; tasks are read as usual. Each shape is measured in its own process. The pause is the CPU
time that the process spends while a task that wants to run every millisecond waits, so it counts steps of the loop and
whatever else holds the interpreter, but not what other programs do. The lowest of several rounds is what counts.
"""

import asyncio
import gzip
import logging
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent))
from rig import Fleet, exporting, report, resident, started

from exporter.cli.serve import freeze_startup_objects

MIB: Final = 2**20
LIMIT: Final = 16 * MIB
"""The default of api.max_response_bytes."""
ROUNDS: Final = 5
MAX_PAUSE: Final = 0.05
"""Seconds."""
MAX_MEMORY: Final = 100.0
"""MB."""
VALUES: Final = 59_000
"""Just below what one answer may hold."""
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def page(items: bytes, *, total: int = 1) -> bytes:
    """An answer that is correct except for its items."""
    return b'{"page_meta": {"total_count": %d}, "agent_list": [%s]}' % (total, items)


def filled(before: bytes, unit: bytes, after: bytes, size: int = LIMIT - 1024) -> bytes:
    """As many units as fit."""
    return before + unit * ((size - len(before) - len(after)) // len(unit)) + after


def agent(fields: bytes) -> bytes:
    """An item with an id."""
    return b'{"agent_id": "a", %s}' % fields


def _text(unit: bytes, end: bytes = b"") -> bytes:
    return page(agent(filled(b'"tool": "', unit, end + b'"', LIMIT - 4096)))


def _many(count: int, item: bytes) -> bytes:
    return page(b", ".join(item.replace(b'"a"', b'"a%d"' % number, 1) for number in range(count)), total=count)


BODIES: Final[Mapping[str, Callable[[], bytes]]] = {
    "100 good agents": lambda: _many(100, agent(b'"agent_labels": ["gpu"]')),
    "nested lists": lambda: filled(b"", b"[", b"]" * (6 * MIB), 12 * MIB),
    "nested lists in a field": lambda: page(agent(b'"x": ' + b"[" * 6 * MIB + b"]" * 6 * MIB)),
    "empty objects": lambda: page(filled(b"", b"{},", b"{}")),
    "numbers": lambda: page(agent(filled(b'"x": [', b"1,", b"1]"))),
    "keys": lambda: page(b"{%s}" % b",".join(b'"%d":0' % number for number in range(VALUES))),
    "wrong labels": lambda: _many(1000, agent(b'"agent_labels": [%s]' % b",".join([b"7"] * (VALUES // 1000 - 4)))),
    "wrong labels of one agent": lambda: page(agent(b'"agent_labels": [%s]' % b",".join([b"7"] * 256))),
    "wrong items": lambda: page(b",".join([b"7"] * 1000), total=1000),
    "long texts": lambda: _many(1000, agent(filled(b'"tool": "', b"x", b'"', 16_000))),
    "one ASCII text": lambda: _text(b"x"),
    "one Latin text": lambda: _text("é".encode()),
    "one Chinese text": lambda: _text("界".encode()),
    "one text of emoji": lambda: _text("😀".encode()),
    "one ASCII text with an emoji": lambda: _text(b"x", "😀".encode()),
    "one text of escapes": lambda: _text(b"\\u0041"),
    "one ASCII text with an emoji, as a number": lambda: _text(b"x", "😀".encode()).replace(
        b'"tool"', b'"running_count"'
    ),
    "one ASCII text with an emoji, as an item": lambda: page(filled(b'"', b"x", "😀".encode() + b'"')),
    "one ASCII text with an emoji, as the list": lambda: page(b"").replace(
        b"[]", filled(b'"', b"x", "😀".encode() + b'"', LIMIT - 4096)
    ),
    "one ASCII text with an emoji, as a key": lambda: page(
        b'{"agent_id": "a", %s}' % filled(b'"', b"x", "😀".encode() + b'": 1', LIMIT - 4096)
    ),
    "one broken text": lambda: _text(b"x", b"\xff"),
    "one long number": lambda: page(agent(filled(b'"running_count": ', b"7", b""))),
    "quotes": lambda: b'"' * (LIMIT - 1024),
    "escaped quotes": lambda: _text(b'\\"'),
    "backslashes": lambda: _text(b"\\\\"),
    "4 MiB of long numbers": lambda: page(agent(filled(b'"x": [', b"7" * 4000 + b",", b"7]", 4 * MIB - 1024))),
    "4 MiB of texts": lambda: _many(1000, agent(filled(b'"tool": "', b"x", b'"', 4000))),
    "4 MiB of emoji": lambda: page(agent(filled(b'"tool": "', b"x", "😀".encode() + b'"', 4 * MIB - 1024))),
    "4 MiB of broken text": lambda: page(agent(filled(b'"tool": "', b"\xff", b'"', 4 * MIB - 1024))),
    "4 MiB of lone surrogates": lambda: page(agent(filled(b'"tool": "', b"\\ud800", b'"', 4 * MIB - 1024))),
    "4 MiB of escapes before a lone surrogate": lambda: page(
        agent(filled(b'"tool": "', b"x\\n", b'\\ud800"', 4 * MIB - 1024))
    ),
    "long texts of many agents": lambda: _many(1000, agent(filled(b'"tool": "', b"x", b'"', 1000))),
    "many long numbers": lambda: page(agent(filled(b'"x": [', b"7" * 4000 + b",", b"7]"))),
}
"""Bodies by shape; sent with gzip."""


def _chunks(body: bytes) -> bytes:
    return b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"


def _bomb() -> bytes:
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(bytes(MIB)) for _ in range(2000)) + compressor.flush()
    return HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb


RAW: Final[Mapping[str, Callable[[], bytes]]] = {
    "two million chunks of a byte": lambda: (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + _chunks(page(agent(filled(b'"tool": "', b"x", b'"', 2_000_000))))
    ),
    "two million informational answers": lambda: b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2_000_000,
    "headers without end": lambda: HEAD + b"X-More: x\r\n" * 1_000_000,
    "a header without end": lambda: HEAD + b"X-More: " + b"x" * 16 * MIB,
    "a gzip bomb": _bomb,
}
"""Complete answers by shape, with their headers."""


def answer(shape: str) -> bytes:
    """What the platform sends for a page of agents."""
    if shape in RAW:
        return RAW[shape]()
    body = gzip.compress(BODIES[shape](), 1)
    return HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _serve(shape: str, ready: Connection) -> None:
    hostile = answer(shape)
    empty = b'{"task_list": [], "page_meta": {"total_count": 0}}'
    tasks = HEAD + b"Content-Length: %d\r\n\r\n" % len(empty) + empty

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(tasks if b"/tasks" in head else hostile)
                await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        ready.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await asyncio.Event().wait()

    asyncio.run(serve())


class Pauses:
    """How much CPU time passed while a task that wants to run every millisecond could not. Mutable."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            began = time.process_time()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.process_time() - began)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


def _measure(base_url: str, ready: Connection) -> None:
    async def measure() -> None:
        pauses, peaks = [], []
        async with exporting(base_url, Fleet(1, 0), timeout="60s") as exporter:
            freeze_startup_objects()  # as `serve` does
            for _ in range(ROUNDS):
                _forget_peak()
                before, pause = resident(), Pauses()
                watching = asyncio.create_task(pause.watch())
                await exporter.once()
                watching.cancel()
                pauses.append(pause.longest)
                peaks.append(_peak() - before)
            [team] = exporter.status().teams
            [attempt] = [each.attempts[0] for each in team.collectors if each.name == "agents"]
            ready.send((min(pauses), max(peaks), attempt.reason or "read", attempt.duration))

    logging.disable()
    asyncio.run(measure())


def rows(shapes: Iterator[str]) -> Iterator[Mapping[str, object]]:
    """What each shape costs."""
    for shape in shapes:
        with started(_serve, shape) as base_url, started(_measure, base_url) as (pause, peak, result, seconds):
            fine = pause <= MAX_PAUSE and peak / 1e6 <= MAX_MEMORY
            yield {
                "answer": shape,
                "longest pause, ms": pause * 1e3,
                "peak, MB": peak / 1e6,
                "result": result,
                "seconds": seconds,
                "within bounds": "yes" if fine else "NO",
            }


def main() -> int:
    """0 if every shape stays within the bounds."""
    chosen = [shape for shape in (*BODIES, *RAW) if not sys.argv[1:] or any(word in shape for word in sys.argv[1:])]
    found = list(rows(iter(chosen)))
    report("hostile_answers", found)
    return 0 if all(row["within bounds"] == "yes" for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
