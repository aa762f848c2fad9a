"""Downloads files of a model from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from httpx import HTTPError
from huggingface_hub import errors, snapshot_download

from edged.core.errors import ModelFolderError


def download(name: str, patterns: Sequence[str]) -> Path:
    """A folder with the files of this model that match. Raises ModelFolderError."""
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except (HTTPError, OSError, ValueError) as error:
        reason = _reason(error)
        raise ModelFolderError(f"prepare: the processor {name} could not be downloaded: {reason}") from error


def _reason(error: Exception) -> str:
    # raised if the Hub fails and nothing is in the cache; the Hub's failure is its cause
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    match error:
        case errors.GatedRepoError():
            return "access is restricted; accept the model's terms on the Hub, then run: hf auth login"
        case errors.RepositoryNotFoundError():
            return "the Hub has no model of this name, or it is private; for a private model run: hf auth login"
        case errors.HFValidationError():
            return "this is not a valid name; a model on the Hub is OWNER/NAME"
        case errors.HfHubHTTPError():
            return f"the Hub answered with status {error.response.status_code}; try again later"
        case HTTPError() | ConnectionError() | errors.FileMetadataError() | errors.LocalEntryNotFoundError():
            step = "download it on another machine and name its folder instead"
            return f"the Hub cannot be reached; {step} [{type(error).__name__}]"
        case OSError():
            return f"{error.filename or 'the cache folder'}: {error.strerror or error}"
    return f"{error} [{type(error).__name__}]"
