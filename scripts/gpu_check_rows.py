"""What runs, tests and tools said, judged: each function gives rows of results.json."""
import json
import re
import statistics
import xml.etree.ElementTree as ElementTree
from pathlib import Path

STATUSES = ("passed", "failed", "skipped", "not_run")
# Largest |gpu - cpu| / |cpu| of a loss within five steps: a thousand unit round-offs of fp32, a few of the others,
# since sums run in another order; chosen before any device was seen.
LOSS_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-3, "fp16": 2e-3}
# Device memory that may come into use after step 2, in bytes.
GROWTH_LIMIT = 1 << 20
# Dense bf16 on the tensor cores, as published for H100 and H200 (SXM).
PEAK_FLOPS = 989.4e12
MODELS = {"gpt2-124m": (12, 768, 64), "gpt2-774m": (36, 1280, 32), "gpt2-1558m": (48, 1600, 16)}
LENGTH = 1024
# What does not fit on a card whole: flags of the network and its batch (at least 64k tokens a step in the first two)
# and of where states live, and the fractions of them that may be tried, the smallest first.
HOST = ["--offload-optimizer", "host"]
SEVEN = ["--seq-len", LENGTH, "--layers", 32, "--width", 4096, "--heads", 32, "--grad-dtype", "bf16", "--recompute", "block"]
THIRTY = ["--seq-len", LENGTH, "--layers", 52, "--width", 7168, "--heads", 56, "--grad-dtype", "bf16", "--recompute",
          "block", "--master", "split", "--moments", "int8"]
OFFLOADS = {
    "gpt2-1558m.host": (["--seq-len", LENGTH, "--micro-batch", 16, "--grad-accum", 4], HOST, (1,)),
    "7b.host": ([*SEVEN, "--micro-batch", 8, "--grad-accum", 8], HOST, (1,)),
    "32b.split": ([*THIRTY, "--micro-batch", 4, "--grad-accum", 4], HOST, tuple(p / 100 for p in range(50, 101, 5))),
}


def row(name, status, detail="", seconds=0.0, values=None):
    assert status in STATUSES, status
    return {"name": name, "status": status, "seconds": round(seconds, 3), "detail": detail,
            "values": values or {}}


def failed(name, detail, seconds=0.0, values=None):
    return row(name, "failed", detail, seconds, values)


def judged(name, holds, detail, seconds=0.0, values=None):
    """A row that passed without words, or failed with `detail`."""
    return row(name, "passed" if holds else "failed", "" if holds else detail, seconds, values)


