"""Simulates a fleet's activity: machines sync, fill their memory, fail, are lost and return, while tasks come and go.

Repeatable: a seed and a start time give one history, whatever the steps in which time advances.
"""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Final

from exporter.demo.fleet import SimulatedTeam
from exporter.demo.machines import LOST, READY, SYNCING, TUNNEL, UNHEALTHY, Machine, Sync, build
from exporter.demo.timeline import Timeline
from exporter.demo.work import Workload

_HEARTBEAT = 10.0
"""Seconds between two heartbeats of a machine."""
_QUIET = 600.0
"""Seconds between two mishaps of a machine, on average."""
_CROWD = 300
"""More agents than this get a shorter history, which is simulated before the start."""
_COMPLETE = 100
"""Per cent."""
_FILES: Final = (
    "flux1-dev-fp8 (11.9 GB)",
    "sd_xl_base_1.0 (6.9 GB)",
    "wan2.1-t2v-14b (28.6 GB)",
    "clip_l (0.2 GB)",
    "umt5-xxl-fp8 (6.7 GB)",
)
_MISHAPS: Final = {LOST: 4, SYNCING: 3, UNHEALTHY: 2, TUNNEL: 2}


class FleetLife:
    """Simulates activity of teams. Mutable; `advance` changes the teams.

    Args:
        teams: their tasks and agents should be empty.
        agents: how many, spread over the teams evenly.
        seed: of everything that happens.
        start: Unix seconds of the first moment that is shown.
        history: seconds simulated before `start`; None for enough to make the first page interesting.
    """

    def __init__(
        self,
        teams: Sequence[SimulatedTeam],
        *,
        agents: int,
        seed: int,
        start: float,
        history: float | None = None,
    ) -> None:
        history = (1200 if agents <= _CROWD else 300) if history is None else history
        self._lives = [
            _TeamLife(
                team,
                agents // len(teams) + (position < agents % len(teams)),
                Random(f"{seed}/{team.name}"),  # noqa: S311  repeatable on purpose
                start - history,
            )
            for position, team in enumerate(teams)
        ]
        self.advance(start)

    def advance(self, to: float) -> None:
        """Simulate up to this time, in Unix seconds; a time in the past changes nothing."""
        for life in self._lives:
            life.timeline.advance(to)


class _TeamLife:
    """The machines of one team and what happens to them. Mutable."""

    def __init__(self, team: SimulatedTeam, agents: int, random: Random, start: float) -> None:
        self.timeline = Timeline(start)
        self._team = team
        self._random = random
        self._machines = [build(random, team.name, number, start) for number in range(1, agents + 1)]
        self._work = Workload(team, self.timeline, random, self._machines)
        self._work.changed = self._changed
        for machine in self._machines:
            self._show(machine)
            self.timeline.after(random.uniform(0, _HEARTBEAT), partial(self._heartbeat, machine, machine.session))
            self._await_mishap(machine)
        self._work.begin()

    def _show(self, machine: Machine) -> None:
        if machine.state != LOST:
            self._team.put_agent(machine.as_json())

    def _changed(self, machine: Machine) -> None:
        if machine.wants is not None and not machine.busy:
            self._withdraw(machine)
        self._show(machine)

    def _heartbeat(self, machine: Machine, session: int) -> None:
        if machine.session != session or machine.silent:
            return
        machine.heartbeat_at = self.timeline.now
        if machine.busy:
            self._breathe(machine)
            self._show(machine)
        else:
            self._team.update_agent(machine.agent_id, last_heartbeat=machine.heartbeat_at)
        self.timeline.after(_HEARTBEAT, partial(self._heartbeat, machine, session))

    def _breathe(self, machine: Machine) -> None:
        """Running jobs need a little more or less memory than before."""
        for slot, job in enumerate(machine.jobs):
            if job is not None and job.running:
                machine.use[slot] = min(max(machine.use[slot] + self._random.uniform(-0.03, 0.03), 0.3), 0.99)

    # --- Mishaps ---

    def _await_mishap(self, machine: Machine) -> None:
        self.timeline.after(self._random.expovariate(1 / _QUIET), partial(self._mishap, machine))

    def _mishap(self, machine: Machine) -> None:
        self._await_mishap(machine)
        if not machine.takes_tasks:
            return
        mishap = self._random.choices(tuple(_MISHAPS), tuple(_MISHAPS.values()))[0]
        if mishap == LOST:
            machine.silent = True
            self.timeline.after(self._random.uniform(15, 45), partial(self._lose, machine))
        elif mishap == UNHEALTHY:
            machine.state = UNHEALTHY
            self.timeline.after(self._random.uniform(30, 120), partial(self._ready, machine))
        else:
            machine.wants = mishap
        self._changed(machine)

    def _lose(self, machine: Machine) -> None:
        machine.state = LOST
        machine.session += 1
        self._team.remove_agent(machine.agent_id)
        self._work.evict(machine)
        self.timeline.after(self._random.uniform(20, 180), partial(self._return, machine))

    def _return(self, machine: Machine) -> None:
        machine.silent = False
        machine.completed = 0
        machine.connected_at = machine.heartbeat_at = self.timeline.now
        self._sync(machine, self._random.randint(1, 3))
        self.timeline.after(_HEARTBEAT, partial(self._heartbeat, machine, machine.session))

    def _withdraw(self, machine: Machine) -> None:
        """An idle machine enters the state it was waiting for."""
        wanted, machine.wants = machine.wants, None
        if wanted == SYNCING:
            self._sync(machine, self._random.randint(1, 4))
        else:
            machine.state = TUNNEL
            self.timeline.after(self._random.uniform(60, 240), partial(self._ready, machine))

    def _ready(self, machine: Machine) -> None:
        machine.state, machine.sync = READY, None
        self._work.dispatch(machine)
        self._show(machine)

    # --- Syncing: each file is downloaded, then verified ---

    def _sync(self, machine: Machine, files: int) -> None:
        if files == 0:
            self._ready(machine)
            return
        machine.state = SYNCING
        self._progress(machine, "downloading", self._random.choice(_FILES), 0, files)

    def _progress(self, machine: Machine, phase: str, file: str, percent: int, files: int) -> None:
        verb = phase.capitalize()
        machine.sync = Sync(phase, f"{verb} model {file}", min(percent, _COMPLETE))
        self._show(machine)
        step = self._random.randint(6, 25)
        if percent < _COMPLETE:
            again = partial(self._progress, machine, phase, file, percent + step, files)
        elif phase == "downloading":
            again = partial(self._progress, machine, "verifying", file, 0, files)
        else:
            again = partial(self._sync, machine, files - 1)
        self.timeline.after(self._random.uniform(0.5, 2), again)
