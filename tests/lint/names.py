#!/usr/bin/env python3
"""File names say what is inside, a name gives its paths, library code keeps to itself."""
import re

import tree

EMPTY_WORDS = {"util", "utils", "misc", "common", "helper", "helpers", "manager", "impl"}
LIBRARY = ("include", "src", "cuda", "offload")
MAY_SPEAK = ("cli", "bench")  # the only modules that print, exit and read the environment
BANNED = (
    (re.compile(r"\bstd::(cout|cerr|clog)\b"), "prints"),
    (re.compile(r"(?<!\w)f?(printf|puts|putchar)\s*\("), "prints"),
    (re.compile(r"(?<![\w.>])(exit|abort|quick_exit|terminate)\s*\("), "ends the process"),
    (re.compile(r"\b(secure_)?getenv\b"), "reads the environment"),
    (re.compile(r"\bnew\s+[A-Za-z_:]"), "has a naked new"),
)
RAW = re.compile(r"\bcuda(Malloc|HostAlloc|Free|FreeHost|Memcpy|StreamCreate|StreamSynchronize|EventCreate|"
                 r"EventSynchronize|DeviceSynchronize)\w*\s*\(")  # owned by cuda/device alone
GETTER = re.compile(r"(?<![\w.>:])get_[a-z]\w*\s*\(")
INCLUDE = re.compile(r'^\s*#include "([^"]+)"', re.MULTILINE)


def bad_name(path):
    stem = path.name.split(".")[0]
    if not re.fullmatch(r"[a-z][a-z0-9_]*(-inl)?", stem):  # -inl: compiled once per instruction set
        return f"'{stem}' is not snake_case"
    empty = EMPTY_WORDS.intersection(stem.split("_"))
    if empty:
        return f"'{empty.pop()}' in a file name says nothing about the file"
    if re.search(r"_\d$", stem):
        return f"'{stem}' is a part with a number; split by concept"
    return None


def has_header(root, path, text):
    """x.cpp has x.hpp, or extends it (x_avx.cpp), or includes another header of its module."""
    module, words = tree.module_of(path), path.stem.split("_")
    if path.stem == "main":
        return True
    for count in range(len(words), 0, -1):
        name = "_".join(words[:count]) + ".hpp"
        if (root / "include/sherd" / module / name).exists() or (root / path.parent / name).exists():
            return True
    own = re.compile(rf"(sherd/)?{module}/|[^/]+$")
    return any(own.match(header) for header in INCLUDE.findall(text))


def banned_calls(path, text):
    code = tree.bare(text)
    if path.parts[0] == "cuda" and path.parts[1] != "device":
        for match in RAW.finditer(code):
            line = code.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: only cuda/device allocates, copies and waits: {match.group(0).strip()}"
    for pattern, what in BANNED:
        for match in pattern.finditer(code):
            line = code.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: library code {what}: {match.group(0).strip()}"


def check_library(root, path, text):
    if path.suffix == ".hpp" and not path.stem.endswith("-inl") and "#pragma once" not in text:
        yield f"{path}: no #pragma once"
    if path.suffix in (".cpp", ".cu") and tree.module_of(path) and not has_header(root, path, text):
        yield f"{path}: no header of module {tree.module_of(path)} declares this"
    if tree.module_of(path) not in MAY_SPEAK:
        yield from banned_calls(path, text)
    if path.parts[0] == "include":
        for match in GETTER.finditer(tree.bare(text)):
            yield f"{path}: '{match.group(0)[:-1].strip()}': nouns for values, no get_"


def check(root):
    findings = []
    for path in tree.files(root, suffixes=tree.CODE + (".py", ".sh")):
        said = bad_name(path)
        if said:
            findings.append(f"{path}: {said}")
    for path in tree.files(root, LIBRARY):
        findings.extend(check_library(root, path, (root / path).read_text()))
    return findings


if __name__ == "__main__":
    tree.main(check)