def last_line(text):
    """The last line of an output that says something, as the cause of a failure."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("sherd: ") or "rror" in line]
    return (told or lines or ["no output"])[-1][:300]


def read_log(path):
    """(start, steps, end) of a --log file; None for what is missing."""
    start = end = None
    steps = []
    for line in Path(path).read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "start":
            start = event
        elif event["event"] == "step":
            steps.append(event)
        elif event["event"] == "end":
            end = event
    return start, steps, end


def different_bytes(plan, peak):
    """Tier and use of every number that differs between the plan and the ledger."""
    uses = [(tier, use) for tier in plan for use in plan[tier]]
    uses += [(tier, use) for tier in peak for use in peak[tier] if use not in plan.get(tier, {})]
    return [f"{tier}.{use}: planned {plan.get(tier, {}).get(use)}, measured {peak.get(tier, {}).get(use)}"
            for tier, use in uses if plan.get(tier, {}).get(use) != peak.get(tier, {}).get(use)]


def loss_distance(ours, theirs):
    """Largest relative difference of two loss traces; infinite if one is shorter or not finite."""
    if not ours or len(ours) != len(theirs) or None in ours or None in theirs:
        return float("inf")
    return max(abs(a - b) / abs(b) if b else abs(a) for a, b in zip(ours, theirs))


def compare_group(name, precision, stages, again, cpu, seconds=0.0):
    """Rows of one world and precision. `stages`: {stage: log}; `again`: the last one repeated; `cpu`:
    the same run on the CPU. A log is (start, steps, end)."""
    hashes = {stage: log[2]["parameters_hash"] for stage, log in stages.items()}
    keys = {log[0]["numerics_key"] for log in stages.values()}
    last = max(stages)
    wrong = [f"stage {stage} {text}" for stage, log in stages.items()
             for text in different_bytes(log[0]["plan"], log[2]["peak"])]
    losses = {stage: [step["loss"] for step in log[1]] for stage, log in stages.items()}
    reference = [step["loss"] for step in cpu[1]]
    distance = max(loss_distance(trace, reference) for trace in losses.values())
    limit = LOSS_TOLERANCE[precision]
    growth = {stage: log[2].get("device_growth") for stage, log in stages.items()}
    known = [bytes_ for bytes_ in growth.values() if bytes_ is not None]
    return [
        judged(f"{name}.stages", len(set(hashes.values())) == 1 and len(keys) == 1,
               f"hashes {hashes}, numerics keys {sorted(keys)}", seconds,
               {"parameters_hash": hashes[last], "numerics_key": sorted(keys)[0]}),
        judged(f"{name}.repeat", again[2]["parameters_hash"] == hashes[last],
               f"first {hashes[last]}, then {again[2]['parameters_hash']}"),
        judged(f"{name}.plan", not wrong, "; ".join(wrong[:4]),
               values={"peak": stages[last][2]["peak"]["device"]["peak"]}),
        judged(f"{name}.growth", max(known) <= GROWTH_LIMIT, f"device memory grew by {growth} bytes",
               values={"largest": max(known)}) if known
        else row(f"{name}.growth", "skipped", "the runs did not measure the device's memory"),
        judged(f"{name}.loss", distance <= limit, f"off the CPU by {distance:.3g}, at most {limit}",
               values={"largest_relative_difference": distance if distance < float("inf") else None,
                       "tolerance": limit, "gpu": losses[last], "cpu": reference}),
    ]


def read_junit(text):
    """{'passed': n, 'failed': [names], 'skipped': [names]} of ctest's JUnit file."""
    found = {"passed": 0, "failed": [], "skipped": []}
    for case in ElementTree.fromstring(text).iter("testcase"):
        if case.find("failure") is not None or case.get("status") == "fail":
            found["failed"].append(case.get("name"))
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            found["skipped"].append(case.get("name"))
        else:
            found["passed"] += 1
    return found


def junit_row(name, text, code, seconds):
    found = read_junit(text)
    values = {"passed": found["passed"], "failed": len(found["failed"]), "skipped": found["skipped"]}
    if found["failed"] or code != 0:
        cause = "; ".join(found["failed"][:3]) or f"ctest ended with exit code {code}"
        return failed(name, cause, seconds, values)
    if found["passed"] == 0:
        return row(name, "skipped", "every case was skipped", seconds, values)
    return row(name, "passed", "", seconds, values)


def suites_of(listing, label, prefix=""):
    """{suite: program} of `ctest --show-only=json-v1`: names are "suite:case"."""
    suites = {}
    for test in listing["tests"]:
        labels = next((p["value"] for p in test.get("properties", []) if p["name"] == "LABELS"), [])
        suite = test["name"].split(":")[0]
        if label in labels and suite.startswith(prefix) and test.get("command"):
            suites.setdefault(suite, test["command"][0])
    return suites


