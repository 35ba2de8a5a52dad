#!/usr/bin/env python3
"""The host half of gpu_check: what judges results, on recorded output, and the script's own course
with programs that only speak as the real ones do. With --sherd FILE and --library FILE the small runs are
real, on the emulated device."""
import copy
import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "scripts"))
import gpu_check  # noqa: E402
import gpu_check_rows as rows  # noqa: E402

FIXTURES = HERE / "fixtures"
GIVEN = {}


def status_of(found):
    return {one["name"]: one["status"] for one in found}


class Judging(unittest.TestCase):
    def setUp(self):
        self.log = rows.read_log(FIXTURES / "train.jsonl")
        self.stages = {stage: copy.deepcopy(self.log) for stage in range(4)}

    def compared(self, again=None, cpu=None):
        found = rows.compare_group("g", "bf16", self.stages, again or self.log, cpu or self.log)
        return status_of(found)

    def test_equal_runs_pass(self):
        found = self.compared()
        self.assertEqual(found.pop("g.growth"), "skipped")  # the CPU has no memory of its own to watch
        self.assertEqual(set(found.values()), {"passed"})

    def test_memory_that_grows_beyond_a_mebibyte_fails(self):
        for growth, want in (((0, 4096), "passed"), ((0, (1 << 20) + 1), "failed")):
            self.stages[0][2]["device_growth"], self.stages[3][2]["device_growth"] = growth
            self.assertEqual(self.compared()["g.growth"], want)

    def test_a_stage_with_another_hash_fails_alone(self):
        self.stages[2][2]["parameters_hash"] = "0" * 32
        self.assertEqual([n for n, s in self.compared().items() if s == "failed"], ["g.stages"])

    def test_a_stage_with_another_key_fails(self):
        self.stages[1][0]["numerics_key"] = "0" * 32
        self.assertEqual(self.compared()["g.stages"], "failed")

    def test_a_repeat_with_another_hash_fails_alone(self):
        other = copy.deepcopy(self.log)
        other[2]["parameters_hash"] = "1" * 32
        self.assertEqual([n for n, s in self.compared(again=other).items() if s == "failed"], ["g.repeat"])

    def test_one_byte_off_the_plan_fails_and_is_named(self):
        self.stages[3][2]["peak"]["device"]["comm"] += 1
        found = rows.compare_group("g", "bf16", self.stages, self.log, self.log)
        self.assertEqual([one["name"] for one in found if one["status"] == "failed"], ["g.plan"])
        self.assertIn("stage 3 device.comm", found[2]["detail"])

    def test_a_use_that_only_the_ledger_knows_fails(self):
        self.stages[0][2]["peak"]["host"]["stray"] = 8
        self.assertEqual(self.compared()["g.plan"], "failed")

    def test_a_loss_within_tolerance_passes_and_one_beyond_fails(self):
        for factor, want in ((1 + 0.9 * 5e-3, "passed"), (1 + 1.1 * 5e-3, "failed")):
            self.stages[1][1][4]["loss"] = self.log[1][4]["loss"] * factor
            self.assertEqual(self.compared()["g.loss"], want)

    def test_a_loss_that_is_missing_or_null_fails(self):
        self.assertEqual(rows.loss_distance([1.0], [1.0, 2.0]), float("inf"))
        self.assertEqual(rows.loss_distance([1.0, None], [1.0, 2.0]), float("inf"))
        self.assertEqual(rows.loss_distance([], []), float("inf"))

    def test_a_junit_file_is_counted_by_outcome(self):
        text = (FIXTURES / "ctest_junit.xml").read_text()
        found = rows.read_junit(text)
        self.assertEqual(found["passed"], 2)
        self.assertEqual(len(found["failed"]), 2)
        self.assertEqual(found["skipped"], ["gpu.kernels_cast:a cast rounds to even"])
        self.assertEqual(rows.junit_row("s", text, 8, 1)["status"], "failed")

    def test_a_suite_that_only_skipped_did_not_pass(self):
        text = '<testsuite><testcase name="a" status="notrun"><skipped/></testcase></testsuite>'
        self.assertEqual(rows.junit_row("s", text, 0, 1)["status"], "skipped")
        self.assertEqual(rows.junit_row("s", "<testsuite/>", 8, 1)["status"], "failed")

    def test_suites_are_found_by_label_and_prefix(self):
        listing = json.loads((FIXTURES / "ctest_listing.json").read_text())
        self.assertEqual(sorted(rows.suites_of(listing, "gpu")),
                         ["gpu.conformance", "gpu.kernels_cast", "gpu.kernels_norm"])
        self.assertEqual(rows.suites_of(listing, "gpu", "gpu.kernels_norm"), {"gpu.kernels_norm": "/bin/true"})

    def test_a_sanitizer_is_judged_by_its_summary(self):
        judge = lambda text, code=0: rows.sanitizer_row("s", code, text, 1)["status"]
        self.assertEqual(judge("========= ERROR SUMMARY: 0 errors\n"), "passed")
        self.assertEqual(judge("========= ERROR SUMMARY: 0 errors\n", 1), "failed")
        self.assertEqual(judge("========= Invalid __global__ write of size 4 bytes\n"
                               "========= ERROR SUMMARY: 1 error\n", 99), "failed")
        clean = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
        self.assertEqual(judge(clean), "passed")
        self.assertEqual(judge(clean.replace("(0 errors, 0", "(0 errors, 2")), "failed")
        self.assertEqual(judge("Status: SUCCESS!\n"), "failed")
        self.assertEqual(judge("========= Error: Device not supported.\n", 1), "not_run")
        self.assertEqual(judge("========= Error: Target application terminated before first instrumented "
                               "API call\n"), "skipped")

    def test_a_bench_row_with_wrong_results_or_without_a_bound_fails(self):
        rate = {"seconds": 1.5, "gb_per_s": 9.0, "bound_gb_per_s": 10.0, "of_bound": 0.9}
        lines = [{"name": "adamw", **rate, "wrong": 0}, {"name": "lion n", **rate, "wrong": 3},
                 {"name": "sgd", "seconds": 1.5, "flop_per_s": 9.0, "wrong": 0}, {"name": "none", **rate, "seconds": None}]
        found = rows.bench_rows("bench.optim", "noise\n".join(json.dumps(line) + "\n" for line in lines))
        self.assertEqual(status_of(found), {"bench.optim.0.adamw": "passed", "bench.optim.1.lion_n": "failed",
                                            "bench.optim.2.sgd": "failed", "bench.optim.3.none": "failed"})
        self.assertEqual(found[0]["values"]["seconds"], 1.5)
        self.assertEqual([one["detail"] for one in found[1:]],
                         ["3 wrong results", "no bound_flop_per_s, of_bound", "no seconds, wrong"])

    def test_mfu_is_its_formula_and_only_known_for_known_peaks(self):
        self.assertEqual(rows.flops_per_token(10, 2, 3, 5), 6 * 10 + 12 * 2 * 3 * 5)
        start = {"parameters": 124439808, "plan": {"device": {"peak": 1}}}
        steps = [{"tokens_per_second": rate} for rate in (1, 1, 1, 450e3, 460e3, 470e3)]
        values = rows.speed_values("gpt2-124m", "NVIDIA H200", start, steps)
        self.assertEqual(values["tokens_per_second"], 460e3)
        self.assertAlmostEqual(values["mfu"], 460e3 * (6 * 124439808 + 12 * 12 * 768 * 1024) / 989.4e12)
        self.assertIsNone(rows.speed_values("gpt2-124m", "NVIDIA L4", start, steps)["mfu"])

    def test_an_offloaded_run_must_have_the_resident_bits_and_its_planned_bytes(self):
        judge = lambda resident: rows.offload_row("o", self.log, resident, 1, 0.5)
        self.assertEqual(judge(None)["status"], "passed")
        self.assertNotIn("step_of_resident", judge(None)["values"])
        slower = copy.deepcopy(self.log)
        for step in slower[1]:
            step["tokens_per_second"] *= 0.5
        self.assertEqual(judge(slower)["values"]["step_of_resident"], 0.5)
        for part, key in ((2, "parameters_hash"), (0, "numerics_key")):
            other = copy.deepcopy(self.log)
            other[part][key] = "0" * 32
            self.assertEqual(judge(other)["status"], "failed")
            self.assertIn(key, judge(other)["detail"])
        self.log[2]["peak"]["host"]["peak"] += 1
        self.assertEqual(judge(None)["status"], "failed")

    def test_a_run_without_room_is_named_with_its_bytes(self):
        plan = {"need": 3 << 30, "plan": {"host": {"peak": 5 << 30}}}
        self.assertEqual(rows.room_problem(plan, 3 << 30, 5 << 30), "")
        self.assertEqual(rows.room_problem(plan, 0, 0), "")  # nobody knows
        self.assertEqual(rows.room_problem(plan, 2 << 30, 0), "device memory: needs 3072 MiB, has 2048")
        self.assertIn("host memory: needs 5120 MiB, has 4096", rows.room_problem(plan, 4 << 30, 4 << 30))

    def test_a_cause_is_the_line_that_tells_most(self):
        self.assertEqual(rows.last_line("a\nsherd: no device\nb\n"), "sherd: no device")
        self.assertEqual(rows.last_line("a\nb\n\n"), "b")
        self.assertEqual(gpu_check.failing_line("x\nm.cu(3): error: no\ny\n"), "m.cu(3): error: no")
        self.assertIn("needs 3.25", gpu_check.failing_line("CMake Error at C:1\n  needs 3.25\n"))

    def test_targets_are_the_program_and_the_tests_labelled_gpu(self):
        with tempfile.TemporaryDirectory() as folder:
            tests = Path(folder) / "tests" / "comm"
            tests.mkdir(parents=True)
            (tests / "CMakeLists.txt").write_text("sherd_test(comm/ipc\n  LABEL gpu NEEDS x)\nsherd_test(comm/local)\n")
            known = ["comm_ipc_test", "comm_local_test", "kernels_norm_gpu_test", "sherd_cuda", "sherd_base"]
            self.assertEqual(gpu_check.gpu_targets(Path(folder), known),
                             ["sherd", "comm_ipc_test", "kernels_norm_gpu_test", "sherd_cuda"])


