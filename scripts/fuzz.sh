#!/usr/bin/env bash
# fuzz.sh [SECONDS [OTHERS]]: builds the fuzz targets (clang, libFuzzer) and runs each for SECONDS (60), two at a time;
# with OTHERS, only those of the formats that most files have, and the others for so many seconds. A line each; ends
# with 1 when one finds something or accepts no input. Findings, inputs and logs stay in build/fuzz.
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

seconds=${1:-60}
others=${2:-$seconds}
if [[ ! "$seconds $others" =~ ^[1-9][0-9]{0,5}\ [1-9][0-9]{0,5}$ ]]; then
  echo "fuzz.sh: got '$*', need one or two numbers of seconds" >&2
  exit 2
fi
cd "$root"
step configure-fuzz configure fuzz
step build-fuzz build fuzz
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

# Runs one target; a line on stdout, and a status of 1 for a finding.
fuzz() {
  local name=$1 log=$root/build/fuzz/$1.log status=0 line
  local time=$others
  if [[ $name =~ ^(bin|manifest|model_config|npy|safetensors|tokenizer)$ ]]; then time=$seconds; fi
  local inputs=$root/build/fuzz/inputs/$1 kept=$root/tests/fuzz/corpus/$1
  mkdir -p "$inputs"
  local folders=("$inputs")
  if [[ -d $kept ]]; then folders+=("$kept"); fi
  "$root/build/fuzz/${name}_fuzz" -max_total_time="$time" -max_len=16384 -timeout=20 -rss_limit_mb=512 \
    -malloc_limit_mb=256 -print_final_stats=1 -artifact_prefix="$root/build/fuzz/finding-$name-" \
    "${folders[@]}" >"$log" 2>&1 || status=$?
  line=$(grep -E '^inputs [0-9]+ accepted [0-9]+$' "$log" | tail -n 1 || true)
  if ((status != 0)); then
    line="FOUND $(grep -m 1 -E 'promised, but not kept|ERROR: |runtime error: ' "$log" || tail -n 1 "$log") (all output: $log)"
  elif [[ -z $line || $line == *' accepted 0' ]]; then
    line="NOTHING ACCEPTED: ${line:-no count} (all output: $log)"
    status=1
  else
    line+=", peak $(sed -n 's/^stat::peak_rss_mb: *//p' "$log") MB"
  fi
  printf 'fuzz %-14s %s\n' "$name" "$line"
  exit $((status != 0)) # of the background job
}

mapfile -t names < <(cd build/fuzz && printf '%s\n' *_fuzz | sed 's/_fuzz$//')
status=0 running=0
for name in "${names[@]}"; do
  if ((running == 2)); then
    wait -n || status=1
    running=1
  fi
  fuzz "$name" &
  running=$((running + 1))
done
while ((running > 0)); do
  wait -n || status=1
  running=$((running - 1))
done
exit "$status"
