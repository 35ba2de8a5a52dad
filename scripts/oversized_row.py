"""The bench row of oversized.sh: a step's time beside the larger of what its bytes and its
arithmetic need.

oversized_row.py IO PLAN LOG TRACE: rows of `sherd bench io --json`, `sherd plan --json`, and the
log and trace of the run. The disk's rate is that of the direct calls the io rows were held against.
"""
import json
import sys


def main() -> int:
    if len(sys.argv) != 5:
        print("oversized_row.py: need IO PLAN LOG TRACE", file=sys.stderr)
        return 2
    io_rows, plan, log, trace = (open(path, encoding="utf-8").read() for path in sys.argv[1:])
    events = [json.loads(line) for line in log.splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    end = events[-1]
    if len(steps) < 2:
        print("oversized_row.py: need two steps: the first one's time has the start in it", file=sys.stderr)
        return 2
    seconds = min(step["seconds"] for step in steps[1:])
    rows = [json.loads(line) for line in io_rows.splitlines()]
    disk = max(row["bound_gb_per_s"] for row in rows if "read" in row["name"] and "write" in row["name"]) * 1e9
    moved = json.loads(plan)["moved_bytes"]
    on_disk = (moved["read"] + moved["written"]) / disk
    compute = sum(
        event["dur"] / 1e6
        for event in json.loads(trace)["traceEvents"]
        if event["ph"] == "X" and event["tid"] == 0
    ) / len(steps)
    bound = max(on_disk, compute)
    row = {
        "name": "oversized.gpt2-1558m",
        "seconds": seconds,
        "bound_name": "the larger of disk and compute",
        "bound_seconds": bound,
        "of_bound": bound / seconds,
        "times_bound": seconds / bound,
        "disk_seconds": on_disk,
        "disk_gb_per_s": disk / 1e9,
        "compute_seconds": compute,
        "rss_peak": end["rss_peak"],
        "device_peak": end["peak"]["device"]["peak"],
        "host_peak": end["peak"]["host"]["peak"],
        "file_peak": end["peak"]["file"]["peak"],
        "wrong": sum(1 for step in steps if step["loss"] is None or step["skipped"]),
    }
    print(json.dumps(row))
    return 0 if row["wrong"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
