"""The kinds of faults. Importing this registers all of them."""

from support.storm.faults import broker, cameras, config, host, load, model, process
from support.storm.faults.kinds import KINDS, Running, finish, ranges

__all__ = ["KINDS", "Running", "broker", "cameras", "config", "finish", "host", "load", "model", "process", "ranges"]