FAKE = {
    "nvidia-smi": 'echo "NVIDIA H200, 580.1, 143771 MiB, 9.0"',
    "nvcc": "exit 1",
    "cmake": """
case "$*" in
  *--target\\ help*) printf 'sherd_cuda: phony\\ngpu_kernels_test: phony\\n' ;;
  *--build*) echo "$*" >"$FAKE_BUILD/built"; cp "$FAKE/sherd" "$FAKE_BUILD/sherd" ;;
  *) echo "$*" >"$FAKE_BUILD/configured"; if [ -n "${FAKE_BROKEN:-}" ]; then echo 'CMake Error: no'; exit 1; fi ;;
esac""",
    "ctest": """
case "$*" in
  *show-only*) cat "$FIXTURES/ctest_listing.json" ;;
  *) while [ "$1" != --output-junit ]; do shift; done
     echo '<t><testcase name="a" status="run"/></t>' >"$2" ;;
esac""",
    "compute-sanitizer": 'echo "========= ERROR SUMMARY: 0 errors"',
    "sherd": """
if [ "$1" = plan ]; then echo '{"need":1,"plan":{"host":{"peak":1}}}'; exit 0; fi
if [ "$1" = bench ]; then echo '{"name":"row","seconds":1,"gb_per_s":1,"bound_gb_per_s":2,"of_bound":0.5,"wrong":0}'; exit 0; fi
echo "$*" >>"$FAKE_BUILD/runs"
case "$*" in *"$FAKE_FAULT"*) if [ -n "$FAKE_FAULT" ]; then echo 'sherd: lost'; exit 5; fi ;; esac
while [ "$1" != --log ]; do shift; done
cp "$FIXTURES/train.jsonl" "$2"; tail -n 5 "$2" | head -n 3 >"$2.more"; cat "$2.more" >>"$2"; rm "$2.more\"""",
}


