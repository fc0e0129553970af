#!/usr/bin/env bash
# clang-tidy over the sources (or those given), and every public header compiled alone. Usage: tools/lint.sh [FILE...]
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -f build/compile_commands.json ]] || { echo "configure first: make build" >&2; exit 1; }
torch=$(sed -n 's/^PLAIT_TORCH_DIR:[^=]*=//p' build/CMakeCache.txt)
headers() { # every header is self-contained
  local failed=0 header
  mapfile -t list < <(git ls-files 'plait/*.h')
  printf '%s\n' "${list[@]}" | xargs -P 2 -I{} sh -c \
    'echo "#include \"{}\"" | g++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror -Wno-unused-parameter -I. -isystem "$0/include" -x c++ - || { echo "not self-contained: {}"; exit 255; }' "$torch" || failed=1
  ((failed == 0)) && echo "headers: ${#list[@]} compile alone"
  return $failed
}
tidy() {
  local tool
  tool=$(command -v clang-tidy-14 || command -v clang-tidy) || { echo "clang-tidy is not installed (apt-get install clang-tidy-14)" >&2; exit 1; }
  # clang cannot read GCC's precompiled header, so it sees a copy of the commands without it.
  mkdir -p build/tidy
  sed -E 's/-Winvalid-pch//g; s/-include [^ ]*cmake_pch\.hxx//g; s/-Wno-(restrict|stringop-[a-z]*)//g' build/compile_commands.json > build/tidy/compile_commands.json
  local files=("$@")
  ((${#files[@]})) || mapfile -t files < <(git ls-files 'plait/*.cpp')
  printf '%s\n' "${files[@]}" | xargs -P 2 -n 1 "$tool" -p build/tidy --quiet --extra-arg=-fopenmp=libomp --extra-arg=-Wno-everything
  echo "clang-tidy: ${#files[@]} files clean"
}
if (($# == 0)); then headers; fi
tidy "$@"
