"""Boots the virtual machine and collects what its cases found: python tests/vm/boot.py [--checkout FOLDER] [CASE ...]

The guest runs under qemu without KVM: Debian's kernel, simulated USB cameras on its real `uvcvideo`, and `vivid`. Its
file system is the host's /usr, Python and checkout, read-only; it has no network.
"""

from __future__ import annotations

import argparse
import json
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


def run(checkout: Path, cases: list[str], out: Path, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Boot, run these cases (all if there are none) on `checkout`'s edged, and return their results by name.

    `out` gets console.log and the results, a file each. Raises packages.Missing, TimeoutError.
    """
    tree = packages.unpacked()
    (out / "initrd").write_bytes(initrd.build(tree))
    for old in out.glob("*.json"):
        old.unlink()
    pictures.write(out)
    (out / "cases").write_text(json.dumps({"checkout": str(checkout), "cases": cases}))
    with (out / "console.log").open("wb") as console:
        try:
            subprocess.run(command(tree, checkout, out), stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                           timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the virtual machine did not end within {limit_s:g} s: see {out}/console.log") from None
    return {file.stem: json.loads(file.read_text()) for file in sorted(out.glob("*.json"))}


def command(tree: Path, checkout: Path, out: Path) -> list[str]:
    paths = [Path("/usr"), *python_folders(), VM, checkout]
    distinct = [path for path in dict.fromkeys(paths) if not any(other in path.parents for other in paths)]
    shares = [(str(path), str(path), "on") for path in distinct] + [(str(out), "/out", "off")]
    [kernel] = tree.glob("boot/vmlinuz-*")
    words = ["console=ttyS0", "panic=-1", "mitigations=off", "quiet", "loglevel=4", "rdinit=/init",
             "vm.shares=" + ",".join(guest for _, guest, _ in shares),
             f"vm.python={sys.executable}", f"vm.main={VM}/guest/main.py"]
    line = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MB),
            "-nographic", "-no-reboot", "-nic", "none", "-kernel", str(kernel), "-initrd", str(out / "initrd"),
            "-append", " ".join(words)]
    for number, (host, _, readonly) in enumerate(shares):
        line += ["-virtfs", f"local,path={host},mount_tag=share{number},security_model=none,readonly={readonly},"
                 "multidevs=remap"]
    return line


def python_folders() -> list[Path]:
    """What this interpreter needs: its virtual environment and the installation that it was made from."""
    return [Path(sys.prefix), Path(sys.base_prefix)]


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
    print(f"{len(results)} results in {time.monotonic() - began:.0f} s; console and results are in {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
