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
targets=()
if [[ $preset == tsan ]]; then
  mapfile -t targets < <(cmake --build build/tsan --target help |
    grep -oE '^(base|device|memory|comm|conformance|checkpoint|engine)_[a-z0-9_]+_test' | sort -u)
  if ((${#targets[@]} == 0)); then
    echo "sanitize.sh: no test target has threads; were they renamed?" >&2
    exit 1
  fi
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
