#!/usr/bin/env bash
# Looks at crash images of checkpoint saves in memory, a million unless told: crash_images.sh [COUNT]
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
count=${1:-1000000}
if [[ ! $count =~ ^[1-9][0-9]*$ ]]; then
  printf "crash_images.sh: got '%s', need a number of images\n" "$count" >&2
  exit 2
fi
test=$root/build/release/tests/checkpoint/checkpoint_crash_test
if [[ ! -x $test ]]; then
  printf 'crash_images.sh: %s is not built\n' "$test" >&2
  exit 2
fi
CRASH_IMAGES=$count "$test"
