"""USB cameras on the kernel's real drivers, in a virtual machine (see tests/vm): only with --long.

One boot runs all cases; each test judges what one of them saw. Times have an allowance for a machine that qemu emulates
instruction by instruction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vm import boot, facts, pictures

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(1200)]  # the guest is slow

CHECKOUT = Path(__file__).resolve().parent.parent
BACK_S = 2.0  # from the node's return to the first answer
SLOW_S = 1.5  # what the emulated machine adds to it: opening takes 0.5 s there, and decoding 0.1 s
AGE_ERROR_S = 0.3
SCENE = float(pictures.draw(0).mean())
Results = dict[str, Any]
Look = dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    out = tmp_path_factory.mktemp("vm")
    results = boot.run(CHECKOUT, [], out)
    assert results, f"no case was run:\n{(out / 'console.log').read_text(errors='replace')[-2000:]}"
    return results


def found(results: Results, case: str) -> dict[str, Any]:
    """What the case saw; fails if it ended with an error of its own."""
    assert case in results, "the virtual machine ended before this case"
    result: dict[str, Any] = results[case]
    assert "error" not in result, result["error"]
    return result


def answered(looks: list[Look]) -> list[Look]:
    return [look for look in looks if look["ok"]]


def since(looks: list[Look], moment: float) -> list[Look]:
    """The looks that began after this moment."""
    return [look for look in looks if look["t"] - look["took"] >= moment]


def errors(looks: list[Look]) -> set[str]:
    return {look["error"] for look in looks if not look["ok"]}


def warnings(result: dict[str, Any]) -> list[str]:
    return [text for _, level, text in result["log"] if level == "WARNING"]


def require_back(times: list[float | None]) -> None:
    assert all(time is not None and time < BACK_S + SLOW_S for time in times), times


def require_true_ages(looks: list[Look], error_s: float = AGE_ERROR_S) -> None:
    """No picture is older than it claims to be; the bars are readable in every one."""
    wrong = [look for look in answered(looks) if look["true"] is None or look["true"] - look["claimed"] > error_s]
    assert not wrong, wrong


def test_pictures_of_a_good_camera_are_fresh_and_their_age_is_true(results: Results) -> None:
    looks = found(results, "plain")["looks"]
    assert len(answered(looks)) == len(looks) > 10
    require_true_ages(looks)
    assert sorted(look["claimed"] for look in looks)[len(looks) // 2] < 0.5


@pytest.mark.parametrize("case", ["loose_plug", "long_absence"])
def test_camera_is_back_soon_after_it_was_plugged_in_again(results: Results, case: str) -> None:
    result = found(results, case)
    require_back(result["back_s"])
    require_true_ages(result["looks"])


def test_loose_plug_is_logged_once_when_it_goes_and_once_when_it_is_back(results: Results) -> None:
    result = found(results, "loose_plug")
    assert len(warnings(result)) == len(result["back_s"])
    assert len([text for _, level, text in result["log"] if level == "INFO" and ": back after" in text]) == 5
    assert result["figures"]["reconnects"] == 5


def test_stalled_camera_is_noticed_in_seconds_and_back_when_it_sends_again(results: Results) -> None:
    result = found(results, "stall")
    assert result["noticed_s"] < 5
    require_back(result["back_s"])
    require_true_ages(result["looks"])


def test_camera_whose_first_picture_comes_late_works(results: Results) -> None:
    result = found(results, "slow_start")
    assert result["had_picture"]
    assert result["starts"] == 1, "opening it again restarts it"


def test_camera_that_is_slower_than_a_look_may_wait_works_also_after_replugging(results: Results) -> None:
    result = found(results, "slower_start")
    assert result["had_picture"]
    assert result["starts"] == [1, 2]
    [back_s] = result["back_s"]
    assert back_s is not None
    assert back_s < 8 + BACK_S + SLOW_S


def test_no_answer_is_given_on_a_picture_before_the_exposure_has_settled(results: Results) -> None:
    result = found(results, "dark_start")
    looks = answered(result["looks"])
    assert since(looks, result["replugged"]), "answered again after the second start"
    assert min(look["mean"] for look in looks) > 0.9 * SCENE


def test_black_picture_is_stale_until_it_has_lasted(results: Results) -> None:
    result = found(results, "covered_lens")
    online = next(state["t"] for state in result["states"] if state["online"])
    early = [look for look in result["looks"] if look["t"] < online + 8]
    assert early
    assert not answered(early)
    assert any(look["kind"] == "StaleFrame" and "black picture" in look["error"] for look in early)
    assert result["looks"][-1]["ok"], "a covered lens gives true pictures"


def test_old_picture_is_not_given_as_fresh_after_the_process_was_stopped(results: Results) -> None:
    result = found(results, "stopped")
    # Nine looks at once: the simulated cameras themselves send late.
    require_true_ages(result["looks"], error_s=2.0)
    later = answered(since(result["looks"], result["continued_at"]))
    assert len(later) > 3, "answered again"
    assert max(look["true"] for look in later) < 5


@pytest.mark.parametrize("case", ["gap", "gap_restarts", "cut"])
def test_damaged_picture_is_counted_and_the_next_one_taken(results: Results, case: str) -> None:
    result = found(results, case)
    looks = result["looks"]
    assert len(looks) > 10
    assert errors(looks) == set()
    assert not [look for look in looks if look["wrong"] is None or look["wrong"] > 0.001]
    assert result["figures"]["damaged"] > 10


@pytest.mark.parametrize("case", ["flip", "flip_restarts"])
def test_picture_with_a_wrong_byte_is_taken_for_damaged_where_that_can_be_told(results: Results, case: str) -> None:
    """A wrong byte may leave a valid JPEG of the right length: some pass."""
    result = found(results, case)
    assert len(answered(result["looks"])) > 10
    assert result["figures"]["damaged"] > 0


@pytest.mark.parametrize("case", ["only_gaps", "only_garbage"])
def test_camera_that_gives_only_bad_pictures_is_never_online(results: Results, case: str) -> None:
    result = found(results, case)
    assert [state["online"] for state in result["states_while_bad"]] == [False]
    require_back(result["back_s"])


def test_camera_that_turns_bad_goes_offline_and_says_why(results: Results) -> None:
    result = found(results, "turns_bad")
    assert [state["online"] for state in result["states"]] == [True, False]
    assert "damaged" in result["states"][-1]["reason"]
    assert len(warnings(result)) == 1


def test_busy_camera_is_named_as_such_and_taken_when_it_is_free(results: Results) -> None:
    result = found(results, "busy")
    reason = result["states"][0]["reason"]
    assert "in use by another program" in reason
    assert "not a video node" not in reason
    require_back(result["back_s"])


def test_reload_of_a_silent_camera_blames_no_other_program(results: Results) -> None:
    result = found(results, "reloaded")
    assert not [state for state in result["states"] if "another program" in (state["reason"] or "")]
    [back_s] = result["back_s"]
    assert back_s is not None
    assert back_s < 5


def test_refused_streamon_is_named(results: Results) -> None:
    result = found(results, "refused_start")
    assert "refused to start" in result["states"][0]["reason"]
    require_back(result["back_s"])


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("metadata", "is a metadata node of this camera"),
        ("absent_index", "/dev/video77 does not exist"),
        ("absent_link", "/dev/v4l/by-id/usb-none-video-index0 does not exist"),
        ("not_a_camera", "/dev/null is not a video device"),
        ("no_permission", "group video"),
    ],
)
def test_reason_names_what_is_wrong(results: Results, address: str, reason: str) -> None:
    result = found(results, "reasons")["results"][address]
    assert not answered(result["looks"])
    assert all(reason in text for text in errors(result["looks"])), errors(result["looks"])


def test_next_larger_size_is_taken_and_the_log_names_it(results: Results) -> None:
    result = found(results, "sizes")
    assert {tuple(look["size"]) for look in answered(result["looks"])} == {(1920, 1080)}
    assert "MJPG 1920x1080" in result["log"][0][2]


def test_size_of_the_config_is_taken(results: Results) -> None:
    result = found(results, "chosen_size")
    assert {tuple(look["size"]) for look in answered(result["looks"])} == {(640, 480)}
    assert "MJPG 640x480 at 10 fps" in result["log"][0][2]


def test_other_camera_under_the_same_index_is_not_asked(results: Results) -> None:
    result = found(results, "swapped")
    assert result["nodes"] == result["later"][::-1], "the numbers are swapped"
    assert not answered(since(result["looks"], result["replugged"]))
    reason = result["states"][-1]["reason"]
    assert "serial first" in reason
    assert "serial second" in reason


def test_check_warns_of_an_index(results: Results) -> None:
    assert "use usb:/dev/v4l/by-id/" in found(results, "swapped")["check"]


def test_other_camera_at_the_same_port_is_not_asked_and_the_right_one_is(results: Results) -> None:
    result = found(results, "other_at_port")
    assert result["meanwhile"]
    assert not answered(result["meanwhile"])
    require_back(result["back_s"])
    assert {look["number"] % 2 for look in answered(result["looks"])} == {0}


def test_two_cameras_of_one_serial_number_are_told_apart_by_port(results: Results) -> None:
    result = found(results, "same_serial")
    assert result["before"] != result["after"], "the link has changed owner"
    assert "by-path" in result["check"].split("share the link")[1]
    proposed = [line for line in result["init"].splitlines() if line.strip().startswith("source:")]
    assert len(proposed) == 2
    assert all("/dev/v4l/by-path/" in line for line in proposed)


def test_camera_without_mjpg_works(results: Results) -> None:
    result = found(results, "vivid_plain")
    assert errors(result["looks"]) == set()
    assert "MJPG" not in result["log"][0][2]


def test_streamon_that_fails_once_is_tried_again(results: Results) -> None:
    assert answered(found(results, "vivid_streamon")["looks"])


def test_failed_driver_is_opened_again(results: Results) -> None:
    require_back(found(results, "vivid_fatal")["back_s"])


def test_stand_in_does_what_the_driver_does(results: Results) -> None:
    """The ordinary tests of USB cameras run against support.usb; here it is held against the machine."""
    from support.usb import FakeCapture

    real = found(results, "driver")
    assert facts.format_facts(FakeCapture(sizes=facts.SIZES)) == real["formats"]
    capture = FakeCapture()
    silence = lambda on: capture.silent.set() if on else capture.silent.clear()  # noqa: E731
    assert facts.outage_facts(capture, silence, capture.unplugged.set) == real["outage"]
    refusing = FakeCapture()
    refusing.refuses_start = True
    assert facts.refused_facts(refusing) == real["refused"]
    missing = {name: found(results, "driver_without_mjpg")[name] for name in ("accepted", "is_mjpg")}
    assert facts.missing_format_facts(FakeCapture(has_mjpg=False)) == missing


def test_queue_of_the_driver_is_not_longer_than_the_stand_in_s(results: Results) -> None:
    """The ordinary tests put four old pictures into it."""
    old = [age for age in found(results, "driver")["queue"] if age > 1]
    assert 0 < len(old) <= 4
