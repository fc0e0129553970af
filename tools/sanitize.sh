#!/usr/bin/env bash
# The unit tests of core and of data's readers, and every fuzz target under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   tools/sanitize.sh [--rounds N] [TARGET ...]     more test programs to build and run, e.g. tests_train
#
# Builds only what it runs, in build-asan/. LibTorch itself is not instrumented.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=2000
if [[ "${1:-}" == --rounds ]]; then
  rounds=$2
  shift 2
fi
tests=(tests_core test_data_loading test_data_text test_data_media "$@")

python=python3
[[ -x .venv/bin/python ]] && python=.venv/bin/python
cmake --preset asan -DPython3_EXECUTABLE="$(realpath -s "$python")" ${PLAIT_TORCH_DIR:+-DPLAIT_TORCH_DIR="$PLAIT_TORCH_DIR"} >build-asan.log 2>&1 ||
  { cat build-asan.log >&2; exit 1; }
rm -f build-asan.log
cmake --build build-asan --target "${tests[@]}" fuzz_targets

# LibTorch keeps process-wide objects and reads its own globals across libraries (the one definition rule check sees
# its template instances twice), so leaks and that check are off; everything else stops at the first finding.
export ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0:strict_string_checks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
for test in "${tests[@]}"; do
  echo "== $test"
  build-asan/bin/"$test" --gtest_brief=1
done
for target in build-asan/bin/fuzz_*; do
  name=${target##*/fuzz_}
  echo "== fuzz_$name"
  (cd build-asan && "bin/fuzz_$name" --rounds="$rounds" "../fuzz/corpus/$name")
done
echo "sanitize: no finding"
