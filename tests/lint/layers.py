#!/usr/bin/env python3
"""A module includes only modules of lower rows; GPU headers stay under cuda/."""
import re

import tree

ROWS = (("base",), ("device", "shard", "io"), ("memory", "kernels"), ("comm",),
        ("model", "optim", "data"), ("plan", "checkpoint"), ("engine",), ("launch",),
        ("bench",), ("cli",))
ROW_OF = {module: row for row, modules in enumerate(ROWS) for module in modules}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
GPU = re.compile(r"(cuda|cublas|cudnn|cufft|curand|cusparse|nvrtc|nvToolsExt|nvtx|nccl|cub/|thrust/|cooperative_groups)")


def target_of(header):
    """(module, is it public) of an included path, or None for what is not ours."""
    parts = header.split("/")
    if parts[0] == "sherd" and len(parts) > 2:
        return parts[1], True
    if len(parts) > 1 and parts[0] in ROW_OF:
        return parts[0], False
    return None


def problem(path, header):
    module = tree.module_of(path)
    foreign = path.parts[0] != "cuda" and path.parts[:3] != ("tests", "support", "fake_nccl")
    if foreign and GPU.match(header):
        return f"{header} is a GPU header; only cuda/ includes those"
    target = target_of(header)
    if module is None or target is None or target[0] == module:
        return None
    if module not in ROW_OF:
        return f"module {module} has no row; add it to tests/lint/layers.py and docs/style.md"
    if target[0] not in ROW_OF or ROW_OF[target[0]] > ROW_OF[module]:
        return f"{module} includes {header}, a higher row"
    if ROW_OF[target[0]] == ROW_OF[module]:
        return f"{module} includes {header}, a module of its own row"
    if not target[1]:
        return f"{module} includes {header}, a private header of {target[0]}"
    return None


def check(root):
    findings = []
    for path in tree.files(root):
        text = (root / path).read_text()
        for match in INCLUDE.finditer(text):
            said = problem(path, match.group(2))
            if said:
                line = text.count("\n", 0, match.start(2)) + 1
                findings.append(f"{path}:{line}: {said}")
    return findings


if __name__ == "__main__":
    tree.main(check)
