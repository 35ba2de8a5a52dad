#!/usr/bin/env python3
"""Loads exports in PyPI transformers and compares their logits with those of the fixtures.

    scripts/export_check.py [FIXTURE…]      needs torch and transformers; sherd is built

Each fixture under tests/fixtures is imported as a checkpoint, exported again in fp32, loaded by
transformers and run on the fixture's prompt."""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT = 2e-5  # of the largest logit: fp32 against fp64


def check(name, work):
    fixture = ROOT / "tests" / "fixtures" / name
    sherd = str(ROOT / "build" / "release" / "sherd")
    saved, exported = f"{work}/{name}.saved", f"{work}/{name}"
    for words in (["import", str(fixture), "--out", saved], ["export", saved, "--out", exported]):
        subprocess.run([sherd, "checkpoint", *words], check=True, stdout=subprocess.DEVNULL)
    model = transformers.AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32)
    expected = json.loads((fixture / "expected.json").read_text())["generation"]
    with torch.no_grad():
        logits = model(torch.tensor([expected["prompt"]])).logits[0].double()
    wanted = torch.tensor(expected["logits"], dtype=torch.float64).reshape(-1, logits.shape[-1])
    apart = (logits[-wanted.shape[0]:] - wanted).abs().max() / wanted.abs().max()
    print(f"{name}: logits differ by {apart:.1e} of the largest")
    return apart <= LIMIT


def main(names):
    names = names or sorted(p.name for p in (ROOT / "tests" / "fixtures").glob("*_parity"))
    with tempfile.TemporaryDirectory() as work:
        good = [check(name, work) for name in names]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
