#!/usr/bin/env python3
"""Checks the house rules that includes can show: data flows left to right, siblings do not include each other,
a dependency is included in one module only, and headers do not show it. Prints each violation as file:line."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAY_INCLUDE = {
    "core": set(),
    "data": {"core"},
    "models": {"core", "data"},
    "train": {"core", "data", "models"},
    "runtime": {"core", "data", "models"},
    "api": {"core", "data", "models", "train", "runtime"},
    "cli": {"core", "data", "models", "train", "runtime", "api"},
}
# Third-party include prefix → the files that may have it.
DEPENDENCIES = {
    "nlohmann/": r"^plait/core/json\.cpp$",
    "spdlog/": r"^plait/core/log\.cpp$",
    "opencv2/": r"^plait/data/image/[a-z_]+\.cpp$",
    "libav": r"^plait/data/(audio|video)/[a-z_]+\.cpp$",
    "libsw": r"^plait/data/(audio|video)/[a-z_]+\.cpp$",
    "gdcm": r"^plait/data/volume/gdcm\.cpp$",
    "polyclipping/": r"^plait/data/image/text_boxes\.cpp$",
    "unicode/": r"^plait/data/text/[a-z_]+\.cpp$",
    "archive": r"^plait/data/packages/[a-z_]+\.cpp$",
    "openssl/": r"^plait/data/hash\.cpp$",
    "plait_onnx.pb.h": r"^plait/core/weights/onnx_schema\.cpp$",
    "google/protobuf": r"^$",
    "zlib.h": r"^plait/data/deflate\.cpp$",
    "CLI/": r"^plait/cli/[a-z_]+\.(cpp|h)$",
    "pybind11/": r"^python/",
    "gtest/": r"^tests/",
    "gmock/": r"^tests/",
    "benchmark/": r"^benchmarks/",
    # <torch/torch.h> costs half a minute of compile time, so it stays out of headers and of most sources.
    "torch/torch.h": r"^$",
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def violations():
    for path in sorted(p for d in ("plait", "python", "tests", "benchmarks", "fuzz") for p in (ROOT / d).rglob("*")):
        if path.suffix not in (".h", ".cpp"):
            continue
        name = path.relative_to(ROOT).as_posix()
        parts = name.split("/")
        layer = parts[1] if parts[0] == "plait" and len(parts) > 2 else None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            quote, target = found.groups()
            if target.startswith("plait/"):
                if quote == "<" and layer:
                    yield f"{name}:{number}: own headers are included with quotes"
                other = target.split("/")[1]
                if layer and other in MAY_INCLUDE and other != layer and other not in MAY_INCLUDE[layer]:
                    yield f"{name}:{number}: {layer} may not include {other} ({target})"
                continue
            for prefix, allowed in DEPENDENCIES.items():
                if target.startswith(prefix) and not re.search(allowed, name):
                    yield f"{name}:{number}: {target} belongs to another module"
        if layer and path.suffix == ".h" and "#pragma once" not in path.read_text(encoding="utf-8"):
            yield f"{name}: headers start with #pragma once"


def main():
    found = list(violations())
    for line in found:
        print(line)
    print(f"layers: {len(found)} violations" if found else "layers: the house is in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
