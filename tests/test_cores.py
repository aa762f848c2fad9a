"""The setting for cores: what each value means to the vendor's runtime, and the messages for invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config.load import ConfigError, load
from edged.core.npu_cores import Cores, of_config, parsed
from edged.core.specs import ModelSpec


@pytest.mark.parametrize(
    ("setting", "mode", "targets", "count"),
    [
        ("0:0", "single", ["0:0:0"], 1),
        ("1:3", "single", ["0:1:3"], 1),
        ("1:0:3", "single", ["1:0:3"], 1),
        ("multi:1", "multi", ["0:1"], 4),
        ("global4:0", "global4", ["0:0"], 4),
        ("global4:1:0", "global4", ["1:0"], 4),
        ("global8", "global8", ["0:0", "0:1"], 8),
        ("global8:1", "global8", ["1:0", "1:1"], 8),
    ],
)
def test_a_setting_means_a_mode_and_targets(setting: str, mode: str, targets: list[str], count: int):
    cores = parsed(setting)
    assert (cores.mode, list(cores.targets), len(cores.occupied())) == (mode, targets, count)
    keys = cores.settings()
    assert keys == {"core_mode": mode, "target_cores" if mode == "single" else "target_clusters": targets}
    assert of_config(keys) == cores


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("zero", "is not a valid core setting; write "),
        ("", "is not a valid core setting"),
        ("global16:0", "is not a valid core setting"),
        ("0", 'is not a core; write "0:0"'),
        ("0:0:0:0", 'is not a core; write "0:0"'),
        ("2:0", "names cluster 2, but an NPU has only the clusters 0 and 1"),
        ("0:4", "names core 4, but a cluster has only the cores 0 to 3"),
        ("global4", "needs a cluster; write global4:0, global4:1, or global4:1:0"),
        ("multi:0:0:0", "needs a cluster; write multi:0"),
        ("multi:2", "names cluster 2"),
        ("global8:0:1", "uses both clusters of an NPU; write global8, or global8:1"),
    ],
)
def test_the_message_for_an_invalid_setting_says_what_is_valid(setting: str, sentence: str):
    with pytest.raises(ValueError, match="^" + sentence.replace("(", r"\(")):
        parsed(setting)


@pytest.mark.parametrize(
    ("part", "cores"),
    [
        ({"target_cores": ["0:0"]}, Cores("single", ("0:0:0",))),
        ({"target_cores": ["1:2"], "dev_no": 1}, Cores("single", ("1:1:2",))),
        ({"core_mode": "auto"}, Cores("single", ("0:0:0",))),
        ({"core_mode": "single", "target_cores": ["0:0", "0:1"]}, Cores("single", ("0:0:0", "0:0:1"))),
        ({"core_mode": "global4", "target_clusters": [1]}, Cores("global4", ("0:1",))),
        ({"core_mode": "multi", "target_cores": ["0:0", "0:1"]}, Cores("multi", ("0:0",))),
        ({"core_mode": "global8"}, Cores("global8", ("0:0", "0:1"))),
        ({"core_mode": "global8", "target_clusters": ["1:0", "1:1"]}, Cores("global8", ("1:0", "1:1"))),
    ],
)
def test_the_cores_of_a_compiled_folder_are_read_from_its_config(part: dict, cores: Cores):
    assert of_config(part) == cores


CAMERAS = "cameras: {dock: {source: usb:0, ask: {a: {prompt: x}}}}\n"


def written(folder: Path, model: str) -> Path:
    path = folder / "edged.yaml"
    path.write_text(f"model:\n  path: .\n{model}{CAMERAS}")
    return path


def test_cores_and_workers_of_a_config(tmp_path: Path):
    spec = load(written(tmp_path, "  cores: {text: 0:0, vision: global4:1}\n")).model
    assert spec == ModelSpec(tmp_path.resolve(), (("text", "0:0"), ("vision", "global4:1")))
    assert spec.each_worker() == [spec]
    text = "  workers:\n    - {text: 0:0, vision: 0:1}\n    - {text: 1:0:0, vision: 1:0:1}\n"
    spec = load(written(tmp_path, text)).model
    assert [dict(worker.cores)["text"] for worker in spec.each_worker()] == ["0:0", "1:0:0"]
    assert [worker.workers for worker in spec.each_worker()] == [(), ()]


def test_another_folder_has_its_own_cores_and_the_fit_of_the_config(tmp_path: Path):
    path, other = tmp_path / "one", tmp_path / "other"
    spec = ModelSpec(path, (("text", "0:0"),), "letterbox", workers=((("text", "0:1"),),))
    assert spec.in_folder(path) == spec
    assert spec.in_folder(other) == ModelSpec(other, fit="letterbox")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            '  cores: {text: "0:9"}\n',
            'edged.yaml:3: model: cores.text "0:9" names core 9, but a cluster has only the cores 0 to 3',
        ),
        (
            "  cores:\n    text: 0:0\n    vision: global4\n",
            'edged.yaml:5: model: cores.vision "global4" needs a cluster',
        ),
        ("  cores: {txt: 0:0}\n", 'edged.yaml:3: model: unknown key "txt". Did you mean "text"?'),
        ("  cores: {text: 3}\n", "edged.yaml:3: model: cores.text must be text, not 3"),
        (
            "  workers:\n    - {text: 0:0, vision: 0:1}\n    - {text: 0:2}\n",
            "edged.yaml:5: model: each worker needs cores",
        ),
        (
            "  workers:\n    - {text: 0:0, vision: 0:1}\n    - {text: 1:0, vision: multi:0}\n",
            "edged.yaml:5: model: workers 1 and 2 both use core 0:0:0; a core can belong to one worker only",
        ),
        (
            "  workers:\n    - {text: 0:0, vision: 0:1}\n    - {text: x, vision: 1:0}\n",
            'edged.yaml:5: model: workers[1].text "x" is',
        ),
        (
            "  cores: {text: 0:0}\n  workers: [{text: 0:0, vision: 0:1}]\n",
            "edged.yaml:4: model: cores and workers both say where the model runs; keep one of them",
        ),
    ],
)
def test_invalid_cores_are_reported_with_their_line(tmp_path: Path, model: str, sentence: str):
    with pytest.raises(ConfigError) as raised:
        load(written(tmp_path, model))
    assert [problem for problem in raised.value.problems if problem.startswith(f"{tmp_path}/{sentence}")] != [], (
        raised.value.problems
    )
    assert len(raised.value.problems) == 1
