"""The parts of the virtual machine that the ordinary suite can check: pictures, descriptors, damage, the archive."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from vm import boot, initrd, packages, pictures
from vm.guest.uvc import Damage, Model, UvcCamera, configuration


@pytest.mark.parametrize("number", [0, 1, 699, pictures.COUNT - 1])
def test_picture_shows_its_number(number: int) -> None:
    rgb = cv2.imdecode(np.frombuffer(pictures.encode(number), np.uint8), cv2.IMREAD_COLOR)
    assert rgb is not None
    assert pictures.number_in(np.asarray(rgb, np.uint8)) == number


def test_age_is_true_over_the_wrap_of_the_numbers() -> None:
    assert pictures.age_s(5, now=5 / pictures.RATE + 0.05) == pytest.approx(0.05)
    assert pictures.age_s(pictures.COUNT - 1, now=(pictures.COUNT + 9) / pictures.RATE) == pytest.approx(1.0)
    assert pictures.age_s(600, now=599.5 / pictures.RATE) == pytest.approx(-0.05)


def test_descriptors_follow_each_other_by_their_lengths() -> None:
    data = configuration([(640, 480), (1920, 1080)])
    assert struct.unpack_from("<H", data, 2)[0] == len(data)
    at = 0
    while at < len(data):
        assert data[at] > 1
        at += data[at]
    assert at == len(data)


@pytest.mark.parametrize(("damage", "length"), [(None, 0), ("gap", -4094), ("flip", 0), ("garbage", 0)])
def test_damage_is_what_it_is_called(damage: Damage | None, length: int) -> None:
    picture = pictures.encode(1)
    camera = UvcCamera(Model("1"), [picture])
    camera.damage = damage
    sent = b"".join(camera._damaged(picture))
    assert len(sent) - len(picture) == length
    assert (sent == picture) == (damage is None)


def test_archive_has_the_files_as_the_kernel_unpacks_them() -> None:
    archive = initrd.Archive()
    archive.folder("vm")
    archive.file("vm/load", b"a.ko\n")
    data = archive.closed()
    assert len(data) % 4 == 0
    head = data.index(b"vm/load\0") - 110
    assert data[head : head + 6] == b"070701"
    assert int(data[head + 54 : head + 62], 16) == 5
    assert b"TRAILER!!!\0" in data


def test_dependencies_of_a_module_come_from_its_own_text() -> None:
    assert initrd.depends(b"\0license=GPL\0depends=usbip-core,usbcore\0retpoline=Y\0") == ["usbip_core", "usbcore"]
    assert initrd.depends(b"\0depends=\0") == []


def test_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(packages.Missing, match="qemu-system-x86_64 is not installed: apt-get install qemu-system-x86"):
        packages.unpacked()


def test_an_environment_that_the_checkout_links_to_is_shared_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    checkout, environment = tmp_path / "checkout", tmp_path / "environment"
    checkout.mkdir()
    environment.mkdir()
    (checkout / ".venv").symlink_to(environment)
    monkeypatch.setattr(sys, "prefix", str(checkout / ".venv"))
    places = [place for _, place in boot.read_only(checkout)]
    assert {str(checkout), str(environment)} <= set(places)
    assert str(checkout / ".venv") not in places