def sanitizer_row(name, code, text, seconds):
    """Judges compute-sanitizer's own summary; an exit code alone says nothing about it."""
    for refusal in ("Device not supported", "not supported on this", "Unable to find injection library"):
        if refusal in text:
            return row(name, "not_run", f"compute-sanitizer: {refusal}", seconds)
    if "terminated before first instrumented API call" in text:
        return row(name, "skipped", "the suite made no call to a device", seconds)
    errors = re.findall(r"ERROR SUMMARY: (\d+) error", text)
    races = re.findall(r"RACECHECK SUMMARY: (\d+) hazards? displayed \((\d+) errors?, (\d+) warning", text)
    if not errors and not races:
        return failed(name, f"exit code {code} and no summary: {last_line(text)}", seconds)
    found = sum(map(int, errors)) + sum(int(part) for race in races for part in race[1:])
    what = re.search(r"^=+ ((?:Invalid|Error|Warning|Program hit|Barrier|Race).*)$", text, re.MULTILINE)
    return judged(name, found == 0 and code == 0,
                  f"{found} found, exit code {code}: {what.group(1) if what else last_line(text)}",
                  seconds, {"errors": found})


def bench_rows(name, text):
    """A row for each JSON line of `sherd bench --json`; one with wrong results or without a bound failed."""
    rows = []
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        values = json.loads(line)
        unit = "flop_per_s" if "flop_per_s" in values else "gb_per_s"
        missing = [key for key in ("seconds", unit, f"bound_{unit}", "of_bound", "wrong") if values.get(key) is None]
        cause = f"no {', '.join(missing)}" if missing else f"{values['wrong']} wrong results"
        rows.append(judged(f"{name}.{len(rows)}.{values['name'].replace(' ', '_')}",
                           not missing and values["wrong"] == 0, cause, values.get("seconds") or 0.0, values))
    return rows


def flops_per_token(parameters, layers, width, length):
    """6 N for products with weights, 12 L w T for attention; recomputed work does not count."""
    return 6 * parameters + 12 * layers * width * length


def speed_values(model, device, start, steps):
    """Tokens/s of the steps after warm-up, and the part of the published peak they reach."""
    layers, width, micro_batch = MODELS[model]
    rate = statistics.median(step["tokens_per_second"] for step in steps[3:])
    per_token = flops_per_token(start["parameters"], layers, width, LENGTH)
    known = re.search(r"\bG?H[12]00\b", device) is not None
    return {"tokens_per_second": rate, "flops_per_token": per_token, "micro_batch": micro_batch,
            "formula": "6 N + 12 layers width length", "peak_flops": PEAK_FLOPS if known else None,
            "mfu": rate * per_token / PEAK_FLOPS if known else None,
            "device_peak_bytes": start["plan"]["device"]["peak"], "steps": len(steps)}


def room_problem(plan, device, host):
    """Why a planned run has no room; empty if it has, or if nobody knows how much there is."""
    needs = (("device", plan["need"], device), ("host", plan["plan"]["host"]["peak"], host))
    short = [f"{what} memory: needs {need >> 20} MiB, has {has >> 20}" for what, need, has in needs if has and need > has]
    return "; ".join(short)


def offload_row(name, offloaded, resident, seconds, fraction):
    """Speed of a run whose states are elsewhere; beside the resident run, where that has room: equal bits, and how
    much longer a step takes."""
    start, steps, end = offloaded
    rate = lambda log: statistics.median(step["tokens_per_second"] for step in log[1][1:])
    wrong = different_bytes(start["plan"], end["peak"])
    values = {"tokens_per_second": rate(offloaded), "parameters": start["parameters"], "offload_fraction": fraction,
              "device_peak_bytes": start["plan"]["device"]["peak"], "host_peak_bytes": start["plan"]["host"]["peak"],
              "losses": [step["loss"] for step in steps], "steps": len(steps)}
    if resident is not None:
        values["resident_tokens_per_second"] = rate(resident)
        values["step_of_resident"] = rate(resident) / rate(offloaded)
        for key, ours, theirs in (("parameters_hash", end, resident[2]), ("numerics_key", start, resident[0])):
            if ours[key] != theirs[key]:
                wrong.append(f"{key} {ours[key]}, resident {theirs[key]}")
    return judged(name, not wrong, "; ".join(wrong[:4]), seconds, values)
