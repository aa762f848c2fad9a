"""`edged look`: one picture of a camera, as the model would see it. No model is loaded, and nothing is published."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from threading import Event as StopSignal
from typing import TYPE_CHECKING

from edged.config.phrases import suggestion
from edged.core.errors import EXIT_OK, CameraError, EdgedError, ModelFolderError, UsageError
from edged.core.specs import CameraSpec, Config, ModelSpec, RegionSpec
from edged.core.text import counted, spoken
from edged.core.types import Frame
from edged.service.outline import outlined
from edged.service.region import cut
from edged.tools.doctor.cameras import usb_node
from edged.tools.doctor.machine import Machine, holders
from edged.tools.invocation import command_line
from edged.tools.streams import progress, write_line
from edged.vlm.fit import fitted, fixed_side
from edged.vlm.folder import read_config

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True, slots=True)
class LookOptions:
    """`region` None is the whole picture. With `outline`, masks and regions are drawn into the saved picture."""

    camera: str
    region: str | None = None
    save: Path | None = None
    outline: bool = False


def look(config: Config, options: LookOptions, stop: StopSignal, machine: Machine | None = None) -> int:
    """Take a picture, describe it and save it; the exit code. Raises UsageError, CameraError, or Stopped."""
    camera = _camera(config, options.camera)
    region = _region(camera, options.region)
    _check_save(options)
    frame = _grab(camera, stop, machine or Machine())
    height, width = frame.rgb.shape[:2]
    write_line(f"camera: {camera.name}, {width}x{height}, {spoken(frame.age_s())} old")
    write_line(f"frame_sha256: {frame.sha256}")
    image = _outlined(frame, camera) if options.outline else _as_seen(frame, region, config.model)
    if options.save:
        _save(image, options.save)
    else:
        write_line(f"not saved; to save it: {_saving(config, camera, region)}")
    return EXIT_OK


def _camera(config: Config, name: str) -> CameraSpec:
    if camera := config.camera(name):
        return camera
    names = [camera.name for camera in config.cameras]
    raise UsageError(f'{config.path} has no camera "{name}"{suggestion(name, names) or _all_of(names)}')


def _region(camera: CameraSpec, name: str | None) -> RegionSpec | None:
    region = camera.region(name)
    if name is not None and not region:
        names = [region.name for region in camera.regions]
        raise UsageError(f'camera "{camera.name}" has no region "{name}"{suggestion(name, names) or _all_of(names)}')
    return region


def _all_of(names: list[str]) -> str:
    return f"; it has: {', '.join(names)}" if names else "; it has none"


def _check_save(options: LookOptions) -> None:
    if options.save and options.save.suffix.lower() not in FORMATS:
        raise UsageError(f"--save {options.save}: the name must end in .png (exact) or .jpg (compressed)")
    if options.outline and not options.save:
        raise UsageError("--outline needs --save FILE")


def _saving(config: Config, camera: CameraSpec, region: RegionSpec | None) -> str:
    """The command that saves the same picture."""
    part = ["--region", region.name] if region else []
    file = f"{camera.name}-{region.name}.png" if region else f"{camera.name}.png"
    return command_line("look", camera.name, *part, "--config", str(config.path), "--save", file)


def _grab(spec: CameraSpec, stop: StopSignal, machine: Machine) -> Frame:
    """One frame, by a connection of its own. Bounded by the camera's time-outs."""
    from edged.cameras.source import open_camera

    camera = open_camera(spec, lambda _: None)
    camera.start()
    try:
        with progress(f"waiting for a picture of {spec.source.shown}"):
            return camera.grab(stop)
    except CameraError as error:
        users = holders([usb_node(spec)], machine.proc) if spec.source.kind == "usb" else []
        if users:
            raise CameraError(f"camera {spec.name}: in use by {', '.join(users)}; stop it to look here") from None
        raise CameraError(f"camera {spec.name}: {error}") from None
    finally:
        camera.close()


def _as_seen(frame: Frame, region: RegionSpec | None, model: ModelSpec) -> Image:
    """What is given to the processor of the model. Describes it."""
    picture = cut(frame, region)
    height, width = picture.rgb.shape[:2]
    if region:
        write_line(f"region: {region.name}, {width}x{height}")
    try:
        side = fixed_side(model.path, read_config(model.path))
    except ModelFolderError as error:
        write_line(f"the model sees: unknown ({error}); the picture is shown at full size")
        return fitted(picture, model.fit, None)
    image = fitted(picture, model.fit, side)
    how = f"{model.fit}, the only size that the model takes" if side else "as it is; the model's processor resizes it"
    write_line(f"the model sees: {image.width}x{image.height} ({how})")
    return image


def _outlined(frame: Frame, camera: CameraSpec) -> Image:
    names = ", ".join(region.name for region in camera.regions) or "none"
    write_line(f"drawn: {counted(len(camera.mask), 'mask')}; regions: {names}")
    return outlined(frame, camera)


def _save(image: Image, path: Path) -> None:
    kind, data = FORMATS[path.suffix.lower()], io.BytesIO()
    image.save(data, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    try:
        path.write_bytes(data.getvalue())
    except OSError as error:
        raise EdgedError(f"{path} cannot be written: {error.strerror}") from None
    note = "" if kind == "PNG" else " (compressed; a .png is exact)"
    write_line(f"saved: {path}, {image.width}x{image.height}{note}")
