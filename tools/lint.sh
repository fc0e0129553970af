#!/usr/bin/env bash
# Every public header compiled alone, and clang-tidy 14 with the checks of .clang-tidy.
#
#   tools/lint.sh                 both, over everything
#   tools/lint.sh headers         only if a header changed since the last time
#   tools/lint.sh tidy [FILE...]  sources (default: all)
#   tools/lint.sh changed [BASE]  clang-tidy on the sources that differ from BASE (default: the previous commit), at most 12
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -f build/compile_commands.json ]] || { echo "configure first: make dev" >&2; exit 1; }
mkdir -p build/lint
torch=$(sed -n 's/^PLAIT_TORCH_DIR:[^=]*=//p' build/CMakeCache.txt)

headers() {
  local stamp=build/lint/headers list
  mapfile -t list < <(git ls-files 'plait/*.h')
  if [[ -f "$stamp" ]] && [[ -z $(find plait .clang-tidy tools/lint.sh -name '*.h' -newer "$stamp" -print -quit) ]]; then
    echo "headers: unchanged since they last compiled alone"
    return
  fi
  touch "$stamp.started"
  # The shared precompiled header would hide a missing include, so this goes without it.
  # shellcheck disable=SC2016
  printf '%s\n' "${list[@]}" | xargs -P "$(nproc)" -I{} sh -c \
    'echo "#include \"{}\"" | g++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror -Wno-unused-parameter -I. -isystem "$0/include" -x c++ - ||
     { echo "not self-contained: {}"; exit 1; }' "$torch"
  mv "$stamp.started" "$stamp"
  echo "headers: ${#list[@]} compile alone"
}

tidy() {
  local tool compiler files=("$@")
  tool=$(command -v clang-tidy-14) && compiler=$(command -v clang++-14) ||
    { echo "clang-tidy 14 is not installed: tools/setup.sh packages_lint" >&2; exit 1; }
  ((${#files[@]})) || mapfile -t files < <(git ls-files 'plait/*.cpp')
  # clang cannot read GCC's precompiled header, so it gets one of its own and the compile commands name that. OpenMP is
  # left out: ATen needs it for its header alone.
  local source=build/CMakeFiles/plait_pch.dir/cmake_pch.hxx pch=$PWD/build/lint/pch.pch
  local flags=(-O2 -fPIC -std=c++20 -Wno-everything)
  [[ "$pch" -nt "$source" ]] || "$compiler" -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" \
    "${flags[@]}" -x c++-header "$source" -o "$pch"
  sed -E "s#-include [^ ]*plait_pch.dir/cmake_pch\.hxx#-include-pch $pch#g; s/-Winvalid-pch//g; s/-fopenmp //g
          s/-std=gnu\+\+20 //g; s/-W(all|extra|error|no-[a-z-]*)//g" build/compile_commands.json > build/lint/compile_commands.json
  printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 "$tool" -p build/lint --quiet --extra-arg=-Wno-everything 2> build/lint/tidy.log ||
    { grep -E 'error' build/lint/tidy.log >&2; exit 1; }
  echo "clang-tidy: ${#files[@]} files in order"
}

changed() {
  local base=${1:-HEAD~1} list
  if ! git rev-parse -q --verify "$base^{commit}" > /dev/null; then
    echo "clang-tidy: no $base to compare with"
    return
  fi
  mapfile -t list < <(git diff --name-only --diff-filter=d "$base" -- 'plait/*.cpp' | head -n 12)
  if ((${#list[@]} == 0)); then echo "clang-tidy: no source differs from $base"; else tidy "${list[@]}"; fi
}

if (($# == 0)); then
  headers
  tidy
else
  "$@"
fi
