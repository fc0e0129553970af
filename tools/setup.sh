#!/usr/bin/env bash
# Prepares a Debian 12 machine: Debian packages, .venv with torch, the build tree, the Python package in .venv.
# Idempotent; asks nothing. Without root it says what to install.
#
#   tools/setup.sh [packages|packages_lint|venv|venv_dev|configure|app|build|install]...  (default: packages venv build install)
#
# app builds the libraries, the command line and the Python module; build adds tests, examples and fuzz targets.
# PYTHON names the Python (3.10 or newer) that .venv is made from.
set -euo pipefail
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

# Downloads fail now and then: once more before giving up.
retry() { "$@" || { sleep 5; "$@"; }; }

# install_packages <list of names>
install_packages() {
  if ! command -v dpkg-query > /dev/null; then
    echo "This is not a Debian system; install what $1 names by hand, then run: tools/setup.sh venv build install" >&2
    exit 1
  fi
  local missing=() installed name
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' | awk '$2 == "installed" {print $1}')
  while read -r name; do
    [[ -z "$name" || "$name" == \#* ]] && continue
    grep -qxF "$name" <<< "$installed" || missing+=("$name")
  done < "$1"
  if ((${#missing[@]} == 0)); then return; fi
  local root=()
  if ((EUID != 0)); then
    if sudo -n true 2> /dev/null; then
      root=(sudo -n DEBIAN_FRONTEND=noninteractive)
    else
      echo "Plait needs Debian packages that are not installed, and this user is not root. Ask for:" >&2
      echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
  fi
  say "Installing ${#missing[@]} Debian packages"
  local apt=("${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300)
  # A repository that cannot be reached need not be one of those that have the packages.
  "${apt[@]}" update > build/setup-apt.log 2>&1 || true
  if ! retry "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >> build/setup-apt.log 2>&1; then
    tail -n 20 build/setup-apt.log >&2
    echo "apt-get failed; the whole log is build/setup-apt.log" >&2
    exit 1
  fi
}

packages() { install_packages tools/debian-packages.txt; }
packages_lint() { install_packages tools/debian-packages-lint.txt; }

# requirements NAME LIST [PIP OPTION...]: runs pip only when the list changed since the last time.
requirements() {
  local stamp=".venv/.plait-$1" list="$2" sum
  shift 2
  sum=$(sha256sum "$list" | cut -d' ' -f1)
  if [[ -f "$stamp" && "$(cat "$stamp")" == "$sum" ]]; then return; fi
  say "Installing $list into .venv"
  retry .venv/bin/python -m pip install -q -r "$list" "$@"
  echo "$sum" > "$stamp"
}

venv() {
  if ! .venv/bin/python -c 'import pip' 2> /dev/null; then
    say "Making .venv"
    "${PYTHON:-python3}" -m venv --clear .venv
  fi
  requirements base tools/requirements.txt
}

venv_dev() {
  venv
  requirements dev tools/requirements-dev.txt
  # What these ask for in vain (a compiler for GPUs, a window system) stays out; the rest is in the list above.
  requirements dev-alone tools/requirements-dev-alone.txt --no-deps
}

torch_dir() {
  .venv/bin/python -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
}

configure() {
  if [[ -f build/build.ninja ]]; then return; fi
  say "Configuring build/"
  cmake --preset release -DPLAIT_TORCH_DIR="$(torch_dir)" -DPython3_EXECUTABLE="$PWD/.venv/bin/python" \
    > build/configure.log 2>&1 || { tail -n 30 build/configure.log >&2; exit 1; }
}

# compile [TARGET...]: on a terminal Ninja shows its progress, else the log goes to a file.
compile() {
  configure
  local command=(cmake --build build -j "$(nproc)" ${1:+--target "$@"})
  if [[ -t 1 ]]; then
    say "Building"
    "${command[@]}"
  else
    say "Building (the log is build/build.log)"
    "${command[@]}" > build/build.log 2>&1 ||
      { grep -E -A12 'FAILED|error' build/build.log | tail -n 80 >&2; exit 1; }
  fi
}

app() { compile plait_cli plait_python; }
build() { compile; }

# The Python package and .venv/bin/plait, made from the libraries of build/.
install() {
  local stamp=.venv/.plait-package inputs=(build/lib build/bin/plait python pretrained pyproject.toml setup.py) newer=all
  local present=() path
  for path in "${inputs[@]}"; do [[ -e "$path" ]] && present+=("$path"); done
  if [[ -f "$stamp" ]]; then newer=$(find "${present[@]}" -newer "$stamp" -type f -not -name '*.pyc' -not -path '*.egg-info/*' -print -quit); fi
  if [[ -z "$newer" && -x .venv/bin/plait ]]; then return; fi
  say "Installing the Python package into .venv"
  local started
  started=$(mktemp)
  .venv/bin/python -m pip install -q --no-deps --no-build-isolation --force-reinstall .
  # As old as the start: what changed meanwhile is installed the next time.
  touch -r "$started" "$stamp"
  rm -f "$started"
}

mkdir -p build
if (($# == 0)); then set -- packages venv build install; fi
for step in "$@"; do
  case "$step" in
    packages | packages_lint | venv | venv_dev | configure | app | build | install) "$step" ;;
    *)
      echo "tools/setup.sh: no step \"$step\"; there are packages, packages_lint, venv, venv_dev, configure, app, build, install" >&2
      exit 2
      ;;
  esac
done
