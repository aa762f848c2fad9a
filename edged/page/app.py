"""The routes of the page. Contract: the addresses under `/api/`."""

from __future__ import annotations

from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edged.core.specs import CameraSpec, PageSpec
from edged.page import state
from edged.page.feed import EventStream, Feed
from edged.page.frame_jpegs import FrameJpegs
from edged.page.guard import UNEXPECTED, Guard
from edged.page.history import HistoryApi
from edged.page.html import page
from edged.page.json_response import JsonResponse
from edged.page.labelling import Labelling
from edged.page.readings import Readings
from edged.page.trying import Trying
from edged.page.verdicts import Verdicts
from edged.service.observed import Observed

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}
FULL = "Too many browsers have this page open; close one.\n"
FULL_S = "5"


class PageApp:
    """Answers requests from what `observed` and `readings` say. `asgi` is for the thread of the event loop."""

    def __init__(self, observed: Observed, spec: PageSpec, readings: Readings | None = None) -> None:
        self._observed = observed
        readings = readings or Readings()
        self._verdicts = Verdicts(readings.verdicts)
        self._feed = Feed(observed, self._verdicts)
        self._history = HistoryApi(observed, readings)
        self._jpegs = FrameJpegs(observed.cameras, lambda snapshot: snapshot.frame)
        self._tried = FrameJpegs(observed.cameras, lambda snapshot: snapshot.tried)
        self._static = _static_files()
        routes = [  # asked in this order: most requests are for frames
            Route("/api/frame/{camera}.jpg", self._frame),
            Route("/", self._board),
            Route("/camera/{camera}", self._camera),
            Route("/label", self._label_page),
            *Labelling(observed).routes(),
            Route("/api/state", self._state),
            Route("/api/events", self._events),
            Route("/api/history", self._history.respond),
            Route("/api/try", Trying(observed).respond, methods=["POST"]),
            Route("/static/{name}", self._file),
        ]
        handlers = {HTTPException: _error, Exception: _unexpected}
        self.asgi: ASGIApp = Guard(Starlette(routes=routes, exception_handlers=handlers), spec)

    async def close(self) -> None:
        """End what never ends by itself, or may take long."""
        self._history.close()
        self._feed.close()

    async def _board(self, request: Request) -> Response:
        return self._page("board.html")

    async def _camera(self, request: Request) -> Response:
        """A page also if there is no such camera: it may have left the config, or come back."""
        name = request.path_params["camera"]
        known = self._observed.config().camera(name) is not None
        return self._page("camera.html", 200 if known else 404, camera=name)

    async def _label_page(self, request: Request) -> Response:
        return self._page("label.html")

    async def _state(self, request: Request) -> Response:
        self._verdicts.update()
        shown = state.state(self._observed)
        return JsonResponse({**shown, "cameras": [self._verdicts.add_to(camera) for camera in shown["cameras"]]})

    async def _events(self, request: Request) -> Response | EventStream:
        if self._feed.full:
            raise HTTPException(503, FULL, {"Retry-After": FULL_S})
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return EventStream(self._feed)

    async def _frame(self, request: Request) -> Response:
        """The newest analysed frame, or with `?tried=DIGEST` that of the newest prompt that was tried.

        No browser keeps it on its disk, where it would stay after a mask has covered a part of it.
        """
        camera, tried = self._known(request).name, request.query_params.get("tried")
        newest = await (self._jpegs if tried is None else self._tried).jpeg(camera)
        if newest is None or tried not in (None, newest[0]):
            raise HTTPException(404, "there is no such frame of this camera\n")
        digest, data = newest
        return Response(data, media_type="image/jpeg", headers={"ETag": f'"{digest}"'})

    async def _file(self, request: Request) -> Response:
        """One of the files that came with the program. They are in memory: no path of a request is opened."""
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404, "not found\n")
        media_type, data = self._static[name]
        return Response(data, media_type=media_type, headers={"Cache-Control": "no-cache"})

    def _page(self, template: str, status: int = 200, **values: str) -> Response:
        config = self._observed.config()
        return page(template, {"node": config.node, "language": config.language, **values}, status)

    def _known(self, request: Request) -> CameraSpec:
        name = request.path_params["camera"]
        if spec := self._observed.config().camera(name):
            return spec
        raise HTTPException(404, "there is no such camera\n")


def _static_files() -> dict[str, tuple[str, bytes]]:
    """Media type and content by name."""
    folder = files("edged.page") / "static"
    found = [(each.name, each.read_bytes()) for each in folder.iterdir()]
    return {name: (TYPES["." + name.rpartition(".")[2]], data) for name, data in found}


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(error.detail, error.status_code, headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Starlette raises the error again after this."""
    return PlainTextResponse(UNEXPECTED, 500)
