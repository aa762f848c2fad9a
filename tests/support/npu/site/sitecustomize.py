"""Puts the simulated NPU into a real edged process: set PYTHONPATH to this folder and tests/."""

from __future__ import annotations

import os

if board := os.environ.get("EDGED_SIMULATED_NPU"):
    from support.npu import simulator

    simulator.install(simulator.from_text(board))
