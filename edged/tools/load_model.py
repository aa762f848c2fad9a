"""Loading a model, with its folder checked before torch is imported, which takes seconds."""

from __future__ import annotations

from edged.core.errors import ModelFolderError
from edged.core.interfaces import VisionModel
from edged.core.specs import ModelSpec
from edged.vlm.folder import read_config


def load_model(spec: ModelSpec) -> VisionModel:
    """Raises ModelFolderError if the folder cannot work, ModelError if the device cannot."""
    if not spec.path.is_dir():
        hint = "edged prepare makes one from a compiled model (edged prepare --help)"
        raise ModelFolderError(f"model: there is no folder {spec.path}; {hint}")
    read_config(spec.path)
    from edged.vlm.model import load

    return load(spec)
