#!/usr/bin/env bash
# Checks (or with --fix rewrites) the C++ sources with clang-format 14, Debian 12's version.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(command -v clang-format-14 || command -v clang-format) || { echo "clang-format is not installed (apt-get install clang-format-14)" >&2; exit 1; }
mapfile -t files < <(git ls-files '*.h' '*.cpp')
if [[ "${1:-}" == --fix ]]; then
  "$tool" -i "${files[@]}"
else
  "$tool" --dry-run --Werror "${files[@]}" && echo "format: ${#files[@]} files in house style"
fi
