"""Runs a command in an event loop, and makes sure that nothing delays its end."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from selectors import BaseSelector
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

STOPPED = 1
"""Exit code of a command that was stopped before it had a result."""


def run_loop(command: Coroutine[Any, Any, int]) -> int:
    """Run a command that serves until it ends."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(command)


def run_once(command: Coroutine[Any, Any, int]) -> int:
    """Run a command that ends by itself. SIGTERM and SIGINT cancel it, after which it still closes its resources."""
    return run_loop(_until_stopped(command))


async def _until_stopped(command: Coroutine[Any, Any, int]) -> int:
    async with stop_signal() as stop:
        work, stopped = asyncio.create_task(command), asyncio.create_task(stop.wait())
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if work.done():
            return work.result()
        work.cancel()
        await asyncio.wait((work,))
        return STOPPED


@asynccontextmanager
async def stop_signal() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


class Loop(asyncio.SelectorEventLoop):
    """Runs what would block it in threads that nothing waits for at the end."""

    def __init__(self, selector: BaseSelector | None = None) -> None:
        super().__init__(selector)
        self.set_default_executor(_DaemonThreads())

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  as in asyncio
        """Do nothing: asyncio would wait for the threads, and start one for that, which the system may refuse."""


class _DaemonThreads(ThreadPoolExecutor):
    """Runs each call in its own daemon thread, which does not keep the process from ending.

    Resolving a name or reading a file on a lost network share can take minutes. In a pool such calls would also occupy
    the threads that others need.
    """

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call it in a new thread."""
        future = Future[T]()
        Thread(target=_call, args=(future, lambda: call(*args, **kwargs)), daemon=True).start()
        return future


def _call(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  passed on to the caller, whatever it is
        future.set_exception(error)
    else:
        future.set_result(result)
