#!/usr/bin/env bash
# Trains the same small network under every policy that may not change a bit, on a real text, and
# compares parameters_hash within each numerics key: scripts/sweep.sh [--quick] [TEXT]
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sherd=${SHERD:-$root/build/release/sherd}
quick=0
text=$root/docs/style.md
for argument in "$@"; do
  case $argument in
    --quick) quick=1 ;;
    -*)
      printf 'sweep: unknown flag %s (there is --quick)\n' "$argument" >&2
      exit 2
      ;;
    *) text=$argument ;;
  esac
done
if [[ ! -x $sherd ]]; then
  printf 'sweep: %s is not built\n' "$sherd" >&2
  exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# What is part of the key, and what is not.
worlds=(1 2 3 5)
precisions=(fp32 bf16 fp16)
rhythms=("1 step" "3 step" "3 micro")
stages=(0 1 2 3)
recomputes=(none selective block)
overlaps=(off on)
prefetches=(0 1 3)
buckets=(1 150KiB 4MiB)
if ((quick)); then
  worlds=(1 2 3)
  rhythms=("3 micro")
  recomputes=(none block)
  prefetches=(1)
  buckets=(1 4MiB)
fi

# run FLAGS…: prints key and hash of one run.
run() {
  if ! "$sherd" train --data "$text" --model gpt2-tiny --layers 2 --heads 3 --width 72 \
    --vocab-size 259 --context 33 --micro-batch 2 --steps 3 --threads 1 --seed 1 \
    --clip-grad-norm 1 --weight-decay 0.1 --quiet --log "$folder/log" "$@" >"$folder/out" 2>&1; then
    printf 'sweep: failed: %s\n' "$*" >&2
    cat "$folder/out" >&2
    return 1
  fi
  local key hash
  key=$(grep -o '"numerics_key": *"[0-9a-f]*"' "$folder/log" | grep -o '[0-9a-f]\{32\}')
  hash=$(grep -o '"parameters_hash": *"[0-9a-f]*"' "$folder/log" | grep -o '[0-9a-f]\{32\}')
  printf '%s %s\n' "$key" "$hash"
}

# policies FLAGS…: one line "key hash" for each policy under the given key flags.
policies() {
  local stage recompute overlap prefetch bucket
  for stage in "${stages[@]}"; do
    for recompute in "${recomputes[@]}"; do
      for overlap in "${overlaps[@]}"; do
        for prefetch in "${prefetches[@]}"; do
          for bucket in "${buckets[@]}"; do
            run "$@" --zero-stage "$stage" --recompute "$recompute" --overlap "$overlap" \
              --prefetch "$prefetch" --bucket-bytes "$bucket" || return 1
          done
        done
      done
    done
  done
}

wrong=0
printf '%-6s %-9s %-6s %-7s %5s %5s %7s  %s\n' ranks precision accum reduce runs keys hashes verdict
for world in "${worlds[@]}"; do
  for precision in "${precisions[@]}"; do
    for rhythm in "${rhythms[@]}"; do
      read -r accum reduce <<<"$rhythm"
      flags=(--ranks "$world" --precision "$precision" --grad-accum "$accum" --reduce-every "$reduce")
      if [[ $precision == fp16 ]]; then flags+=(--loss-scale-init 1024); fi
      verdict=equal
      policies "${flags[@]}" >"$folder/pairs" || verdict=FAILED
      runs=$(wc -l <"$folder/pairs")
      keys=$(cut -d' ' -f1 "$folder/pairs" | sort -u | wc -l)
      hashes=$(cut -d' ' -f2 "$folder/pairs" | sort -u | wc -l)
      if ((keys != 1 || hashes != 1)) && [[ $verdict == equal ]]; then verdict=DIFFERENT; fi
      if [[ $verdict != equal ]]; then wrong=1; fi
      printf '%-6s %-9s %-6s %-7s %5s %5s %7s  %s\n' "$world" "$precision" "$accum" "$reduce" \
        "$runs" "$keys" "$hashes" "$verdict"
    done
  done
done
exit "$wrong"
