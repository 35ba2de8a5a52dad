#!/usr/bin/env python3
"""Plants one violation of every rule in a tree of its own; each lint must find it, and only it."""
import sys
import tempfile
from pathlib import Path

import docs
import layers
import names
import sizes
import words

GOOD = {
    "include/sherd/base/units.hpp": "#pragma once\nnamespace sherd { int ceil_div(int a, int b); }\n",
    "src/base/units.cpp": '#include "sherd/base/units.hpp"\n\n#include <cstdio>\n'
                          'int abort_word;  // printf( in a comment, and "exit(" in a string, are fine\n'
                          'const char* said = "exit(1) getenv new thing";\n'
                          "void f(char* t) { std::snprintf(t, 1, said); child.abort(1); ::_exit(1); }\n"
                          "const auto million = 1'000'000, thousand = 1'000;\n",
    "src/base/units_wide.cpp": "int wide;\n",
    "include/sherd/kernels/matmul.hpp": '#pragma once\n#include "sherd/base/units.hpp"\n',
    "src/cli/main.cpp": "#include <cstdlib>\nint main() { std::cout << getenv(\"A\"); exit(0); }\n",
    "cuda/kernels/matmul.cu": '#include "sherd/kernels/matmul.hpp"\n#include <cuda_runtime_api.h>\n',
    "tests/base/units_test.cpp": '#include "sherd/launch/run_config.hpp"\n',
    "docs/style.md": "House style, [home](../CMakeLists.txt), --steps, ---, `--none` of it\n"
                     "| what | test |\n|---|---|\n| it | `a sum is a sum` |\n\n| no | `test of it` |\n",
    "tests/base/sum_test.cpp": 'TEST_CASE("a sum is " "a sum") {}\n',
    "CMakeLists.txt": "project(x)\n",
}
LONG = "void f(int a)\n    noexcept {\n" + "  a += 1;\n" * 49 + "}\n"
METHOD = "struct S {\n  S(int a) : a_(a), b_{a} {\n" + "    a += 1;\n" * 49 + "  }\n};\n"
PLANTED = [
    (layers, "include/sherd/base/x.hpp", '#include "sherd/kernels/matmul.hpp"\n'),
    (layers, "src/kernels/x.cpp", '#include "sherd/memory/arena.hpp"\n'),
    (layers, "src/kernels/x.cpp", '#  include "base/secret.hpp"\n'),
    (layers, "src/plan/x.cpp", '#include "sherd/nowhere/x.hpp"\n'),
    (layers, "src/device/x.cpp", "#include <cuda_runtime_api.h>\n"),
    (layers, "src/comm/x.cpp", "#include <nccl.h>\n"),
    (layers, "tests/comm/x_test.cpp", "#include <thrust/sort.h>\n"),
    (names, "cuda/kernels/matmul.cu", '#include "sherd/kernels/matmul.hpp"\nint s = cudaDeviceSynchronize();\n'),
    (names, "tests/support/test_utils.hpp", "#pragma once\n"),
    (names, "src/base/UnitsText.cpp", '#include "sherd/base/units.hpp"\n'),
    (names, "src/base/units_2.cpp", '#include "sherd/base/units.hpp"\n'),
    (names, "src/base/orphan.cpp", "int orphan;\n"),
    (names, "include/sherd/base/x.hpp", "int no_pragma;\n"),
    (names, "include/sherd/base/x.hpp", "#pragma once\nint get_size(int a);\n"),
    (names, "src/base/units_wide.cpp", "void f() { std::cout << 1; }\n"),
    (names, "src/base/units_wide.cpp", "void f() { fprintf(stderr, \"\"); }\n"),
    (names, "src/base/units_wide.cpp", "void f() { std::exit(1); }\n"),
    (names, "src/base/units_wide.cpp", "void f() { abort(); }\n"),
    (names, "src/base/units_wide.cpp", "auto x = ::getenv(\"HOME\");\n"),
    (names, "src/base/units_wide.cpp", "int* x = new int(3);\n"),
    (sizes, "include/sherd/base/x.hpp", "#pragma once\n" + "int x;\n" * 300),
    (sizes, "src/base/units_wide.cpp", "int x;\n" * 501),
    (sizes, "tests/base/x_test.cpp", "int x;\n" * 501),
    (sizes, "src/base/units_wide.cpp", LONG),
    (sizes, "src/base/units_wide.cpp", METHOD),
    (sizes, "tests/base/x_test.cpp", 'TEST_CASE("a { case") {\n' + "  x();\n" * 79 + "}\n"),
    (sizes, "CMakeLists.txt", "# line\n" * 121),
    (docs, "docs/x.md", "see [there](nowhere.md)\n"),
    (docs, "docs/x.md", "| what | test |\n|---|---|\n| it | `a sum is none` |\n"),
    (docs, "README.md", "give `--stepz 3`\n"),
    (words, "docs/x.md", "see /" + "work/there\n"),
    (words, "scripts/x.sh", "# TO" + "DO later\n"),
    (words, "src/base/units_wide.cpp", "// FIX" + "ME\n"),
    (words, ".ci/run", "cat /tmp/" + "bash_jobs\n"),
    (words, "README.md", "as reference/" + "toolchain.md says\n"),
]
LINTS = (docs, layers, names, sizes, words)


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def complaints(planted):
    """Findings of every lint on the good tree with `planted` on top."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), {**GOOD, **planted})
        arguments = {docs: ({"--steps", "--none"},)}  # the flags there are
        return {lint: lint.check(Path(folder), *arguments.get(lint, ())) for lint in LINTS}


def main():
    wrong = [f"clean tree: {found}" for found in complaints({}).values() if found]
    for lint, name, text in PLANTED:
        found = complaints({name: text})
        if len(found[lint]) != 1:
            wrong.append(f"{lint.__name__} on {name} {text[:60]!r}: {found[lint]}")
    print("\n".join(wrong) or f"{len(PLANTED)} planted violations found")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
