#!/usr/bin/env bash
# Trains the same small network under every policy that may not change a bit, on a real text, and
# compares parameters_hash within each numerics key: scripts/sweep.sh [--quick] [--tiers] [TEXT]
#   --tiers   only where states live (device, host, file), for each format of states
#   --quick   a part of both, in about two minutes
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sherd=${SHERD:-$root/build/release/sherd}
quick=0
tiers_only=0
text=$root/docs/style.md
for argument in "$@"; do
  case $argument in
    --quick) quick=1 ;;
    --tiers) tiers_only=1 ;;
    -*)
      printf 'sweep: unknown flag %s (there are --quick and --tiers)\n' "$argument" >&2
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
mkdir -p "$root/build"
disk=$(mktemp -d -p "$root/build") # states on file: /tmp may be memory
trap 'rm -rf "$folder" "$disk"' EXIT

# What is part of the key, and what is not.
worlds=(1 2 3 5)
precisions=(fp32 bf16 fp16)
rhythms=("1 step" "3 step" "3 micro")
stages=(0 1 2 3)
recomputes=(none selective block)
overlaps=(off on)
prefetches=(0 1 3)
buckets=(1 150KiB 4MiB)
# Of states elsewhere: precision, gradients and moments are in the key, split master weights not.
tier_worlds=(1 2 3)
formats=("fp32 fp32 fp32" "fp32 fp32 int8" "bf16 fp32 fp32" "bf16 bf16 fp32" "bf16 bf16 bf16"
  "bf16 fp32 int8" "fp16 fp32 fp32")
stride=1 # every stride-th policy; coprime to the number of choices of each kind
if ((quick)); then
  stride=61
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

# elsewhere: the flags of each placement, a line each.
elsewhere() {
  local states fraction site engine
  for states in optimizer all; do
    for fraction in 0.3 1; do
      for site in device host; do
        printf '%s\n' "$(placed host "$states") --offload-fraction $fraction --update-on $site"
        for engine in "${engines[@]}"; do
          printf '%s\n' "$(placed file "$states") --offload-fraction $fraction --update-on $site \
--offload-dir $disk --offload-dir-any --io-engine $engine"
        done
      done
    done
  done
}
placed() {
  printf -- '--offload-optimizer %s' "$1"
  if [[ $2 == all ]]; then printf -- ' --offload-params %s --offload-activations host' "$1"; fi
}

# placements WORLD MASTERS FLAGS…: one line "key hash" for each, the resident runs first.
placements() {
  local world=$1 masters=$2 master stage overlap placement flags tier_stages=(0 1 2 3)
  shift 2
  if ((world == 1)); then tier_stages=(0); fi
  for master in $masters; do
    run "$@" --master "$master" || return 1
    for stage in "${tier_stages[@]}"; do
      for overlap in "${overlaps[@]}"; do
        while read -r placement; do
          policy=$((policy + 1))
          if ((policy % stride != 0)); then continue; fi
          read -ra flags <<<"$placement"
          run "$@" --master "$master" --zero-stage "$stage" --overlap "$overlap" --offload-tile 4096 \
            --bucket-bytes 150KiB "${flags[@]}" || return 1
        done < <(elsewhere)
      done
    done
  done
}

wrong=0
# compare NAME…: a row about the pairs that were collected; `verdict` says whether all runs ended.
compare() {
  local runs keys hashes
  runs=$(wc -l <"$folder/pairs")
  keys=$(cut -d' ' -f1 "$folder/pairs" | sort -u | wc -l)
  hashes=$(cut -d' ' -f2 "$folder/pairs" | sort -u | wc -l)
  if ((keys != 1 || hashes != 1)) && [[ $verdict == equal ]]; then verdict=DIFFERENT; fi
  if [[ $verdict != equal ]]; then wrong=1; fi
  printf '%-6s %-9s %-6s %-7s %5s %5s %7s  %s\n' "$@" "$runs" "$keys" "$hashes" "$verdict"
}

policies_of_sharding() {
  printf '%-6s %-9s %-6s %-7s %5s %5s %7s  %s\n' ranks precision accum reduce runs keys hashes verdict
  local world precision rhythm accum reduce flags
  for world in "${worlds[@]}"; do
    for precision in "${precisions[@]}"; do
      for rhythm in "${rhythms[@]}"; do
        read -r accum reduce <<<"$rhythm"
        flags=(--ranks "$world" --precision "$precision" --grad-accum "$accum" --reduce-every "$reduce")
        if [[ $precision == fp16 ]]; then flags+=(--loss-scale-init 1024); fi
        verdict=equal
        policies "${flags[@]}" >"$folder/pairs" || verdict=FAILED
        compare "$world" "$precision" "$accum" "$reduce"
      done
    done
  done
}

policies_of_tiers() {
  engines=(threads)
  if run --offload-optimizer file --offload-dir "$disk" --offload-dir-any --io-engine uring \
    >"$folder/pairs" 2>"$folder/refused"; then
    engines+=(uring)
  else
    printf 'sweep: io_uring is left out: %s\n' "$(tail -n 1 "$folder/refused")"
  fi
  printf '%-6s %-9s %-6s %-7s %5s %5s %7s  %s\n' ranks precision grads moments runs keys hashes verdict
  local world format precision grads moments masters flags
  policy=0
  for world in "${tier_worlds[@]}"; do
    for format in "${formats[@]}"; do
      read -r precision grads moments <<<"$format"
      flags=(--ranks "$world" --precision "$precision" --grad-dtype "$grads" --moments "$moments"
        --grad-accum 2 --reduce-every micro)
      masters=fp32
      if [[ $precision == bf16 ]]; then masters='fp32 split'; fi
      if [[ $precision == fp16 ]]; then flags+=(--loss-scale-init 1024); fi
      verdict=equal
      placements "$world" "$masters" "${flags[@]}" >"$folder/pairs" || verdict=FAILED
      compare "$world" "$precision" "$grads" "$moments"
    done
  done
}

if ((!tiers_only)); then policies_of_sharding; fi
policies_of_tiers
if [[ -n $(ls -A "$disk") ]]; then
  printf 'sweep: files are left in the folder of states: %s\n' "$(ls -A "$disk")" >&2
  wrong=1
fi
exit "$wrong"
