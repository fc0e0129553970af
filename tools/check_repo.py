#!/usr/bin/env python3
"""Checks what the checkout may hold: size of files and of the whole, length of sources, no absolute paths of a machine and
no addresses of package registries, headers of our own that are included and not in the repository, newline at the end of
text files. Prints each violation."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20
FILE_LIMIT = 2 * MIB
WEIGHTS_LIMIT = 15 * MIB  # the shipped model
TOTAL_LIMIT = 50 * MIB
LINES = {".cpp": 600, ".h": 300}  # the house says about 400 and 200; beyond these there is no excuse
LONG = ("plait/data/text/unicode_tables.cpp",)  # generated
OWN_INCLUDE = re.compile(r'^\s*#\s*include\s*"((?:plait|tests|fuzz)/[^"]+)"')
SOURCES = (".cpp", ".h", ".py", ".sh", ".cmake", ".txt", ".md", ".json", ".toml", ".yml", "")
FORBIDDEN = {
    "the home folder of a machine": re.compile(r"(?<![\w.$}])/(?:root|home/\w+|work)/"),
    "the address of a package registry": re.compile(
        r"\b(?:files\.python" + r"hosted|py" + r"pi\.org|registry\.npm" + r"js|deb\.deb" + r"ian\.org|hugging" + r"face\.co/|proxy\.go" + r"lang)"),
}


def tracked():
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return sorted(name for name in listing.decode().split("\0") if name and (ROOT / name).is_file())


def violations():
    total = 0
    names = tracked()
    known = set(names)
    for name in names:
        path = ROOT / name
        size = path.stat().st_size
        total += size
        limit = WEIGHTS_LIMIT if name.startswith("pretrained/") else FILE_LIMIT
        if size > limit:
            yield f"{name}: expected at most {limit} bytes, got {size}"
        # Corpora, golden files and media are data, whatever they are called.
        if path.suffix not in SOURCES or path.name == "tokenizer.json" or name.startswith(("fuzz/corpus/", "tests/golden/", "pretrained/", "tests/data/files/")):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            yield f"{name}: expected UTF-8"
            continue
        if text and not text.endswith("\n"):
            yield f"{name}: expected a newline at the end"
        lines = text.splitlines()
        if len(lines) > LINES.get(path.suffix, len(lines)) and name.startswith("plait/") and name not in LONG:
            yield f"{name}: expected at most {LINES[path.suffix]} lines, got {len(lines)}"
        for number, line in enumerate(lines, 1):
            own = OWN_INCLUDE.match(line)
            if own and own.group(1) not in known and own.group(1) + ".in" not in known:
                yield f"{name}:{number}: {own.group(1)} is not in the repository"
            for what, pattern in FORBIDDEN.items():
                if pattern.search(line):
                    yield f"{name}:{number}: {what}"
    if total > TOTAL_LIMIT:
        yield f"the checkout: expected at most {TOTAL_LIMIT} bytes, got {total}"


def main():
    found = list(violations())
    for line in found:
        print(line)
    print(f"repository: {len(found)} violations" if found else "repository: sizes and texts are in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
