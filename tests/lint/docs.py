#!/usr/bin/env python3
"""Pages keep what they say: flags, links and named tests exist.  docs.py ROOT [PROGRAM]"""
import re
import subprocess
import sys
from pathlib import Path

PAGES = ("README.md", "examples/README.md", "docs/*.md", "tests/support/*/README.md")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
TEST_CASE = re.compile(r'TEST_CASE(?:_TEMPLATE)?\(\s*((?:"(?:\\.|[^"\\])*"\s*)+)')
# Of the scripts, of CMake, of our own lines about mistakes.
OTHERS = {"--preset", "--build", "--target", "--all", "--ci", "--phase", "--deps", "--out", "--short", "--tiers",
          "--zero-stag"}


def pages(root):
    return [path for pattern in PAGES for path in sorted(root.glob(pattern))]


def flags_of(program):
    known = set(OTHERS)
    for command in ((), ("train",), ("plan",), ("bench",), ("bench", "memory"),
                    ("data", "tokenize"), ("generate",), ("checkpoint", "export"), ("checkpoint", "import")):
        said = subprocess.run([program, *command, "--help"], capture_output=True, text=True, check=True)
        known.update(FLAG.findall(said.stdout))
    return known


def test_names(root):
    names = set()
    for path in root.glob("tests/**/*.[ch]pp"):
        for match in TEST_CASE.finditer(path.read_text()):
            names.add("".join(re.findall(r'"((?:\\.|[^"\\])*)"', match.group(1))).replace('\\"', '"'))
    return names


def tests_quoted(text):
    """(line number, name) from the last cell of tables whose last heading is `test`."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[-1] == "test":
            inside = True
        elif inside:
            yield from ((number, name) for name in re.findall(r"`([^`]+)`", cells[-1]))


def check(root, known=None):
    """`known`: the flags that exist; without it flags are not looked at."""
    findings, tests = [], test_names(root)
    for path in pages(root):
        text, shown = path.read_text(), path.relative_to(root)
        for number, line in enumerate(text.splitlines(), 1):
            for flag in FLAG.findall(line) if known else ():
                if flag not in known:
                    findings.append(f"{shown}:{number}: no command has {flag}")
            for link in LINK.findall(line):
                if not (path.parent / link).exists():
                    findings.append(f"{shown}:{number}: nothing is at {link}")
        for number, name in tests_quoted(text):
            if name not in tests:
                findings.append(f"{shown}:{number}: no test is called '{name}'")
    return findings


if __name__ == "__main__":
    found = check(Path(sys.argv[1]).resolve(), flags_of(sys.argv[2]) if len(sys.argv) > 2 else None)
    print("\n".join(found) or "pages agree with program and tests")
    sys.exit(1 if found else 0)
