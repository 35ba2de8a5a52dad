#!/usr/bin/env python3
"""Files and functions stay small enough to read at once."""
import re

import tree

HEADER_LIMIT, SOURCE_LIMIT = 300, 500
FUNCTION_LIMIT, LONG_FUNCTION_LIMIT = 50, 80  # the longer one for kernels, tests, benches, examples
ROOT_CMAKE_LIMIT = 120
NOT_A_FUNCTION = re.compile(r"\b(namespace|class|struct|enum|union|extern)\b[^()]*$")


def functions(text):
    """(first line, last line) of every outermost function body, judged by its braces."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group(0).count("\n"),
                  tree.bare(text), flags=re.MULTILINE)
    scopes, head_start, line = [], 0, 1
    for at, char in enumerate(code):
        if char == "\n":
            line += 1
        elif char == ";":
            head_start = at + 1
        elif char == "{" and re.fullmatch(r"[\w>]", code[at - 1:at]):
            scopes.append(("initialiser", line))  # member_{value}: the head goes on
        elif char == "{":
            head = code[head_start:at]
            inside = any(kind == "function" for kind, _ in scopes)
            is_function = not inside and ")" in head and not NOT_A_FUNCTION.search(head)
            scopes.append(("function" if is_function else "other", line))
            head_start = at + 1
        elif char == "}" and scopes:
            kind, first = scopes.pop()
            if kind == "function":
                yield first, line
            if kind != "initialiser":
                head_start = at + 1


def long_allowed(path):
    return path.parts[0] in ("tests", "bench", "examples", "cuda") or tree.module_of(path) == "kernels"


def file_limit(path):
    header = path.suffix in (".hpp", ".cuh") and path.parts[0] != "tests"
    return HEADER_LIMIT if header else SOURCE_LIMIT


def check(root):
    findings = []
    for path in tree.files(root):
        text = (root / path).read_text()
        lines, limit = text.count("\n"), file_limit(path)
        if lines > limit:
            findings.append(f"{path}: {lines} lines, at most {limit}; split by concept")
        limit = LONG_FUNCTION_LIMIT if long_allowed(path) else FUNCTION_LIMIT
        for first, last in functions(text):
            if last - first + 1 > limit:
                findings.append(f"{path}:{first}: a function of {last - first + 1} lines, at most {limit}")
    cmake = root / "CMakeLists.txt"
    if cmake.exists() and cmake.read_text().count("\n") > ROOT_CMAKE_LIMIT:
        findings.append(f"CMakeLists.txt: more than {ROOT_CMAKE_LIMIT} lines")
    return findings


if __name__ == "__main__":
    tree.main(check)
