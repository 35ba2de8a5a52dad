#!/usr/bin/env bash
# Kills training runs that save, at random moments, and resumes them: kill_runs.sh [KILLS], 1,000 unless told.
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
count=${1:-1000}
if [[ ! $count =~ ^[1-9][0-9]*$ ]]; then
  printf "kill_runs.sh: got '%s', need a number of kills\n" "$count" >&2
  exit 2
fi
test=$root/build/release/tests/acceptance/acceptance_checkpoint_kill_test
if [[ ! -x $test ]]; then
  printf 'kill_runs.sh: %s is not built\n' "$test" >&2
  exit 2
fi
KILL_RUNS=$count "$test" --test-case="a job that is killed*"
