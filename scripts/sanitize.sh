#!/usr/bin/env bash
# sanitize.sh asan|tsan: builds and runs the tests a sanitizer covers (CMakePresets.json says which).
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

preset=${1:-}
if [[ $preset != asan && $preset != tsan ]]; then
  echo "sanitize.sh: got '$preset', need asan or tsan" >&2
  exit 2
fi
# ThreadSanitizer of g++ 12 and 13 refuses the address layouts of newer kernels.
if [[ -z ${SHERD_FIXED_LAYOUT:-} ]] && setarch "$(uname -m)" -R true 2>/dev/null; then
  SHERD_FIXED_LAYOUT=1 exec setarch "$(uname -m)" -R "${BASH_SOURCE[0]}" "$@"
fi
cd "$root"
step "configure-$preset" configure "$preset"

# ThreadSanitizer sees no races between processes, so only suites with threads are built for it.
# AddressSanitizer gets all but what only times, and the program's runs that other suites have in
# threads. CMakePresets.json leaves out the same names.
wanted='^(base|device|memory|comm|conformance|checkpoint|engine)_'
unwanted='^$'
if [[ $preset == asan ]]; then
  wanted='^[a-z0-9]+_'
  unwanted='^(bench|cuda|examples)_|^acceptance_|^launch_search_'
fi
mapfile -t targets < <(cmake --build "build/$preset" --target help | grep -oE '^[a-z0-9_]+_test' |
  grep -E "$wanted" | grep -vE "$unwanted" | sort -u)
if [[ $preset == asan ]]; then targets+=(acceptance_bad_files_test acceptance_bad_flags_test acceptance_tiers_faults_test); fi
if ((${#targets[@]} < 10)); then
  echo "sanitize.sh: hardly a test target fits; were they renamed?" >&2
  exit 1
fi
step "build-$preset" build "$preset" "${targets[@]}"

log=$logs/$preset.log
if ! ctest --preset "$preset" -j2 >"$log" 2>&1; then
  sed -E '/ Passed |\*\*\*Skipped|^ +Start +[0-9]+: /d' "$log" | tail -n 400
  printf 'sherd: %s failed: %s (all output: %s)\n' \
    "$preset" "$(grep -m 1 -E '(Sanitizer: |runtime error: |\*\*\*[^S])' "$log" || tail -n 1 "$log")" "$log" >&2
  exit 1
fi
sed -n '/tests passed/,$p' "$log"
