#!/usr/bin/env bash
# Trains one small network under every policy that may not change a bit, and compares the bits.
#   sweep.sh           the whole product of stages, recompute, overlap, prefetch and bucket sizes
#   sweep.sh --quick   four policies for some keys, each pair of values of two flags in some run
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

quick=0
case "${1-}" in
  --quick) quick=1 ;;
  '') ;;
  *)
    echo "sweep.sh: got '$1', need --quick or nothing" >&2
    exit 2
    ;;
esac

build release sherd >/dev/null
text=/usr/share/common-licenses/GPL-3
if [[ ! -r $text ]]; then
  echo "sweep.sh: cannot read $text" >&2
  exit 4
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT # Ctrl-C is no failure to report

python3 - "$root/build/release/sherd" "$text" "$work" "$quick" <<'PYTHON'
"""Runs the sweep: one line a key, then what differed."""
import itertools
import json
import pathlib
import subprocess
import sys

program, text, work, quick = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4] == "1"
SHAPE = ("--layers 2 --width 72 --heads 3 --vocab-size 259 --seq-len 33 --micro-batch 2 --steps 3 "
         "--threads 1 --clip-grad-norm 1 --weight-decay 0.1 --quiet").split()
KEYS = list(itertools.product((1, 2, 3, 5), ("fp32", "bf16", "fp16"),
                              ((1, "step"), (3, "step"), (3, "micro"))))
POLICIES = list(itertools.product((0, 1, 2, 3), ("none", "selective", "block"), ("off", "on"),
                                  (0, 1, 3), ("1", "150KiB", "4MiB")))
FLAGS = ("--zero-stage", "--recompute", "--overlap", "--prefetch", "--bucket-bytes")


def pairwise(policies):
    """Greedy: policies until each pair of values of two flags stands in one."""
    def pairs(policy):
        return set(itertools.combinations(enumerate(policy), 2))

    missing = set().union(*map(pairs, policies))
    chosen = []
    while missing:
        best = max(policies, key=lambda policy: len(pairs(policy) & missing))
        chosen.append(best)
        missing -= pairs(best)
    return chosen


def run(key, policy):
    """(numerics key, parameters hash, losses) of one run, or what went wrong as a string."""
    world, precision, (accum, rhythm) = key
    log = work / "log.jsonl"
    log.unlink(missing_ok=True)
    flags = ["--ranks", world, "--precision", precision, "--grad-accum", accum, "--reduce-every", rhythm]
    flags += itertools.chain.from_iterable(zip(FLAGS, policy))
    if precision == "fp16":  # so that no step is skipped
        flags += ["--loss-scale-init", 1024]
    command = [program, "train", "--data", text, "--log", str(log), *SHAPE, *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return f"exit {done.returncode}: {done.stderr.strip()[-300:]}"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    losses = tuple(repr(event["loss"]) for event in events if event["event"] == "step")
    return events[0]["numerics_key"], events[-1]["parameters_hash"], losses


# Quick: every world, precision and rhythm in some key, and every pair of policy values in some run.
COVERING = pairwise(POLICIES) if quick else []
keys = [key for i, key in enumerate(KEYS) if (i + i // 3 + i // 9) % 3 == 0] if quick else KEYS


def policies_of(number):
    if not quick:
        return POLICIES
    return [POLICIES[0]] + [COVERING[(3 * number + i) % len(COVERING)] for i in range(3)]


failures, runs, by_numerics = [], 0, {}
for number, key in enumerate(keys):
    name = f"world {key[0]} {key[1]} accum {key[2][0]} reduce {key[2][1]}"
    before, results = len(failures), []
    for policy in policies_of(number):
        told = " ".join(f"{flag} {value}" for flag, value in zip(FLAGS, policy))
        result = run(key, policy)
        runs += 1
        if isinstance(result, str):
            failures.append(f"{name} {told}: {result}")
            continue
        results.append(result)
        if result[0] != results[0][0]:
            failures.append(f"{name} {told}: another numerics key")
        if by_numerics.setdefault(result[0], result) != result:
            failures.append(f"{name} {told}: other bits: {result} for {by_numerics[result[0]]}")
    hashes = sorted({result[1] for result in results})
    print(f"{'equal ' if len(failures) == before else 'DIFFER'} {name}: {len(results)} runs, "
          f"hash {' '.join(hashes)}", flush=True)
print(f"{runs} runs, {len(by_numerics)} numerics keys, {len(failures)} failures")
print(*failures, sep="\n", end="\n" if failures else "")
sys.exit(1 if failures else 0)
PYTHON
