#!/usr/bin/env bash
# Trains a network whose state is several times the memory it may use; the rest is on disk.
#   oversized.sh [FOLDER]            GPT-2 XL (1,558 M) in 3 GiB of device and 2 GiB of host memory
#   oversized.sh --short [FOLDER]    GPT-2 124M, each limit an eighth of its state, and the same run
#                                    without limits: equal parameters_hash or exit 1
# FOLDER (build/oversized) must be on a local disk: 30 GB for GPT-2 XL, 2 GB for --short.
# STEPS, SEQ_LEN and TEXT replace 2, 1024 (--short: 3, 32) and the licence texts.
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sherd=${SHERD:-$root/build/release/sherd}
short=0
folder=
for argument in "$@"; do
  case $argument in
    --short) short=1 ;;
    -*)
      printf 'oversized.sh: got %s, need --short, a folder, or nothing\n' "$argument" >&2
      exit 2
      ;;
    *) folder=$argument ;;
  esac
done
text=${TEXT:-/usr/share/common-licenses}
[[ -r $text ]] || text=$root/docs
if [[ ! -x $sherd ]]; then
  printf 'oversized.sh: %s is not built; run scripts/quickstart.sh or scripts/test.sh first\n' "$sherd" >&2
  exit 2
fi
own=0
if [[ -z $folder ]]; then
  own=1
  folder=$root/build/oversized
fi
mkdir -p "$folder"
work=$(mktemp -d)
clean() {
  rm -rf "$work"
  if ((own)); then rmdir "$folder" 2>/dev/null || true; fi
}
trap clean EXIT

common=(--data "$text" --precision bf16 --grad-dtype bf16 --micro-batch 1 --clip-grad-norm 1 --lr 1e-4
  --recompute block)
disk=(--offload-optimizer file --offload-params file --offload-grads file --offload-dir "$folder")
field() { python3 -c 'import json, sys
log = [json.loads(line) for line in open(sys.argv[1])]
print(eval(sys.argv[2], {"start": log[0], "end": log[-1], "steps": [e for e in log if e["event"] == "step"]}))' "$1" "$2"; }

if ((short)); then
  model=(--model gpt2-124m --steps "${STEPS:-3}" --seq-len "${SEQ_LEN:-32}")
  eighth=$((16 * 124439808 / 8))
  limits=(--memory-limit "$eighth" --host-memory-limit "$eighth")
  "$sherd" train "${model[@]}" "${common[@]}" "${disk[@]}" "${limits[@]}" --log "$work/small"
  "$sherd" train "${model[@]}" "${common[@]}" --quiet --log "$work/whole"
  small=$(field "$work/small" 'end["parameters_hash"]')
  whole=$(field "$work/whole" 'end["parameters_hash"]')
  printf 'parameters_hash in an eighth of the memory: %s\nparameters_hash without limits:             %s\n' "$small" "$whole"
  [[ $small == "$whole" ]] || exit 1
  exit 0
fi

model=(--model gpt2-1558m --steps "${STEPS:-2}" --seq-len "${SEQ_LEN:-1024}")
limits=(--memory-limit 3GiB --host-memory-limit 2GiB --offload-activations host)
"$sherd" bench io --quick --json --offload-dir "$folder" >"$work/io"
"$sherd" plan "${model[@]}" "${common[@]}" "${disk[@]}" "${limits[@]}" --json >"$work/plan"
"$sherd" train "${model[@]}" "${common[@]}" "${disk[@]}" "${limits[@]}" --log "$work/log" --trace "$work/trace"
python3 "$root/scripts/oversized_row.py" "$work/io" "$work/plan" "$work/log" "$work/trace"
