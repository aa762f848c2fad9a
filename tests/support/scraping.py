"""Reads a text of metrics, and fetches one over HTTP."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from support.broker import HOST


@dataclass(frozen=True)
class Response:
    status: int
    content_type: str | None
    text: str


def fetch(port: int, path: str = "/metrics", method: str = "GET", host: str = HOST) -> Response:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return Response(response.status, response.getheader("Content-Type"), response.read().decode())
    finally:
        connection.close()


def listens(port: int, host: str = HOST) -> bool:
    """True if the port accepts a connection."""
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each sample."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def values(text: str, name: str) -> dict[str, float]:
    """The samples of this name, by the values of their labels: `{"dock people ok": 2.0}`."""
    return {" ".join(labels.values()): value for sample, labels, value in samples(text) if sample == name}
