#!/usr/bin/env bash
# Builds everything and runs every test; --all adds the slow ones. Ends with ctest's summary.
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

filter=(-LE slow)
case "${1:-}" in
  '') ;;
  --all) filter=() ;;
  *)
    echo "test.sh: got '$1', need nothing or --all" >&2
    exit 2
    ;;
esac

"$root/scripts/install_dependencies.sh"
step configure configure release
step build build release

status=0
ctest --test-dir "$root/build/release" --output-on-failure -j3 --no-tests=error "${filter[@]}" \
  >"$logs/test.log" 2>&1 || status=$?
if ((status != 0)); then
  # What the failing cases said, without the passing ones, then the lines that failed.
  sed -E '/tests passed/,$d; / Passed |\*\*\*Skipped|^ +Start +[0-9]+: /d' "$logs/test.log" | tail -n 400
  grep -E '(\*\*\*|: (FATAL )?ERROR: )' "$logs/test.log" | grep -v '\*\*\*Skipped' |
    sed 's/^/sherd: failed: /' | tail -n 40 || true
fi
sed -n '/tests passed/,$p' "$logs/test.log"
grep -q 'tests passed' "$logs/test.log" || tail -n 5 "$logs/test.log"
exit "$status"
