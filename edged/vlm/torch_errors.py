"""Turns errors of torch into ModelError, and into ModelLost if the GPU can be used again only by another process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from edged.core.errors import ModelError, ModelLost
from edged.vlm.load_errors import first_line


@contextmanager
def torch_errors() -> Iterator[None]:
    """For each call that may wait for the GPU: an error of its work is raised by whatever waits for it next."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError("model: out of memory; use smaller pictures or a lower max_new_tokens") from error
    except RuntimeError as error:
        error_class = ModelLost if _gpu_is_lost() else ModelError
        raise error_class(f"model: {first_line(error)}") from error


def _gpu_is_lost() -> bool:
    """True after an error that has ended CUDA's context: from then on all calls of the process fail."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
