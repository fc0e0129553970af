#!/usr/bin/env python3
"""Checks the documents: links and named files exist; code blocks that follow <!-- snippet: FILE NAME --> equal that part of
the example; docs/status.md has every row of the specification. With --fix, code blocks are rewritten from the examples."""
import pathlib
import re
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROWS = {"A": 5, "B": 6, "C": 11, "D": 8, "E": 8, "F": 8, "G": 11, "H": 4, "I": 10, "J": 5, "K": 4}
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
FILE = re.compile(r"`((?:plait|python|tests|tools|docs|examples|benchmarks|fuzz|recipes|cmake)/[\w./-]+\.\w+)`")
SNIPPET = re.compile(r"<!-- snippet: (\S+) (\S+) -->\n```(\w+)\n(.*?)```", re.S)
# Examples of a name that do not exist on purpose ("add an encoder").
PLACEHOLDER = re.compile(r"your_|patch_mlp|NAME")


def documents():
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])


def snippet(file, name):
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.search(rf"^\s*(?://|#) \[snippet: {re.escape(name)}\]\n(.*?)^\s*(?://|#) \[end\]", text, re.S | re.M)
    if not found:
        raise SystemExit(f"{file}: no [snippet: {name}] … [end]")
    return textwrap.dedent(found.group(1))


def violations(fix):
    for path in documents():
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        for target in LINK.findall(text):
            if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                yield f"{name}: the link {target} leads nowhere"
        for target in FILE.findall(text):
            if not PLACEHOLDER.search(target) and not (ROOT / target).exists():
                yield f"{name}: there is no {target}"
        for found in SNIPPET.finditer(text):
            file, part, language, code = found.groups()
            if code != snippet(file, part):
                if not fix:
                    yield f"{name}: the block from {file} differs (tools/check_docs.py --fix)"
                text = text.replace(found.group(0), f"<!-- snippet: {file} {part} -->\n```{language}\n{snippet(file, part)}```")
        if fix:
            path.write_text(text, encoding="utf-8")
    status = (ROOT / "docs/status.md").read_text(encoding="utf-8")
    for letter, count in ROWS.items():
        for row in range(1, count + 1):
            if not re.search(rf"^\| {letter}{row} \|", status, re.M):
                yield f"docs/status.md: no row {letter}{row}"


def main():
    found = list(violations("--fix" in sys.argv[1:]))
    for line in found:
        print(line)
    print(f"docs: {len(found)} violations" if found else "docs: links, files and code blocks are in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
