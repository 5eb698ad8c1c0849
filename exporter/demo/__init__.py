"""The simulated Cyberun platform and its living GPU fleet, for demonstrations and tests. See docs/simulator.md."""

from exporter.demo.access import User
from exporter.demo.assumptions import ASSUMED, ASSUMPTIONS, Assumptions, UnknownAssumptionError, reverse
from exporter.demo.fault_kinds import KINDS
from exporter.demo.faults import Fault, FaultError, Faults
from exporter.demo.fleet import Order, SimulatedTeam
from exporter.demo.journal import Call, Journal
from exporter.demo.life import FleetLife
from exporter.demo.platform import SimulatedPlatform
from exporter.demo.showcase import demo_platform

__all__ = [
    "ASSUMED",
    "ASSUMPTIONS",
    "KINDS",
    "Assumptions",
    "Call",
    "Fault",
    "FaultError",
    "Faults",
    "FleetLife",
    "Journal",
    "Order",
    "SimulatedPlatform",
    "SimulatedTeam",
    "UnknownAssumptionError",
    "User",
    "demo_platform",
    "reverse",
]
