"""Loading a model, with its folder checked before torch is imported, which takes seconds."""

from __future__ import annotations

from threading import Event as StopSignal

from edged.core.errors import ModelFolderError, Stopped
from edged.core.interfaces import VisionModel
from edged.core.specs import ModelSpec
from edged.tools.signals import interrupting
from edged.tools.streams import progress
from edged.vlm.folder import read_config

DOWNLOAD = "without an NPU, download Qwen/Qwen2-VL-2B-Instruct as the README shows"


def load_model(spec: ModelSpec) -> VisionModel:
    """Raises ModelFolderError if the folder cannot work, ModelError if the device cannot."""
    try:
        read_config(spec.path)
    except ModelFolderError as error:
        if error.kind != "no_folder":
            raise
        hint = f"edged prepare makes one from a compiled model (edged prepare --help); {DOWNLOAD}"
        raise ModelFolderError(f"{error}; {hint}", error.kind) from None
    from edged.vlm.model import load

    return load(spec)


def load_in_foreground(spec: ModelSpec, stop: StopSignal) -> VisionModel:
    """For a command that only waits for the model: shows the progress, and a signal ends the loading.

    Raises as load_model does, and Stopped or KeyboardInterrupt. Main thread only.
    """
    with interrupting(), progress(f"loading the model {spec.path}"):
        if stop.is_set():
            raise Stopped
        return load_model(spec)
