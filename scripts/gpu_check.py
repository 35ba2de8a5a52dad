#!/usr/bin/env python3
"""What gpu_check.sh does once sherd is built: runs, comparisons and results.json. Standard library only.

    gpu_check.py run --phase test|sanitize|bench --build FOLDER --out FOLDER [--device D] [--quick]
    gpu_check.py row --build FOLDER --out FOLDER --name N --status S [--seconds X] [--log FILE]
    gpu_check.py targets --build FOLDER
    gpu_check.py --self-test

What passed, or was skipped by name, is not run again while sources stay as they are. Exit code: 0 nothing failed,
1 something failed, 4 out of time: run it again.
"""
import argparse
import array
import datetime
import hashlib
import json
import os
import random
import re
import runpy
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

from gpu_check_rows import (LENGTH, LOSS_TOLERANCE, MODELS, OFFLOADS, bench_rows, compare_group, failed, judged,
                            junit_row, last_line, offload_row, read_log, room_problem, row, sanitizer_row,
                            speed_values, suites_of)

ROOT = Path(__file__).resolve().parent.parent
STAGES = (0, 1, 2, 3)
CHECKS = ("memcheck", "racecheck", "synccheck")


class OutOfTime(Exception):
    """The phase may not start or finish this command."""


class Clock:
    """Bounds every command by its own limit and by what is left of the phase."""

    def __init__(self, budget):
        self.end = time.monotonic() + budget

    def run(self, command, limit, **kwargs):
        """(exit code, both outputs as one text, seconds); OutOfTime if the phase ended it."""
        left = int(self.end - time.monotonic())
        if left < 2:
            raise OutOfTime()
        start = time.monotonic()
        done = subprocess.run(["timeout", "-k", "5", str(min(limit, left)), *map(str, command)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", check=False, **kwargs)
        seconds = time.monotonic() - start
        if done.returncode in (124, 137) and left < limit:
            raise OutOfTime()
        if done.returncode == 124:
            return 124, f"did not end within {limit} s\n", seconds
        return done.returncode, done.stdout, seconds


def tree_hash(root):
    """Of the sources that results belong to; a tree without history still has one."""
    digest = hashlib.sha256()
    for place in ("CMakeLists.txt", "cmake", "include", "src", "cuda", "tests", "bench", "scripts"):
        top = root / place
        paths = [top] if top.is_file() else sorted(top.rglob("*"))
        for path in paths:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def said_by(*command):
    try:
        done = subprocess.run(["timeout", "20", *command], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def commit_of(root, deps):
    found = said_by("git", "-c", f"safe.directory={root}", "-C", str(root), "rev-parse", "HEAD")
    if found:
        changed = said_by("git", "-c", f"safe.directory={root}", "-C", str(root), "status", "--porcelain")
        return found + (" with changes" if changed else "")
    manifest = Path(deps or "") / "manifest"
    if deps and manifest.is_file():
        for line in manifest.read_text().splitlines():
            if line.startswith("commit "):
                return line.split(" ", 1)[1] + " (as the dependency folder says)"
    return "unknown"


def machine(gpu):
    """Device, driver and toolkit; `gpu` is the shell's line "name, driver, memory, capability"."""
    told = [part.strip() for part in gpu.split(",")] + [""] * 4
    release = re.search(r"release [\d.]+, V([\d.]+)", said_by(os.environ.get("CUDACXX", "nvcc"), "--version"))
    return {"device": told[0], "driver": told[1], "device_memory": told[2], "compute_capability": told[3],
            "toolkit": release.group(1) if release else ""}


def gpu_targets(root, known):
    """The program, and of the `known` targets the device library and tests labelled gpu."""
    wanted = {"sherd_cuda"} | {name for name in known if re.fullmatch(r"(gpu_\w+|\w+_gpu)_test", name)}
    for path in (root / "tests").rglob("CMakeLists.txt"):
        for call in re.findall(r"(?:sherd_test|acceptance)\(([^)]*)\)", path.read_text()):
            if re.search(r"\bLABEL\s+gpu\b", call):
                name = call.split()[0].replace("/", "_") + "_test"
                wanted |= {name, f"acceptance_{name}"}
    return ["sherd", *sorted(wanted & set(known))]


class Results:
    """Rows by name, kept in BUILD/check.json for the next run and written to OUT/results.json."""

    def __init__(self, build, out, root=ROOT, deps=None, gpu=""):
        self.state, self.file = build / "check.json", out / "results.json"
        self.tree = tree_hash(root)
        self.head = {"commit": commit_of(root, deps), "tree": self.tree, **machine(gpu)}
        self.rows, self.touched = {}, set()
        try:
            before = json.loads(self.state.read_text())
            if before["tree"] == self.tree:
                self.rows = {one["name"]: one for one in before["rows"]}
        except (OSError, ValueError, KeyError):
            pass

    def done(self, *names):
        return all(self.rows.get(name, {}).get("status") in ("passed", "skipped") for name in names)

    def forget(self, *names):
        """Rows that only said why nothing was run."""
        for name in names:
            self.rows.pop(name, None)

    def add(self, rows):
        for one in rows:
            self.rows[one["name"]] = one
            self.touched.add(one["name"])
            print(f"{one['status']:<8} {one['name']}  {one['detail']}".rstrip(), flush=True)
        self.write()

    def write(self):
        date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        text = json.dumps({**self.head, "date": date, "rows": list(self.rows.values())}, indent=1)
        for path in (self.state, self.file):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(text + "\n")
            part.replace(path)

    def code(self):
        return 1 if any(self.rows[name]["status"] == "failed" for name in self.touched) else 0


class Check:
    def __init__(self, options, results):
        self.build, self.device, self.quick = options.build.resolve(), options.device, options.quick
        self.sherd = self.build / "sherd"
        self.results, self.clock = results, Clock(options.budget)
        self.scratch = self.build / "check"
        self.scratch.mkdir(parents=True, exist_ok=True)

    def train(self, device, flags, limit=150):
        """((start, steps, end) or None, cause, seconds)."""
        log = self.scratch / "run.jsonl"
        log.unlink(missing_ok=True)
        command = [self.sherd, "train", "--device", device, "--quiet", "--log", log, *flags]
        code, text, seconds = self.clock.run(command, limit)
        if code != 0:
            return None, f"exit code {code}: {last_line(text)}", seconds
        found = read_log(log)
        if not all(found):
            return None, "the log has no start, step or end", seconds
        return found, "", seconds

    def flags(self, world, precision):
        """Of the small run that is compared: five steps on a page of this project."""
        flags = ["--data", ROOT / "docs" / "style.md", "--model", "gpt2-tiny", "--micro-batch", "2", "--steps", "5",
                 "--lr", "1e-3", "--weight-decay", "0.1", "--clip-grad-norm", "1", "--seed", "1",
                 "--bucket-bytes", "512KiB", "--ranks", world, "--precision", precision]
        return [*flags, "--loss-scale-init", "1024"] if precision == "fp16" else flags

    def group(self, world, precision):
        """Every stage, the last one again, and the CPU."""
        name = f"train.{world}.{precision}"
        names = [f"{name}.{part}" for part in ("stages", "repeat", "plan", "growth", "loss")]
        if self.results.done(*names):
            return
        flags = [*self.flags(world, precision), "--backend", "local"]
        stages = (0, 3) if self.quick else STAGES
        runs = [("cpu", 0), *((self.device, stage) for stage in stages), (self.device, stages[-1])]
        logs, spent = [], 0.0
        for device, stage in runs:
            log, cause, seconds = self.train(device, [*flags, "--zero-stage", stage])
            spent += seconds
            if log is None:
                cause = f"stage {stage} on {device}: {cause}"
                return self.results.add([failed(one, cause, spent) for one in names])
            logs.append(log)
        self.results.add(compare_group(name, precision, dict(zip(stages, logs[1:-1])), logs[-1], logs[0], spent))

    def nccl(self):
        """A world of one through NCCL, which refuses two ranks on one card, has `local`'s bits."""
        names, local = ("train.1.bf16.nccl",), self.results.rows.get("train.1.bf16.stages")
        if self.results.done(*names) or local is None or not self.device.startswith("cuda"):
            return
        log, cause, seconds = self.train("cuda", [*self.flags(1, "bf16"), "--backend", "nccl", "--zero-stage", 3])
        if log is None:
            status = "not_run" if "NCCL" in cause and cause.startswith("exit code 2") else "failed"
            return self.results.add([row(names[0], status, cause, seconds)])
        ours, theirs = log[2]["parameters_hash"], local["values"].get("parameters_hash")
        self.results.add([judged(names[0], ours == theirs, f"nccl {ours}, local {theirs}", seconds)])

    def suites(self, prefix=""):
        code, text, _ = self.clock.run(["ctest", "--test-dir", self.build, "--show-only=json-v1"], 60)
        return suites_of(json.loads(text[text.index("{"):]), "gpu", prefix) if code == 0 else {}

    def test(self):
        self.results.forget("ctest")
        suites = self.suites()
        if not suites:
            self.results.add([failed("ctest", "no test is labelled gpu: was the build phase run?")])
        for suite in sorted(suites):
            name, junit = f"ctest.{suite}", self.scratch / "junit.xml"
            if self.results.done(name):
                continue
            junit.unlink(missing_ok=True)
            command = ["ctest", "--test-dir", self.build, "-L", "^gpu$", "-R", f"^{re.escape(suite)}:",
                       "--output-junit", junit, "--output-on-failure", "--timeout", "120", "-j", "2"]
            code, text, seconds = self.clock.run(command, 300)
            (self.scratch / f"{suite}.log").write_text(text)
            self.results.add([junit_row(name, junit.read_text(), code, seconds) if junit.is_file()
                              else failed(name, last_line(text), seconds)])
        for world in (1, 2) if self.quick else (1, 2, 4):
            for precision in ("bf16",) if self.quick else LOSS_TOLERANCE:
                self.group(world, precision)
        self.nccl()

    def sanitize(self):
        tool = sanitizer()
        self.results.forget("sanitize", *(f"sanitize.{check}" for check in CHECKS))
        for check in CHECKS:
            if tool is None:
                self.results.add([row(f"sanitize.{check}", "not_run", "compute-sanitizer is not on this machine")])
        suites = self.suites("gpu.kernels") if tool else {}
        if tool and not suites:
            self.results.add([failed("sanitize", "no test is named gpu.kernels: was the build phase run?")])
        for check in CHECKS:
            for suite, program in sorted(suites.items()):
                name = f"sanitize.{check}.{suite}"
                if self.results.done(name):
                    continue
                command = [tool, "--tool", check, "--error-exitcode", "99", "--print-limit", "20", program]
                code, text, seconds = self.clock.run(command, 300)
                (self.scratch / f"{name}.log").write_text(text)
                self.results.add([sanitizer_row(name, code, text, seconds)])

    def bench(self):
        quick = ["--quick"] if self.quick else []
        for what in ("step", "optim", "comm"):
            name = f"bench{'.quick' if self.quick else ''}.{what}"
            if self.results.done(name):
                continue
            command = [self.sherd, "bench", what, "--device", self.device, "--json", *quick]
            code, text, seconds = self.clock.run(command, 200)
            rows = bench_rows(name, text)
            self.results.add([*rows, judged(name, code == 0 and rows, f"exit code {code}: {last_line(text)}",
                                            seconds, {"rows": len(rows)})])
        for model in list(MODELS)[:1] if self.quick else MODELS:
            for stage in (0, 3):
                for recompute in ("none", "block"):
                    self.speed(model, stage, recompute)
        if self.quick:
            return self.offload("quick.gpt2-124m.host", "gpt2-124m", OFFLOADS["gpt2-1558m.host"])
        for name, how in OFFLOADS.items():
            self.offload(name, "gpt2-1558m", how)

    def speed(self, model, stage, recompute):
        name = f"speed{'.quick' if self.quick else ''}.{model}.stage{stage}.{recompute}"
        if self.results.done(name):
            return
        log, cause, seconds = self.train(self.device, [
            "--data", self.tokens(), "--model", model, "--seq-len", LENGTH, "--micro-batch", MODELS[model][2],
            "--steps", 6 if self.quick else 16, "--precision", "bf16", "--zero-stage", stage,
            "--recompute", recompute, "--clip-grad-norm", "1", "--ranks", "1"], 200)
        if log is None:
            return self.results.add([failed(name, cause, seconds)])
        values = speed_values(model, self.results.head["device"], log[0], log[1])
        self.results.add([row(name, "passed", "", seconds, values)])

    def plan(self, flags):
        """(plan or None, cause)."""
        code, text, _ = self.clock.run([self.sherd, "plan", "--json", "--device", self.device.split(":")[0], *flags], 60)
        start = text.find("{")
        if code != 0 or start < 0:
            return None, f"plan: exit code {code}: {last_line(text)}"
        return json.loads(text[start:]), ""

    def offload(self, what, model, how):
        """Trains with states elsewhere, and with all of them on the device where that has room."""
        name, began = f"offload.{what}", time.monotonic()
        network, places, fractions = how
        if self.results.done(name):
            return
        flags = ["--model", model, "--precision", "bf16", "--clip-grad-norm", "1", "--ranks", 1, *network]
        resident, cause = self.plan(flags)
        if resident is None:
            return self.results.add([failed(name, cause)])
        for fraction in fractions:
            there = [*flags, *places, "--offload-fraction", fraction]
            plan, cause = self.plan(there)
            problem = cause or room_problem(plan, self.device_memory(), 0)
            if not problem:
                break
        problem = problem or room_problem(plan, 0, free_host_memory())
        if plan is None:
            return self.results.add([failed(name, cause)])
        if problem:
            return self.results.add([row(name, "skipped", problem)])
        runs = [there] if room_problem(resident, self.device_memory(), free_host_memory()) else [there, flags]
        logs = []
        for run in runs:
            log, cause, _ = self.train(self.device, [*run, "--data", self.tokens(), "--steps", 4], 400)
            if log is None:
                return self.results.add([failed(name, cause, time.monotonic() - began)])
            logs.append(log)
        self.results.add([offload_row(name, logs[0], logs[1] if len(logs) > 1 else None, time.monotonic() - began,
                                      fraction)])

    def device_memory(self):
        """Bytes of the card, a part left to others; 0: unknown."""
        told = re.fullmatch(r"(\d+) MiB", self.results.head["device_memory"])
        return int(int(told.group(1)) * 0.98) << 20 if told else 0

    def tokens(self):
        """Random GPT-2 tokens as a .npy file: speed does not depend on what they say."""
        path, count = self.scratch / "tokens.npy", 1 << 21
        if not path.is_file():
            words = "{'descr': '<u2', 'fortran_order': False, 'shape': (%d,), }" % count
            words += " " * (-(10 + len(words) + 1) % 64) + "\n"
            draw = random.Random(0)
            body = array.array("H", (draw.randrange(50257) for _ in range(count)))
            path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(words)) + words.encode() + body.tobytes())
        return path


def free_host_memory():
    """Bytes that may be pinned, a part left to others; 0: unknown."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(int(found.group(1)) * 0.95) << 10 if found else 0


def sanitizer():
    """compute-sanitizer of the path, else of the toolkit in use."""
    compiler = Path(os.environ.get("CUDACXX", "/usr/local/cuda/bin/nvcc")).parent
    for folder in (None, str(compiler), str(compiler.parent / "compute-sanitizer")):
        found = shutil.which("compute-sanitizer", path=folder)
        if found:
            return found
    return None


def failing_line(text):
    """The line of a build's output that says what went wrong."""
    lines = text.splitlines()
    for sign in (" error: ", "error: ", "undefined reference", "CMake Error", "FAILED"):
        for at, line in enumerate(lines):
            if sign in line:
                # CMake says what is wrong on the next lines.
                return " ".join(" ".join(lines[at:at + 4]).split())[:300] if sign == "CMake Error" else line[:300]
    return last_line(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", nargs="?", choices=("run", "row", "targets"))
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu" / "results")
    parser.add_argument("--deps", default=None)
    parser.add_argument("--phase", choices=("test", "sanitize", "bench"))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--budget", type=float, default=470)
    for name in ("name", "status", "log", "gpu"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--seconds", type=float, default=0)
    options = parser.parse_args()
    if not options.self_test and options.command is None:
        parser.error("need a command or --self-test")
    return options


def main():
    options = arguments()
    if options.self_test:
        runpy.run_path(str(ROOT / "tests" / "scripts" / "gpu_check_test.py"), run_name="__main__")
        return 0
    if options.command == "targets":
        known = re.findall(r"^(?:\.\.\. )?(\w+)(?::|$)", (options.build / "targets").read_text(), re.MULTILINE)
        print("\n".join(gpu_targets(ROOT, known)))
        return 0
    results = Results(options.build, options.out, deps=options.deps, gpu=options.gpu)
    if options.command == "row":
        why = {"passed": "", "not_run": "out of time; run it again"}.get(options.status)
        detail = failing_line(Path(options.log).read_text(errors="replace")) if why is None else why
        results.add([row(options.name, options.status, detail, options.seconds)])
        return 0
    unfinished = f"{options.phase}.unfinished"
    results.forget(unfinished)
    try:
        getattr(Check(options, results), options.phase)()
    except OutOfTime:
        results.add([row(unfinished, "not_run", "out of time; run the phase again, what passed is kept")])
        return results.code() or 4
    results.write()
    return results.code()


if __name__ == "__main__":
    sys.exit(main())
