"""Turns network errors and status codes into reasons for the user. No reason contains a credential."""

from __future__ import annotations

import errno
import socket
import ssl

from edged.cameras.bounded import ANSWER_S
from edged.cameras.camera_url import CameraUrl
from edged.core.errors import CameraError

STATUS_REASONS = {
    400: "the camera rejected the request (400 Bad Request)",
    403: "this user is not allowed to view this path (403 Forbidden)",
    404: "the path does not exist on the camera (404)",
    405: "the camera does not allow this request (405 Method Not Allowed)",
    410: "the path no longer exists on the camera (410)",
    429: "the camera received too many requests (429)",
    453: "the camera accepts no more viewers (453 Not Enough Bandwidth)",
    454: "the camera lost the session (454)",
    500: "the camera reports an internal error (500)",
    503: "the camera is busy or still starting (503 Service Unavailable)",
}
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


LOGIN_PAUSE_S = 60.0  # after a refused login: many cameras lock an account after a few failures


class LoginRefused(CameraError):
    """No login, an unsupported one, or a wrong one."""


class WrongPassword(LoginRefused):
    """The camera refused the user and password that were sent. Do not send them again for LOGIN_PAUSE_S."""


def network_error(error: OSError, url: CameraUrl) -> CameraError:
    return CameraError(_network_reason(error, url.host, url.where))


def _network_reason(error: OSError, host: str, where: str) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"the certificate of {where} is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"{where} does not speak TLS as expected ({error.reason or 'handshake failed'})"
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return f"host name {host} cannot be resolved: no DNS server answers"
        case socket.gaierror():
            return f"host name {host} is unknown"
        case TimeoutError():
            return f"no answer from {where} in {ANSWER_S:.0f} s"
        case ConnectionRefusedError():
            return f"connection refused by {where}"
        case ConnectionError():
            return f"{where} closed the connection"
        case _ if error.errno in UNREACHABLE:
            return f"{where} is unreachable"
        case _:
            return f"no connection to {where}: {error.strerror or type(error).__name__}"


def status_error(code: int, login_sent: bool) -> CameraError:
    """The error for an HTTP or RTSP status other than success."""
    if code == 401 and login_sent:
        return WrongPassword("wrong user or password (401)")
    if code == 401:
        return LoginRefused("the camera requires a user and a password (401)")
    if 300 <= code < 400:
        return CameraError(f"the camera redirects in a loop or to an unsupported address ({code})")
    return CameraError(STATUS_REASONS.get(code, f"the camera answers with status {code}"))
