#!/usr/bin/env bash
# Prepares a Debian 12 machine: Debian packages, .venv with torch, the build tree, the Python package in .venv.
# Idempotent; asks nothing. Without root it says what to install. Usage: tools/setup.sh [packages|venv|build|install]...
set -euo pipefail
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

packages() {
  local missing=()
  local installed
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null | awk '$2 == "installed" {print $1}')
  while read -r name; do
    [[ -z "$name" || "$name" == \#* ]] && continue
    grep -qxF "$name" <<<"$installed" || missing+=("$name")
  done < tools/debian-packages.txt
  if ((${#missing[@]} == 0)); then return; fi
  local root=()
  if ((EUID != 0)); then
    if sudo -n true 2>/dev/null; then
      root=(sudo -n)
    else
      echo "Plait needs Debian packages that are not installed, and this user is not root. Ask for:" >&2
      echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
  fi
  say "Installing ${#missing[@]} Debian packages"
  "${root[@]}" apt-get update -q > build/setup-apt.log 2>&1 || true
  if ! "${root[@]}" apt-get install -qy --no-install-recommends "${missing[@]}" >> build/setup-apt.log 2>&1; then
    tail -n 20 build/setup-apt.log >&2
    echo "apt-get failed; the whole log is build/setup-apt.log" >&2
    exit 1
  fi
}

# Runs pip only when the list of requirements changed since the last time.
requirements() {
  local stamp=".venv/.plait-$1" list="$2" sum
  sum=$(sha256sum "$list" | cut -d' ' -f1)
  if [[ -f "$stamp" && "$(cat "$stamp")" == "$sum" ]]; then return; fi
  say "Installing $list into .venv"
  .venv/bin/python -m pip install -q -r "$list"
  echo "$sum" > "$stamp"
}

venv() {
  if [[ ! -x .venv/bin/python ]]; then
    say "Making .venv"
    python3 -m venv .venv
  fi
  requirements base tools/requirements.txt
}

venv_dev() {
  venv
  requirements dev tools/requirements-dev.txt
}

build() {
  if [[ ! -f build/build.ninja ]]; then
    say "Configuring build/"
    cmake --preset release -DPLAIT_TORCH_DIR="$(torch_dir)" -DPython3_EXECUTABLE="$PWD/.venv/bin/python" > build/configure.log \
      || { tail -n 30 build/configure.log >&2; exit 1; }
  fi
  say "Building (the log is build/build.log)"
  if [[ -t 1 ]]; then
    cmake --build build
  else
    cmake --build build > build/build.log 2>&1 || { grep -E -A12 'FAILED|error' build/build.log | tail -n 80 >&2; exit 1; }
  fi
}

torch_dir() {
  .venv/bin/python -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
}

# The Python package and .venv/bin/plait, made from the libraries of build/.
install() {
  local stamp=.venv/.plait-package newest
  newest=$(find build/lib build/bin/plait python pyproject.toml setup.py -newer "$stamp" -type f -print -quit 2>/dev/null || echo all)
  if [[ -f "$stamp" && -z "$newest" && -x .venv/bin/plait ]]; then return; fi
  say "Installing the Python package into .venv"
  .venv/bin/python -m pip install -q --no-deps --no-build-isolation --force-reinstall .
  touch "$stamp"
}

mkdir -p build
if (($# == 0)); then set -- packages venv build install; fi
for step in "$@"; do "$step"; done
