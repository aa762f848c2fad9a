"""Edits of the config file, good and bad."""

from __future__ import annotations

import time
from random import Random

from support.storm.config_file import write_private
from support.storm.faults.kinds import Running, kind
from support.storm.parts import Parts
from support.storm.schedule import Fault

POLL_S = 0.4  # edged's, of its config file


@kind("config half-written", (("config",),), 0.2, 3)
def config_half_written(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    config.revision += 1
    text = config.text()
    cut = Random(fault.seed).randrange(len(text) // 4, len(text) - 20)
    write_private(config.path, text[:cut])
    yield
    write_private(config.path, text)
    return cut


@kind("config deleted and made again", (("config",),), 0.2, 3)
def config_deleted(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    config.path.unlink()
    yield
    config.revision += 1
    config.save()
    return 1


@kind("config good, bad and good again", (("config",),), 0.1, 0.3)
def config_good_bad_good(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    config.revision += 1
    config.save()
    time.sleep(Random(fault.seed).uniform(0, POLL_S / 4))
    config.replace(config.text().replace("every:", "evry:"))
    yield
    config.revision += 1
    config.save()
    return 1


@kind("config renamed", (("config",),), 0.2, 3)
def config_renamed(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    elsewhere = config.path.with_suffix(".old")
    config.path.rename(elsewhere)
    yield
    elsewhere.rename(config.path)
    config.revision += 1
    config.save()
    return 1


@kind("question moved to another camera", (("config",),), 1, 5)
def question_moved(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    source, target = Random(fault.seed).sample(list(config.sources), 2)
    before = dict(config.questions)
    config.questions |= {source: ["clock", "seen"], target: ["clock", "even", "seen"]}
    config.save()
    yield
    config.questions = before
    config.save()
    return 1


@kind("camera renamed", (("config",),), 1, 5)
def camera_renamed(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    name = Random(fault.seed).choice(list(config.sources))
    before = dict(config.sources)
    config.sources = {f"{name}2" if each == name else each: source for each, source in before.items()}
    config.save()
    yield
    config.sources = before
    config.save()
    return 1


@kind("wrong password after a reload", (("config", "yard"), ("config", "back")), 2, 6)
def wrong_password(parts: Parts, fault: Fault) -> Running:
    name, config = fault.parts[1], parts.config
    camera, right = parts.http[name], config.secrets[name]
    before = camera.refused
    config.change_secret(name, f"wrong {right}")
    yield
    config.change_secret(name, right)
    return camera.refused - before


@kind("secret of a camera rotated", (("config", "yard"), ("config", "back")), 0.1, 4)
def secret_rotated(parts: Parts, fault: Fault) -> Running:
    """At the camera first; the config follows when the fault ends."""
    name, config = fault.parts[1], parts.config
    camera, before = parts.http[name], parts.http[name].refused
    camera.password = f"r0tated/{fault.seed}"
    parts.proxies[name].reset()  # an open stream would not ask for it
    yield
    config.change_secret(name, camera.password)
    return camera.refused - before
