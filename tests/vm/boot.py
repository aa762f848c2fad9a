"""Boots the virtual machine and collects what its cases found: python tests/vm/boot.py [--checkout FOLDER] [CASE ...]

The guest runs under qemu without KVM: Debian's kernel, simulated USB cameras on its real `uvcvideo`, and `vivid`. Its
file system is the host's /usr, Python and checkout, read-only; it has no network.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

VM = Path(__file__).resolve().parent
sys.path.insert(0, str(VM.parent))

from vm import initrd, packages, pictures  # noqa: E402 found through the line above

LIMIT_S = 900.0
MEMORY_MB = 2048
KERNEL_OPTIONS = "console=ttyS0 panic=-1 mitigations=off quiet loglevel=4 rdinit=/init"
SHARE_OPTIONS = "security_model=none,multidevs=remap"


def run(checkout: Path, cases: list[str], out: Path, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Boot, run these cases (all if there are none) on `checkout`'s edged, and return their results by name.

    `out` gets console.log and the results, a file each. Raises packages.Missing, TimeoutError.
    """
    tree = packages.unpacked()
    shares = [*read_only(checkout), (out, "/out")]
    start = shlex.join([sys.executable, f"{VM}/guest/main.py", "/out"])
    (out / "initrd").write_bytes(initrd.build(tree, [place for _, place in shares], start))
    for old in out.glob("*.json"):
        old.unlink()
    pictures.write(out)
    (out / "cases").write_text(json.dumps({"checkout": str(checkout), "cases": cases}))
    with (out / "console.log").open("wb") as console:
        try:
            subprocess.run(
                qemu(tree, out / "initrd", shares),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                timeout=limit_s,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the virtual machine did not end within {limit_s:g} s: see {out}/console.log") from None
    return {file.stem: json.loads(file.read_text()) for file in sorted(out.glob("*.json"))}


def read_only(checkout: Path) -> list[tuple[Path, str]]:
    """The host's folders that the guest sees, and where: /usr, this interpreter's, these files, and the checkout."""
    environment = Path(sys.prefix)
    paths = [Path("/usr"), environment, environment.resolve(), Path(sys.base_prefix), VM, checkout]
    distinct = [path for path in dict.fromkeys(paths) if not any(other in path.parents for other in paths)]
    return [(path, str(path)) for path in distinct]


def qemu(tree: Path, disk: Path, shares: list[tuple[Path, str]]) -> list[str]:
    """The command. Only the share at /out can be written to."""
    [kernel] = tree.glob("boot/vmlinuz-*")
    line = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MB)]
    line += ["-nographic", "-no-reboot", "-nic", "none", "-kernel", str(kernel), "-initrd", str(disk)]
    line += ["-append", KERNEL_OPTIONS]
    for number, (path, place) in enumerate(shares):
        folder = str(path).replace(",", ",,")  # qemu's way to write a comma
        readonly = "off" if place == "/out" else "on"
        line += ["-virtfs", f"local,path={folder},mount_tag=share{number},readonly={readonly},{SHARE_OPTIONS}"]
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--checkout", type=Path, default=VM.parent.parent, help="whose edged is tested")
    parser.add_argument("--out", type=Path, help="folder for the console and the results; default: a new one")
    arguments = parser.parse_args()
    out = (arguments.out or Path(tempfile.mkdtemp(prefix="edged-vm-"))).resolve()
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    results = run(arguments.checkout.resolve(), arguments.cases, out)
    print(json.dumps(results, indent=1))
    print(
        f"{len(results)} results in {time.monotonic() - began:.0f} s; console and results are in {out}", file=sys.stderr
    )


if __name__ == "__main__":
    main()
