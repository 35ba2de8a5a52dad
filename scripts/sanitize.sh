#!/usr/bin/env bash
# sanitize.sh asan|tsan [--all]: builds and runs the tests that find most with a sanitizer; --all: every test it can run.
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

preset=${1:-}
if [[ $preset != asan && $preset != tsan ]] || [[ -n ${2:-} && $2 != --all ]]; then
  echo "sanitize.sh: got '$*', need asan or tsan, then nothing or --all" >&2
  exit 2
fi
# ThreadSanitizer of g++ 12 and 13 refuses the address layouts of newer kernels.
if [[ -z ${SHERD_FIXED_LAYOUT:-} ]] && setarch "$(uname -m)" -R true 2>/dev/null; then
  SHERD_FIXED_LAYOUT=1 exec setarch "$(uname -m)" -R "${BASH_SOURCE[0]}" "$@"
fi
cd "$root"
step "configure-$preset" configure "$preset"

# A sanitizer's build takes twice as long and its tests ten times, so there are no suites here that run the
# program, only time, or plan. ThreadSanitizer sees no races between processes: it gets suites with threads.
wanted='^(base|device|memory|shard|io|optim|kernels|data|model|comm|conformance|checkpoint|engine)_'
unwanted='_gpu_test$' too_long='^$'
if [[ $preset == asan ]]; then  # whose memory others touch alike
  unwanted+='|^(engine_(equality|frozen|frozen8|lora|overlap|parity|skipped_step)|model_parity)_test$'
else
  wanted='^(base|device|memory|comm|conformance)_|^checkpoint_(blocks|faults|file_writer|store)_|'
  wanted+='^engine_(checkpoint|device|device_tiers|device_wait|failure|overlap|skipped_step|tiers|tiers_faults)_test'
  unwanted+='|_processes_test$'
  too_long='^engine[.]device_tiers:(one rank|three ranks)'  # two ranks have all the threads there are
fi
if [[ ${2:-} == --all ]]; then wanted='_' unwanted='_gpu_test$' too_long='^$'; fi
mapfile -t targets < <(cmake --build "build/$preset" --target help | sed -nE 's|^([a-z0-9_]+_test): .*|\1|p' |
  grep -E "$wanted" | grep -vE "$unwanted" | sort -u)
if ((${#targets[@]} < 10)); then
  echo "sanitize.sh: hardly a test target fits; were they renamed?" >&2
  exit 1
fi
step "build-$preset" build "$preset" "${targets[@]}"

# Of target kernels_matmul_test are the tests kernels.matmul:…
names=$(printf '%s\n' "${targets[@]}" | sed -E 's/_test$//; s/_/[._]/; s/$/:/' | paste -sd '|')
log=$logs/$preset.log
if ! ctest --preset "$preset" -j2 -R "^($names)" -E "^lint[.]|^fuzz[.]|resident memory|$too_long" >"$log" 2>&1; then
  sed -E '/ Passed |\*\*\*Skipped|^ +Start +[0-9]+: /d' "$log" | tail -n 400
  printf 'sherd: %s failed: %s (all output: %s)\n' \
    "$preset" "$(grep -m 1 -E '(Sanitizer: |runtime error: |\*\*\*[^S])' "$log" || tail -n 1 "$log")" "$log" >&2
  exit 1
fi
sed -n '/tests passed/,$p' "$log"
