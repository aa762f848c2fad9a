"""That a camera has shown noise is remembered over a restart, for the same pictures of the same camera."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.broker import HOST, until
from support.cameras import Watched, spec
from support.storm.cameras import HttpCamera
from support.world import CONFIG, World, camera

from edged.core.memory_store import MemoryStore
from edged.core.specs import CameraSpec
from edged.service.remembered_noise import RememberedNoise, forget_others

DOCK = camera("dock")


def test_what_was_learned_is_known_to_the_next_process() -> None:
    store = MemoryStore()
    assert not RememberedNoise(store, DOCK).shown
    RememberedNoise(store, DOCK).learn(True)
    assert RememberedNoise(store, DOCK).shown
    RememberedNoise(store, DOCK).learn(False)
    assert not RememberedNoise(store, DOCK).shown


@pytest.mark.parametrize("other", [camera("yard"), camera("dock", address="b"), replace(DOCK, rotate=90)])
def test_it_is_not_known_of_other_pictures(other: CameraSpec) -> None:
    store = MemoryStore()
    RememberedNoise(store, DOCK).learn(True)
    assert not RememberedNoise(store, other).shown


def test_it_is_forgotten_of_a_camera_that_is_no_longer_in_the_config() -> None:
    store = MemoryStore()
    for each in (DOCK, camera("gone")):
        RememberedNoise(store, each).learn(True)
    forget_others(store, replace(CONFIG, cameras=(DOCK,)))
    assert RememberedNoise(store, DOCK).shown
    assert not RememberedNoise(store, camera("gone")).shown


def test_a_camera_that_is_opened_again_is_given_what_is_known_of_its_noise() -> None:
    world = World()
    world.start()
    first = world.noise["dock"]
    first.learn(True)
    for active in (False, True):
        world.service.set_active("dock", None, active)
    assert world.noise["dock"] is not first
    assert world.noise["dock"].shown
    assert not world.noise["yard"].shown


@pytest.mark.parametrize("path", ["snap", "stream"])
def test_a_camera_that_froze_between_two_processes_is_refused_by_the_second(path: str) -> None:
    store, server = MemoryStore(), HttpCamera("secret")
    dock = spec(f"http://viewer:secret@{HOST}:{server.port}/{path}", "http", frozen_after_s=0.4)

    def opened() -> Watched:
        return Watched(dock, noise=RememberedNoise(store, dock))

    try:
        with opened() as first:
            until(lambda: first.outcome() and RememberedNoise(store, dock).shown, 20)
        server.freeze()
        with opened() as second:
            assert second.outcome() == "a picture of 320 columns"
            until(lambda: "bit-identical" in second.outcome(), 20)
    finally:
        server.close()
