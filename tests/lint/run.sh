#!/usr/bin/env bash
# Every lint: the rules of docs/style.md, format, shell scripts, and clang-tidy on what changed.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1

failed=()
lint() {
  local name=$1
  shift
  "$@" || failed+=("$name")
}

for rule in docs layers names sizes words; do
  lint "$rule" python3 "tests/lint/$rule.py" "$root"
done

mapfile -d '' -t sources < <(find include src cuda offload tests bench examples \
  \( -name '*.hpp' -o -name '*.cpp' \) -print0 2>/dev/null | sort -z)
# Versions format differently: 14 is the one that counts.
for formatter in clang-format-14 clang-format; do
  if command -v "$formatter" >/dev/null; then
    lint format "$formatter" --dry-run -Werror "${sources[@]}"
    break
  fi
done

if command -v shellcheck >/dev/null; then
  mapfile -d '' -t scripts < <(find scripts tests bench -name '*.sh' -print0 2>/dev/null)
  lint shellcheck shellcheck -x .ci/run "${scripts[@]}"
fi

# A file takes seconds, so at most 40 of those the last change touched; without history, the first 40.
if command -v clang-tidy >/dev/null && [[ -r build/release/compile_commands.json ]]; then
  changed=$(git -c safe.directory="$root" diff --name-only --diff-filter=d HEAD~1 -- 'src/*.cpp' \
    2>/dev/null) || changed=$(find src -name '*.cpp' | sort)
  mapfile -t tidied < <(printf '%s\n' "$changed" | sed '/^$/d' | head -n 40)
  if ((${#tidied[@]} > 0)); then
    lint clang-tidy xargs -P 2 -n 1 timeout 120 \
      clang-tidy --quiet --extra-arg=-Wno-unknown-warning-option --warnings-as-errors='*' -p build/release <<<"$(printf '%s\n' "${tidied[@]}")"
  fi
fi

if ((${#failed[@]} > 0)); then
  printf 'lints failed: %s\n' "${failed[*]}" >&2
  exit 1
fi
echo 'lints passed'
