"""What the server of the page needs of an app. Here, so that the app is imported only when it is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

SERVER = "edged"  # header of every answer, by which `edged doctor` tells the page from another program's


class App(Protocol):
    @property
    def asgi(self) -> Callable[..., Any]: ...

    async def close(self) -> None:
        """End the answers that never end by themselves."""
