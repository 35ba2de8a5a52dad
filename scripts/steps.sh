# shellcheck shell=bash
# Sourced by the other scripts: steps with a log each, and one line when one fails.
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/build/logs
mkdir -p "$logs"

# The line of a log that says what went wrong, most telling kind first.
failing_line() {
  local pattern line
  for pattern in ' error: ' 'error: ' 'undefined reference' 'CMake Error' '^E: ' 'FAILED' 'rror'; do
    if line=$(grep -m 1 -A 4 -e "$pattern" "$1"); then
      # CMake says what is wrong on the next line.
      if [[ $pattern != CMake* ]]; then line=${line%%$'\n'*}; fi
      tr -s "[:space:]" " " <<<"$line" | sed "s,$root/,,; s, $,,"
      return
    fi
  done
  grep -v '^[[:space:]]*$' "$1" | tail -n 1 || true
}

# step NAME command…: runs it quietly, its output in build/logs/NAME.log.
step() {
  local name=$1 status=0
  shift
  printf 'sherd: %s\n' "$name" >&2
  "$@" >"$logs/$name.log" 2>&1 || status=$?
  if ((status != 0)); then
    printf 'sherd: %s failed: %s (all output: %s)\n' \
      "$name" "$(failing_line "$logs/$name.log")" "$logs/$name.log" >&2
    exit "$status"
  fi
}

trap 'status=$?; printf "sherd: failed with exit code %d: %s\n" "$status" "$BASH_COMMAND" >&2; exit "$status"' ERR

configure() {
  local launcher=()
  # Scripts build everything once: modules in one piece take half the time.
  if command -v ccache >/dev/null; then launcher=(-DCMAKE_{CXX,CUDA}_COMPILER_LAUNCHER=ccache); fi
  (cd "$root" && cmake --preset "$1" -DSHERD_WHOLE=ON "${launcher[@]}")
}

# build PRESET [target…]
build() {
  local preset=$1 targets=()
  shift
  if (($# > 0)); then targets=(--target "$@"); fi
  cmake --build "$root/build/$preset" "${targets[@]}"
}
