"""Failures of the model."""

from __future__ import annotations

from support.storm.faults.kinds import Running, finish, kind
from support.storm.faults.planting import planted
from support.storm.parts import Parts
from support.storm.schedule import Fault


@kind("model fails", (("model",),), 1, 6)
def model_fails(parts: Parts, fault: Fault) -> Running:
    return planted(parts, "model", "error")


@kind("model's logits are NaN", (("model",),), 1, 4)
def model_nan(parts: Parts, fault: Fault) -> Running:
    """After the first answer of a look, as a device does that begins to fail."""
    return planted(parts, "model", "nan")


@kind("model hangs", (("model",),), 1, 6)
def model_hangs(parts: Parts, fault: Fault) -> Running:
    return planted(parts, "model", "hang")


@kind("model slow", (("model",),), 2, 8)
def model_slow(parts: Parts, fault: Fault) -> Running:
    return planted(parts, "model", "slow")


@kind("model's cache overflows", (("model",),), 1, 4)
def model_overflows(parts: Parts, fault: Fault) -> Running:
    return planted(parts, "model", "overflow")


@kind("model's answer cut off", (("model",),), 1, 4)
def model_cut_off(parts: Parts, fault: Fault) -> Running:
    return planted(parts, "model", "cut off")


@kind("model talks nonsense", (("model",),), 1, 4)
def model_nonsense(parts: Parts, fault: Fault) -> Running:
    return planted(parts, "model", "nonsense")


@kind("device lost", (("model", "edged"),), 1, 6)
def device_lost(parts: Parts, fault: Fault) -> Running:
    """edged ends with exit code 75, and is started again; see `Parts.revive_edged`."""
    parts.lose_device(True)
    in_the_model = planted(parts, "model", "lost")
    next(in_the_model)
    yield
    effect = finish(in_the_model)
    parts.lose_device(False)
    return effect
