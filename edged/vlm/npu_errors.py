"""Turns errors of Mobilint's runtime into ModelError: the failure, the device, and the next step."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edged.core.errors import ErrorKind, ModelError, ModelFolderError, ModelLost
from edged.vlm.load_errors import first_line, has_run_out
from edged.vlm.npu_parts import NpuPart

CODE = re.compile(r"\b(?:Model|Acc|Driver)_\w+")
DEVICE_LOST = ("Model_NotAlive", "Model_NotLaunched", "Model_TaskQueueClosed", "Model_TaskQueueTimeout")


@dataclass(frozen=True, slots=True)
class Translation:
    """The meaning of some of the runtime's error codes while a model is loaded."""

    codes: tuple[str, ...]
    error: type[ModelError]
    text: str
    kind: ErrorKind = "other"


TRANSLATIONS = (
    Translation(
        ("Driver_NotInitialized",),
        ModelError,
        "the NPU driver does not respond for {device}; check that the device node exists and that this user may open "
        "it (ls -l /dev/aries*), and that the driver is loaded (lsmod)",
    ),
    Translation(
        ("Acc_DeviceNotFound", "Acc_UnknownDevice", "Acc_AmbiguousDevice"),
        ModelError,
        "there is no NPU {device}; list the NPUs (ls /dev/aries*) and check model.cores",
    ),
    Translation(
        ("Acc_CoreAlreadyInUse", "Driver_FailedToClaimCores", "Driver_FailedToLockCore"),
        ModelError,
        "{cores} of {device} is in use by another program or another worker; stop it, or change model.cores",
        kind="npu_in_use",
    ),
    Translation(
        (
            "Model_FailedToLoadMXQ", "Model_BrokenMXQ", "Model_FailedToOpenModelDescFile",
            "Model_FailedToOpenSectionBinary",
        ),
        ModelFolderError,
        "{mxq} is not an MXQ file that this runtime can read; copy it again, or compile it for this runtime's version",
    ),
    Translation(
        (
            "Model_MXQAndModelConfigNotMatch", "Model_NoTargetCores", "Model_NoGlobalCoreWithGlobalMultiMode",
            "Model_NotSupported", "Model_IsNotSupportedHardware",
        ),
        ModelFolderError,
        "{mxq} was not compiled for {cores}; set model.cores to the cores that it was compiled for",
    ),
    Translation(
        (
            "BadAlloc", "Driver_FailedToAllocateModelMemory", "Driver_FailedToAllocateHostMemory",
            "Model_FailedToAllocMemory",
        ),
        ModelError,
        "not enough memory on {device} for {mxq}; stop other programs that use this NPU, or configure fewer workers",
    ),
    Translation(
        ("Acc_NPUTimeout", "Driver_WaitDoneTimeout", "Driver_FailedToWaitDone", "Model_TaskQueueTimeout"),
        ModelError,
        "{device} did not respond before the driver's time-out ({cores}); if this persists, power-cycle the box",
    ),
    Translation(
        ("Model_CacheOverflow",),
        ModelError,
        "the question and its answer do not fit into the KV cache of {mxq}",
    ),
)  # fmt: skip
BY_CODE = {code: translation for translation in TRANSLATIONS for code in translation.codes}


@contextmanager
def npu_errors(parts: list[NpuPart], during_look: bool = False) -> Iterator[None]:
    """Turns errors of the vendor's code into a ModelError; with `during_look`, a device error is a ModelLost."""
    try:
        yield
    except (AttributeError, TypeError, NameError):  # bugs
        raise
    except Exception as error:  # the vendor's code raises bare Exceptions too
        raise _translated(error, _failed_part(error, parts), during_look) from error


def _translated(error: Exception, part: NpuPart, during_look: bool) -> ModelError:
    code = _code(error)
    device_error = code.startswith(("Driver_", "Acc_")) or code in DEVICE_LOST
    may_work = device_error or has_run_out(error)
    unknown = Translation((), ModelError if may_work else ModelFolderError, "{part} cannot be used: {reason}")
    translation = BY_CODE.get(code, unknown)
    error_class = translation.error
    if during_look:
        error_class = ModelLost if device_error else ModelError
    reason = first_line(error).removesuffix(" occurred.")
    text = translation.text.format(part=part, mxq=part.mxq, cores=part.cores, device=part.devices, reason=reason)
    return error_class(f"model: {text} [{code}]", translation.kind)


def _code(error: Exception) -> str:
    """The runtime's error code in the message, else the name of the exception's class."""
    if "badalloc" in str(error).lower().replace(" ", ""):  # the vendor's own code recognises it like this
        return "BadAlloc"
    match = CODE.search(str(error))
    return match[0] if match else type(error).__name__


def _failed_part(error: BaseException, parts: list[NpuPart]) -> NpuPart:
    """The part that raised this while it was loaded or called; the first if that is unknown."""
    failed = parts[0]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        path = getattr(getattr(owner, "npu_backend", owner), "mxq_path", None)
        failed = next((part for part in parts if str(part.mxq) == path), failed)
    return failed
