#!/usr/bin/env bash
# Builds sherd, trains a tiny GPT-2 at ZeRO stage 3 on two ranks for about a minute, goes on from its
# checkpoint on one rank, and lets it write.
# An argument, a text file or a folder of them, replaces the licence texts every machine has.
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

if (($# > 1)); then
  echo "quickstart.sh: got $# arguments, need at most one: a text file or a folder of them" >&2
  exit 2
fi
text=${1:-/usr/share/common-licenses}
if [[ ! -r $text ]]; then
  echo "quickstart.sh: cannot read '$text'; give a text file or a folder of them" >&2
  exit 4
fi

"$root/scripts/install_dependencies.sh"
step configure configure release
targets=(sherd)
# The device library takes minutes to build: only where there is a driver that could run it.
if [[ $(/sbin/ldconfig -p) == *libcuda.so.1* ]] &&
  grep -q '^build sherd_cuda:' "$root/build/release/build.ninja"; then
  targets+=(sherd_cuda)
fi
step build build release "${targets[@]}"

# One file is never trained on: the last of a folder, or the last tenth of a lone file.
mapfile -d '' -t files < <(find -L "$text" -type f -size +0 -readable -print0 |
  xargs -0 -r realpath -z -- | sort -zu)
if ((${#files[@]} == 0)); then
  echo "quickstart.sh: no text in '$text'; give a text file or a folder of them" >&2
  exit 4
fi
work=$root/build/quickstart
mkdir -p "$work"
rm -rf "$work/train" "$work/saves"
mkdir -p "$work/train"
if ((${#files[@]} > 1)); then
  # The last one with a few sequences in it; links keep the command line short.
  held=$((${#files[@]} - 1))
  for ((i = held; i >= 0; --i)); do
    if (($(stat -c %s -- "${files[i]}") >= 1024)); then
      held=$i
      break
    fi
  done
  held_out=${files[held]}
  unset "files[held]"
  n=0
  for file in "${files[@]}"; do ln -s -- "$file" "$work/train/$((n++))-$(basename -- "$file")"; done
else
  case ${files[0]} in *.npy | *.bin)
    echo "quickstart.sh: got token file '${files[0]}', need text; sherd train --data reads it" >&2
    exit 4
    ;;
  esac
  size=$(stat -c %s -- "${files[0]}")
  head -c $((size - size / 10)) -- "${files[0]}" >"$work/train/text"
  tail -c $((size / 10)) -- "${files[0]}" >"$work/held_out.txt"
  held_out=$work/held_out.txt
fi

trap 'exit 130' INT  # Ctrl-C is no failure to report
printf 'sherd: training on %d file(s) of %s, held out: %s\n' "$(find "$work/train" -mindepth 1 | wc -l)" "$text" "$held_out" >&2
sherd=$root/build/release/sherd
flags=(--model gpt2-tiny --zero-stage 3 --data "$work/train" --val-data "$held_out" --global-batch 16
  --micro-batch 8 --lr 2e-3 --schedule cosine --warmup-steps 50 --clip-grad-norm 1 --eval-every 100
  --bucket-bytes 512KiB --log "$work/log.jsonl" --save "$work/saves" --keep 1)
"$sherd" train "${flags[@]}" --ranks 2 --steps 600

# The checkpoint knows no ranks: half as many go on with the same batches.
printf 'sherd: going on from the checkpoint on one rank\n' >&2
"$sherd" train "${flags[@]}" --ranks 1 --steps 650 --resume latest

prompt='This program is '
printf 'sherd: a sample that begins with "%s"\n' "$prompt" >&2
printf '%s' "$prompt"
"$sherd" generate --checkpoint "$work/saves" --prompt "$prompt" --max-tokens 110 --temperature 0.7 --top-p 0.9