class Course(unittest.TestCase):
    """gpu_check.sh itself, with every program it calls replaced."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.base = Path(self.folder.name)
        self.build = self.base / "build"
        for name, body in FAKE.items():
            path = self.base / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("#!/usr/bin/env bash\n" + body.strip() + "\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run_script(self, *flags, **settings):
        environment = {**os.environ, "PATH": f"{self.base / 'bin'}:{os.environ['PATH']}", "FAKE": str(self.base / "bin"),
                       "CUDACXX": str(self.base / "bin" / "nvcc"), "FAKE_BUILD": str(self.build),
                       "FIXTURES": str(FIXTURES), "FAKE_FAULT": "", **settings}
        environment.pop("OUT", None)
        command = [str(ROOT / "scripts" / "gpu_check.sh"), "--build", str(self.build), *flags]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)

    def results(self):
        return json.loads((self.build / "results" / "results.json").read_text())

    def test_flags_are_checked(self):
        for flags, word in ((["--phase", "race"], "race"), (["--phase"], "needs a value"), (["--fast"], "--fast"),
                            (["--deps", str(self.base)], "gpu_deps.sh")):
            done = self.run_script(*flags)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(word, done.stderr)
        done = self.run_script("--dry-run", "--quick", "--out", "there")
        self.assertIn("phases: build test sanitize bench\nquick: 1\n", done.stdout)
        self.assertIn("out: there\n", done.stdout)

    def test_without_a_gpu_only_the_build_runs(self):
        (self.base / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
        done = self.run_script()
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("no working GPU", done.stderr.splitlines()[-1])
        self.assertIn("-DCMAKE_CUDA_ARCHITECTURES=90a", (self.build / "configured").read_text())
        self.assertEqual(status_of(self.results()["rows"]), {"build.configure": "passed", "build.compile": "passed"})

    def test_all_phases_run_on_a_device_and_are_kept(self):
        (self.base / "bin" / "nvidia-smi").write_text('#!/bin/sh\necho "NVIDIA A100, 580.1, 81920 MiB, 8.0"\n')
        done = self.run_script("--quick")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("-DCMAKE_CUDA_ARCHITECTURES=80", (self.build / "configured").read_text())
        self.assertIn("--target sherd gpu_kernels_test sherd_cuda", (self.build / "built").read_text())
        found = self.results()
        self.assertEqual(found["device"], "NVIDIA A100")
        self.assertEqual(found["driver"], "580.1")
        names = status_of(found["rows"])
        skipped = {name for name, status in names.items() if status == "skipped"}
        self.assertEqual(skipped, {"train.1.bf16.growth", "train.2.bf16.growth"}, names)
        self.assertEqual(set(names.values()), {"passed", "skipped"}, names)
        for name in ("ctest.gpu.conformance", "train.2.bf16.plan", "train.1.bf16.nccl", "bench.quick.optim",
                     "sanitize.racecheck.gpu.kernels_norm", "speed.quick.gpt2-124m.stage3.block",
                     "offload.quick.gpt2-124m.host"):
            self.assertIn(name, names)
        before = (self.build / "runs").read_text()
        self.assertEqual(self.run_script("--quick", "--phase", "test").returncode, 0)
        self.assertEqual((self.build / "runs").read_text(), before)

    def test_a_lost_run_fails_its_rows_and_nothing_else(self):
        done = self.run_script("--quick", "--phase", "build")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.run_script("--quick", "--phase", "test", FAKE_FAULT="--ranks 2 --precision bf16")
        self.assertEqual(done.returncode, 1)
        bad = [one for one in self.results()["rows"] if one["status"] == "failed"]
        self.assertEqual({one["name"].rsplit(".", 1)[0] for one in bad}, {"train.2.bf16"})
        self.assertIn("exit code 5: sherd: lost", bad[0]["detail"])
        self.assertEqual(self.run_script("--quick", "--phase", "test").returncode, 0)

    def test_a_broken_configure_is_a_row_with_its_cause(self):
        done = self.run_script("--phase", "build", FAKE_BROKEN="1")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.results()["rows"][0]["detail"], "CMake Error: no")

    def test_a_phase_out_of_time_says_so_and_is_no_success(self):
        self.run_script("--quick", "--phase", "build")
        command = [sys.executable, "-B", str(ROOT / "scripts" / "gpu_check.py"), "run", "--phase", "test", "--budget", "0",
                   "--build", str(self.build), "--out", str(self.build / "results")]
        self.assertEqual(subprocess.run(command, capture_output=True, check=False, timeout=60).returncode, 4)
        self.assertEqual(status_of(self.results()["rows"])["test.unfinished"], "not_run")


class RealRuns(unittest.TestCase):
    def test_small_runs_on_the_emulated_device_agree_with_the_cpu(self):
        if "sherd" not in GIVEN or "library" not in GIVEN:
            self.skipTest("no --sherd and --library")
        os.environ["SHERD_DEVICE_LIBRARY"] = str(GIVEN["library"])
        with tempfile.TemporaryDirectory() as folder:
            build = Path(folder)
            options = gpu_check.argparse.Namespace(build=build, device="cuda:0", quick=True, budget=150)
            check = gpu_check.Check(options, gpu_check.Results(build, build))
            check.sherd = GIVEN["sherd"]
            for precision in ("fp32", "fp16"):
                check.group(2, precision)
            found = status_of(check.results.rows.values())
            self.assertEqual(len(found), 10)
            self.assertEqual(set(found.values()), {"passed"}, check.results.rows)
            check.tokens = lambda: ROOT / "docs" / "style.md"
            check.offload("small", "gpt2-tiny", (["--seq-len", 64, "--micro-batch", 2], ["--offload-optimizer", "host"],
                                                 (0.5, 1)))
            small = check.results.rows["offload.small"]
            self.assertEqual(small["status"], "passed", small)
            self.assertEqual(small["values"]["offload_fraction"], 0.5)
            self.assertIn("step_of_resident", small["values"])
            for network, places, fractions in rows.OFFLOADS.values():
                plan, cause = check.plan(["--model", "gpt2-1558m", "--precision", "bf16", *network, *places,
                                          "--offload-fraction", fractions[0]])
                self.assertIsNotNone(plan, cause)
                self.assertGreater(plan["plan"]["host"]["optimizer"], 1 << 30)


if __name__ == "__main__":
    for flag in ("sherd", "library"):
        if f"--{flag}" in sys.argv:
            GIVEN[flag] = Path(sys.argv[sys.argv.index(f"--{flag}") + 1]).resolve()
    unittest.main(argv=sys.argv[:1])
