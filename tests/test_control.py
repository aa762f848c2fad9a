"""`edged reload` through the local socket of the running edged, without a broker."""

from __future__ import annotations

import select
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.broker import free_port
from support.making import picture
from support.running import Edged

from edged.cli import main
from edged.config.load import load
from edged.core.errors import EdgedError, Stopped
from edged.core.requests import Received, ReloadRequest, Response
from edged.service.control import ControlSocket, socket_path
from edged.tools.reload import reload


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a path that is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="edged-"))
    yield folder
    shutil.rmtree(folder)


class Listening:
    """A control socket for the config `edged.yaml`, which responds with `response`."""

    def __init__(self, folder: Path, response: Response | None) -> None:
        self.path, self.config = folder / "control.sock", folder / "edged.yaml"
        self.received: list[Received] = []
        self.response = response
        self.arrived = threading.Event()
        self.control = ControlSocket(self.path, self.config, self._receive)

    def __enter__(self) -> Listening:
        self.control.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.control.stop()

    def _receive(self, received: Received) -> None:
        self.received.append(received)
        if self.response:
            received.respond(self.response)
        self.arrived.set()


def reloaded(listening: Listening, config: Path | None = None) -> int:
    return reload(config or listening.config, threading.Event(), listening.path)


def test_a_reload_prints_the_revision_that_is_in_force(folder: Path, capsys: pytest.CaptureFixture[str]):
    with Listening(folder, Response({"config_rev": "r2"})) as listening:
        assert reloaded(listening) == 0
    assert [received.request for received in listening.received] == [ReloadRequest()]
    assert capsys.readouterr().out == "config reloaded: revision r2 is in force\n"


def test_a_refused_config_is_an_error_with_the_reason(folder: Path):
    with (
        Listening(folder, Response(error="config not reloaded: line 3")) as listening,
        pytest.raises(EdgedError, match=r"^config not reloaded: line 3$"),
    ):
        reloaded(listening)


def test_an_edged_with_another_config_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]):
    other = folder / "other.yaml"
    other.write_text(f"model: {{path: m}}\nmqtt: {{url: 'mqtt://127.0.0.1:{free_port()}'}}\ncameras: {{}}\n")
    with Listening(folder, Response({})) as listening, pytest.raises(EdgedError, match=r"broker .* connection refused"):
        reloaded(listening, other)
    assert listening.received == []


def test_a_config_is_the_same_under_a_relative_path_and_a_link(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "edged.yaml").touch()
    (folder / "link.yaml").symlink_to("edged.yaml")
    monkeypatch.chdir(folder)
    with Listening(folder, Response({"config_rev": "r"})) as listening:
        assert (reloaded(listening, Path("edged.yaml")), reloaded(listening, folder / "link.yaml")) == (0, 0)


@pytest.mark.parametrize("line", [b"", b"x" * 9000, b"[]\n", b'{"request": "stop"}\n', b"\xff\n", b"[" * 8000 + b"\n"])
def test_what_is_no_request_is_not_passed_on_and_does_not_end_the_service(folder: Path, line: bytes):
    with Listening(folder, Response({"config_rev": "r"})) as listening:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(listening.path))
            connection.sendall(line)
        assert listening.received == []
        assert reloaded(listening) == 0


def test_an_end_of_edged_before_the_response_is_an_error(folder: Path):
    with socket.socket(socket.AF_UNIX) as ending:
        ending.bind(str(folder / "control.sock"))
        ending.listen()

        def end() -> None:
            connection, _ = ending.accept()
            with connection:
                connection.recv(4096)

        thread = threading.Thread(target=end)
        thread.start()
        with pytest.raises(EdgedError, match="edged ended before it responded"):
            reload(folder / "edged.yaml", threading.Event(), folder / "control.sock")
        thread.join(10)


def test_a_stop_signal_ends_the_wait(folder: Path):
    with Listening(folder, None) as listening:
        with pytest.raises(Stopped):
            reload(listening.config, listening.arrived, listening.path)
        listening.received[0].respond(Response(error="edged is stopping"))  # the requester has gone


def test_the_socket_is_for_the_user_and_the_group_and_goes_with_the_service(folder: Path):
    with Listening(folder, None) as listening:
        assert stat.S_IMODE(listening.path.stat().st_mode) == 0o660
    assert not listening.path.exists()


def test_a_socket_that_a_killed_process_left_is_replaced(folder: Path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "control.sock"))
    with Listening(folder, Response({"config_rev": "r"})) as listening:
        assert reloaded(listening) == 0


def test_a_path_that_cannot_be_used_is_reported_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    control = ControlSocket(deep / "control.sock", tmp_path / "edged.yaml", lambda _: None)
    control.start()
    control.stop()
    need = "`edged reload` and `systemctl reload` need the broker"
    assert caplog.messages == [f"control socket {deep}/control.sock: cannot listen: af_unix path too long; {need}"]


def test_the_socket_is_in_the_folder_that_systemd_made_else_in_the_users():
    config = Path("/etc/edged/edged.yaml")
    assert socket_path(config, {"RUNTIME_DIRECTORY": "/run/edged:/run/x"}) == Path("/run/edged/control.sock")
    assert socket_path(config, {}) is None
    here = socket_path(config, {"XDG_RUNTIME_DIR": "/run/user/1000"})
    assert here is not None
    assert here.parent == Path("/run/user/1000/edged")
    assert here != socket_path(Path("/etc/edged/other.yaml"), {"XDG_RUNTIME_DIR": "/run/user/1000"})


@pytest.mark.slow
def test_a_running_edged_without_a_broker_has_the_new_config_when_the_command_returns(
    folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    Image.fromarray(picture(1)).save(folder / "yard.png")
    config = folder / "edged.yaml"
    text = (
        f"node: box\nmodel: {{path: {tiny_folder}, max_new_tokens: 4}}\nmqtt: {{url: 'mqtt://127.0.0.1:{free_port()}'}}\n"
        "cameras: {yard: {source: yard.png, every: 1h, ask: {people: {prompt: PROMPT, answer: integer}}}}\n"
    )
    config.write_text(text)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Edged("run", "--config", config) as edged:
        edged.wait_for("INFO ready: ")
        for number in range(3):
            config.write_text(text.replace("PROMPT", f"How many of {number}?"))
            logged = len(edged.lines)
            assert main(["reload", "--config", str(config)]) == 0
            assert f"revision {load(config).rev} is in force" in capsys.readouterr().out
            edged.wait_for("INFO config reloaded: ", 5, after=logged)
        config.write_text(text.replace("answer:", "anwser:"))
        assert main(["reload", "--config", str(config)]) == 1
        assert 'edged.yaml:4: camera "yard": question "people": unknown key "anwser"' in capsys.readouterr().err
        assert edged.stop()[0] == 0
        assert not list((folder / "edged").iterdir())


@pytest.mark.parametrize("limit_s", [0.0, 900.0], ids=["silent", "reset"])
def test_an_edged_that_does_not_respond_or_resets_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limit_s: float
):
    monkeypatch.setattr("edged.tools.reload.RELOAD_S", limit_s)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "control.sock"))
        silent.listen()

        def reset() -> None:
            connection, _ = silent.accept()
            select.select([connection], [], [], 10)
            connection.close()  # with a request that was not read: a reset

        thread = threading.Thread(target=reset)
        if limit_s:
            thread.start()
        expected = "edged ended before it responded" if limit_s else "no response from edged within 0 s"
        with pytest.raises(EdgedError, match=f"^{expected}$"):
            reload(folder / "edged.yaml", threading.Event(), folder / "control.sock")
        if limit_s:
            thread.join(10)
