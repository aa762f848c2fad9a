#!/usr/bin/env bash
# Installs Home Assistant with its MQTT integration into .homeassistant, for tests/test_home_assistant.py; tests/run --long
# runs it. It needs Python 3.14.2 or newer: HOME_ASSISTANT_PYTHON, or python3.14, or else, on Debian and Ubuntu, that of
# Debian forky, which is unpacked into .homeassistant/root and not installed. Does nothing if it is there already.
set -euo pipefail
cd "$(dirname "$0")/../.."

TO=.homeassistant
ROOT=$PWD/$TO/root
SUITE=forky

fail() { # why, which the tests repeat
  echo "$1" >$TO/missing
  echo "install_home_assistant.sh: $1" >&2
  exit 1
}
works() { $TO/bin/python -c 'import homeassistant.components.mqtt.config_flow' >/dev/null 2>&1; }
new_enough() { "$1" -c 'import sys, venv, ssl; sys.exit(sys.version_info < (3, 14, 2))' >/dev/null 2>&1; }

unpack_python() { # into ROOT
  command -v apt-get >/dev/null || fail "needs Python 3.14.2 or newer: set HOME_ASSISTANT_PYTHON"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
  if ! command -v mmdebstrap >/dev/null || ! command -v patchelf >/dev/null; then
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
      mmdebstrap patchelf debian-archive-keyring >/dev/null || fail "apt-get could not install mmdebstrap and patchelf"
  fi
  local options=() CHECKED=
  eval "$(apt-config shell CHECKED Acquire::Check-Valid-Until)" # as this system has it, for mirrors that lag behind
  if [ -n "$CHECKED" ]; then options+=(--aptopt="Acquire::Check-Valid-Until \"$CHECKED\""); fi
  "${as_root[@]}" rm -rf "$ROOT"
  "${as_root[@]}" mmdebstrap --quiet --variant=extract --include=python3.14 "${options[@]}" $SUITE "$ROOT" ||
    fail "mmdebstrap could not unpack python3.14 of Debian $SUITE"
  "${as_root[@]}" chown -R "$(id -u):$(id -g)" "$ROOT"
  # Its C library is newer than that of this system.
  patchelf --set-interpreter "$(echo "$ROOT"/usr/lib*/ld-linux-*.so.*)" \
    --force-rpath --set-rpath "$(echo "$ROOT"/usr/lib/*-linux-gnu)" "$ROOT/usr/bin/python3.14" ||
    fail "patchelf could not change $ROOT/usr/bin/python3.14"
}

mkdir -p $TO
rm -f $TO/missing
if works; then exit 0; fi

python=
for candidate in ${HOME_ASSISTANT_PYTHON:-} python3.14 "$ROOT/usr/bin/python3.14"; do
  if new_enough "$candidate"; then python=$candidate && break; fi
done
if [ -z "$python" ]; then
  unpack_python
  python=$ROOT/usr/bin/python3.14
  new_enough "$python" || fail "the Python of Debian $SUITE does not run here"
fi

rm -rf $TO/bin $TO/lib $TO/lib64 $TO/pyvenv.cfg
"$python" -m venv --without-pip $TO || fail "$python could not create a virtual environment"
install() { .venv/bin/python -m pip --python $TO/bin/python install --quiet "$@" || fail "pip could not install $*"; }
install homeassistant
# An integration has its own requirements. That of MQTT imports the one of the supervisor.
requirements=$($TO/bin/python - <<'EOF'
import json, pathlib, homeassistant.components as components
for name in ("mqtt", "hassio"):
    manifest = pathlib.Path(components.__path__[0], name, "manifest.json")
    print(*json.loads(manifest.read_text())["requirements"])
EOF
)
# shellcheck disable=SC2086 # a word each
install $requirements
works || fail "the MQTT integration of Home Assistant cannot be imported: $TO/bin/python -c 'import homeassistant.components.mqtt.config_flow'"
