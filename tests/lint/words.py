#!/usr/bin/env python3
"""The project speaks only of itself: no paths of one machine, no notes of things left to do."""
import re

import tree

PLACES = tree.PLACES + ("cmake", "docs", "scripts", ".ci")
SUFFIXES = tree.CODE + (".py", ".sh", ".md", ".txt", ".cmake", ".in", ".json", ".supp", ".svg", "")
# Written in pieces so that this file passes its own check.
FORBIDDEN = re.compile("|".join((
    r"(?<![\w.])/" + r"work/", r"/tmp/" + r"bash_jobs", r"(?<![\w.])/" + r"root/",
    r"\.\./" + r"shared/", r"\breference/" + r"\w+\.md",
    r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bXX" + r"X\b")))


def check(root):
    findings = []
    paths = tree.files(root, PLACES, SUFFIXES)
    paths += [path.relative_to(root) for path in sorted(root.glob("*"))
              if path.is_file() and path.suffix in SUFFIXES and path.name != ".git"]
    for path in paths:
        for number, line in enumerate((root / path).read_text(errors="replace").splitlines(), 1):
            match = FORBIDDEN.search(line)
            if match:
                findings.append(f"{path}:{number}: '{match.group(0)}' has no place here")
    return findings


if __name__ == "__main__":
    tree.main(check)
