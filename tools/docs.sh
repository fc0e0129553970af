#!/usr/bin/env bash
# API reference by Doxygen into build/docs/html, with a table of all models; public API without documentation is listed in build/docs/undocumented.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v doxygen > /dev/null; then
  root=()
  ((EUID == 0)) || root=(sudo -n)
  "${root[@]}" apt-get -q update > /dev/null || true
  "${root[@]}" apt-get install -qy --no-install-recommends doxygen > /dev/null ||
    { echo "doxygen is not installed; ask for: apt-get install --no-install-recommends doxygen" >&2; exit 1; }
fi
mkdir -p build/docs
models=
if [[ -x build/bin/plait ]]; then
  build/bin/plait models list --json | python3 tools/models_table.py > build/docs/models.md
  models=build/docs/models.md
fi
version=$(sed -n 's/^project(plait VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
{
  cat docs/Doxyfile
  echo "PROJECT_NUMBER = $version"
  echo "INPUT += $models"
  echo "OUTPUT_DIRECTORY = build/docs"
  echo "WARN_LOGFILE = build/docs/warnings.txt"
} | doxygen - > /dev/null
grep 'is not documented' build/docs/warnings.txt | sort -u > build/docs/undocumented.txt || true
grep -v 'is not documented' build/docs/warnings.txt > build/docs/problems.txt || true
echo "docs: build/docs/html/index.html; $(wc -l < build/docs/undocumented.txt) names without documentation (build/docs/undocumented.txt), $(wc -l < build/docs/problems.txt) other remarks (build/docs/problems.txt)"
