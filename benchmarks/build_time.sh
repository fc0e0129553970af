#!/usr/bin/env bash
# Times a clean release build (tests included) and the rebuild after a change to one file, without ccache, in a build tree
# of its own, and writes benchmarks/build_time.json. Run it on an otherwise idle machine, after make dev.
#
#   benchmarks/build_time.sh [JOBS]
set -euo pipefail
cd "$(dirname "$0")/.."
export CCACHE_DISABLE=1
jobs=${1:-$(nproc)}
tree=build-time
python=$PWD/.venv/bin/python
torch=$(sed -n 's/^PLAIT_TORCH_DIR:[^=]*=//p' build/CMakeCache.txt)
TIMEFORMAT='%R %U %S'

# measure COMMAND...: prints wall seconds and CPU seconds.
measure() {
  local times
  times=$({ time "$@" > "$tree/log" 2>&1 || { tail -n 20 "$tree/log" >&2; exit 1; }; } 2>&1)
  awk '{printf "%.1f %.1f\n", $1, $2 + $3}' <<< "$(tail -n 1 <<< "$times")"
}

rm -rf "$tree"
mkdir "$tree"
configure=$(measure cmake -S . -B "$tree" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPLAIT_TORCH_DIR="$torch" -DPython3_EXECUTABLE="$python")
echo "configure:     $configure"
app=$(measure cmake --build "$tree" -j "$jobs" --target plait_cli plait_python)
echo "what demo needs: $app"
rest=$(measure cmake --build "$tree" -j "$jobs")
echo "tests besides: $rest"
# One file of the middle of the house, one at its end; the files' own times stay as they are.
declare -A rebuild
for file in plait/models/fusion/gates.cpp plait/api/multimodal_model.cpp; do
  object=$(find "$tree/plait" -path "*${file#plait/*/}.o" -print -quit)
  rm -f "$object"
  rebuild[$file]=$(measure cmake --build "$tree" -j "$jobs" --target plait_cli plait_python)
  echo "rebuild $file: ${rebuild[$file]}"
done
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
"$python" - "$jobs" "$cpu" "$configure" "$app" "$rest" "${rebuild[plait/models/fusion/gates.cpp]}" "${rebuild[plait/api/multimodal_model.cpp]}" << 'PY'
import datetime
import json
import subprocess
import sys

jobs, cpu, *pairs = sys.argv[1:]
names = ["configure", "demo", "tests", "plait/models/fusion/gates.cpp", "plait/api/multimodal_model.cpp"]
times = {name: dict(zip(("wall_seconds", "cpu_seconds"), map(float, pair.split()))) for name, pair in zip(names, pairs)}
clean = {key: round(sum(times[n][key] for n in names[:3]), 1) for key in ("wall_seconds", "cpu_seconds")}
result = {"date": datetime.date.today().isoformat(), "cpu": cpu, "jobs": int(jobs),
          "compiler": subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True).stdout.strip(),
          "clean": clean, "steps": {n: times[n] for n in names[:3]}, "rebuild": {n: times[n] for n in names[3:]}}
with open("benchmarks/build_time.json", "w", encoding="utf-8") as file:
    json.dump(result, file, indent=1)
    file.write("\n")
rows = [("clean release build with tests", clean), ("… configure", times["configure"]),
        ("… what `make demo` needs", times["demo"]), ("… tests, examples and fuzz targets besides", times["tests"]),
        *((f"rebuild after a change to `{n}`", times[n]) for n in names[3:])]
table = "| | wall s | CPU s |\n|---|---|---|\n" + "".join(f"| {n} | {t['wall_seconds']:.0f} | {t['cpu_seconds']:.0f} |\n" for n, t in rows)
with open("benchmarks/build_time.md", encoding="utf-8") as file:
    text = file.read()
head = text.split("<!-- table -->")[0]
with open("benchmarks/build_time.md", "w", encoding="utf-8") as file:
    file.write(f"{head}<!-- table -->\nMeasured {result['date']} on {cpu}, {jobs} jobs, g++ {result['compiler']}, without ccache.\n\n{table}")
print(table)
PY
rm -rf "$tree"
