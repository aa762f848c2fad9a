from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
DRAWN = """
import os, sys
os.getpid = lambda: 7 + 110 * int(sys.argv[1])  # all would begin with the same block
from support.broker import free_port
print(*(free_port() for _ in range(200)), flush=True)
sys.stdin.read()
"""


def test_processes_that_run_at_once_are_given_different_ports() -> None:
    command = [sys.executable, "-c", DRAWN]
    children = [
        subprocess.Popen([*command, str(n)], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for n in range(3)
    ]
    ports = []
    for child in children:
        assert child.stdout
        ports += child.stdout.readline().split()
    for child in children:
        child.communicate(timeout=20)
    assert len(ports) == len(set(ports)) == 600
