#!/usr/bin/env bash
# gpu_check.sh [--phase build|test|sanitize|bench] [--quick] [--deps FOLDER] [--out FOLDER]
#   [--build FOLDER] [--dry-run]
# Builds and checks sherd on a machine with a GPU, its toolkit, a compiler and CMake; without --phase,
# all four in order, each within 8 minutes. Run again, it goes on where it stopped (FOLDER build/gpu).
# Exit: 0 passed, 1 failed, 2 bad flags, 3 the machine lacks something, 4 out of time: run it again.
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/gpu
say() { printf 'gpu_check: %s\n' "$1" >&2; }
stop() {
  say "$2"
  exit "$1"
}

phases=(build test sanitize bench)
quick=()
deps=
out=${OUT:-}
dry=0
while (($# > 0)); do
  case $1 in
    --phase | --deps | --out | --build) [[ -n ${2:-} ]] || stop 2 "$1 needs a value" ;;&
    --phase)
      case $2 in
        build | test | sanitize | bench) phases=("$2") ;;
        *) stop 2 "--phase: got '$2', need build, test, sanitize or bench" ;;
      esac
      shift 2
      ;;
    --deps)
      [[ -f $2/manifest ]] || stop 2 "--deps: '$2' was not filled by scripts/gpu_deps.sh"
      deps=$(cd "$2" && pwd)
      shift 2
      ;;
    --out)
      out=$2
      shift 2
      ;;
    --build)
      build=$2
      shift 2
      ;;
    --quick)
      quick=(--quick)
      shift
      ;;
    --dry-run)
      dry=1
      shift
      ;;
    *) stop 2 "unknown argument '$1' (there are --phase, --quick, --deps, --out, --build and --dry-run)" ;;
  esac
done
if [[ -z $deps && -f $root/build/gpu_deps/manifest ]]; then deps=$root/build/gpu_deps; fi
out=${out:-$build/results}
if ((dry)); then
  printf 'phases: %s\nquick: %s\ndeps: %s\nbuild: %s\nout: %s\n' \
    "${phases[*]}" "${#quick[@]}" "${deps:-none}" "$build" "$out"
  exit 0
fi

for tool in timeout python3 cmake ctest g++; do
  command -v "$tool" >/dev/null || stop 3 "this machine has no $tool"
done
CUDACXX=$(command -v "${CUDACXX:-nvcc}" || command -v /usr/local/cuda/bin/nvcc || true)
[[ -x $CUDACXX ]] || stop 3 'this machine has no CUDA toolkit: nvcc is neither on the path nor in /usr/local/cuda/bin'
export CUDACXX
mkdir -p "$build"
build=$(cd "$build" && pwd)

# gpus: a line "name, driver, memory, compute capability" for each; nothing without a working one.
gpus() {
  local query=name,driver_version,memory.total,compute_cap lines
  if lines=$(timeout 30 nvidia-smi --query-gpu=$query --format=csv,noheader 2>/dev/null) && [[ -n $lines ]]; then
    printf '%s\n' "$lines"
    return
  fi
  cat >"$build/probe.cu" <<'PROBE'
#include <cuda_runtime_api.h>

#include <cstdio>
int main() {
  int count = 0, driver = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return 1;
  cudaDriverGetVersion(&driver);
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, i) != cudaSuccess) return 1;
    std::printf("%s, CUDA %d.%d, %zu MiB, %d.%d\n", p.name, driver / 1000, driver % 1000 / 10,
                p.totalGlobalMem >> 20, p.major, p.minor);
  }
}
PROBE
  if timeout 60 "$CUDACXX" -o "$build/probe" "$build/probe.cu" >/dev/null 2>&1; then
    timeout 30 "$build/probe" 2>/dev/null || true
  fi
}
gpu=$(gpus | head -n 1)
architecture=90a
if [[ -n $gpu ]]; then
  capability=${gpu##*, }
  architecture=${capability/./}
  # From Hopper on, a chip's own instructions need the "a" of its name.
  if ((architecture >= 90)); then architecture+=a; fi
fi

# Libraries of the dependency folder, and of NVIDIA's Python packages where the toolkit lacks them.
prefixes=()
libraries=()
if [[ -n $deps ]]; then
  need=$(sed -n 's/^glibc GLIBC_//p' "$deps/manifest")
  have=$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)
  [[ $(printf '%s\n' "$need" "$have" | sort -V | head -n 1) == "$need" ]] ||
    stop 3 "$deps needs glibc $need, this machine has $have; fill it on an older system"
  prefixes+=("$deps")
  libraries+=("$deps/lib")
  if ! command -v ninja >/dev/null && [[ -x $deps/bin/ninja ]]; then PATH=$PATH:$deps/bin; fi
fi
toolkit=$(dirname "$(dirname "$(readlink -f "$CUDACXX")")")
packages() {
  python3 -c 'import importlib.util as u; s = u.find_spec("nvidia"); print(*(s.submodule_search_locations if s else ()), sep="\n")'
}
link_package_files() {
  local links=$build/nvidia place path name
  mkdir -p "$links/include" "$links/lib"
  while read -r place; do
    for path in "$place"/*/include/{cudnn*,nccl*}.h; do
      name=$(basename "$path")
      if [[ -f $path && ! -e $toolkit/include/$name ]]; then ln -sf "$path" "$links/include/$name"; fi
    done
    for path in "$place"/*/lib/lib{cudart,cublas,cublasLt,nvrtc,cudnn*,nccl}.so.*; do
      name=$(basename "$path")
      if [[ -f $path && ! -e $toolkit/lib64/$name ]]; then
        ln -sf "$path" "$links/lib/$name"
        ln -sf "$path" "$links/lib/${name%%.so.*}.so"
      fi
    done
  done < <(packages)
  # NCCL is opened at run time, so its header alone is enough to build.
  if [[ -n $deps && ! -e $toolkit/include/nccl.h && ! -e $links/include/nccl.h && -f $deps/nvidia/include/nccl.h ]]; then
    ln -sf "$deps/nvidia/include/nccl.h" "$links/include/nccl.h"
  fi
  prefixes+=("$links")
  libraries+=("$links/lib")
}
link_package_files
LD_LIBRARY_PATH=$(IFS=: && printf '%s' "${libraries[*]}")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH PATH

# Logs go beside the results: the machine may be gone when somebody asks.
# shellcheck disable=SC2317  # the trap calls it
keep_logs() {
  mkdir -p "$out"
  (cd "$build" && find . -maxdepth 2 -name '*.log' -size -8M -print0 |
    tar -czf "$out/logs.tar.gz" --null -T - 2>/dev/null) || true
}
trap keep_logs EXIT

check=(python3 -B "$root/scripts/gpu_check.py")
common=(--build "$build" --out "$out" --deps "$deps" --gpu "$gpu")
# recorded NAME SECONDS command…: runs it within SECONDS, its log in build/gpu, its end as a row.
recorded() {
  local name=$1 limit=$2 status=0 start=$SECONDS verdict=passed
  local log=$build/$name.log
  shift 2
  timeout -k 5 "$limit" "$@" >"$log" 2>&1 || status=$?
  case $status in
    0) ;;
    124 | 137) verdict=not_run ;;
    *) verdict=failed ;;
  esac
  "${check[@]}" row "${common[@]}" --name "$name" --status "$verdict" --seconds $((SECONDS - start)) \
    --log "$log"
  case $status in
    0) ;;
    124 | 137) stop 4 "$name did not end within $limit s; run it again, what is built is kept" ;;
    *) stop 1 "$name failed; all output is in $log" ;;
  esac
}
build_phase() {
  local began=$SECONDS targets=() generator=()
  if command -v ninja >/dev/null && [[ ! -f $build/Makefile ]]; then generator=(-G Ninja); fi
  local flags=(-DCMAKE_BUILD_TYPE=Release -DSHERD_CUDA=ON -DSHERD_BENCH=OFF -DSHERD_EXAMPLES=OFF
    "-DCMAKE_CUDA_ARCHITECTURES=$architecture" "-DCMAKE_PREFIX_PATH=$(IFS=';' && printf '%s' "${prefixes[*]}")")
  if [[ -n $deps && -d $deps/cudnn_frontend ]]; then
    flags+=("-DCUDNN_FRONTEND_INCLUDE_DIR=$deps/cudnn_frontend/include")
  fi
  if command -v ccache >/dev/null; then
    flags+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
  fi
  say "building for sm_$architecture"
  recorded build.configure 150 cmake -S "$root" -B "$build" "${generator[@]}" "${flags[@]}"
  timeout 60 cmake --build "$build" --target help >"$build/targets"
  mapfile -t targets < <("${check[@]}" targets "${common[@]}")
  recorded build.compile $((470 - (SECONDS - began))) \
    cmake --build "$build" -j "$(nproc)" --target "${targets[@]}"
}

worst=0
for phase in "${phases[@]}"; do
  if [[ $phase == build ]]; then
    build_phase
    continue
  fi
  [[ -n $gpu ]] || stop 3 "there is no working GPU here, so phase $phase cannot run"
  [[ -x $build/sherd ]] || stop 2 "$build/sherd is not there: run --phase build first"
  status=0
  timeout -k 5 490 "${check[@]}" run --phase "$phase" "${quick[@]}" "${common[@]}" || status=$?
  case $status in
    0 | 1 | 4) ;;
    *) status=1 ;;
  esac
  # A failure outlives a phase that only ran out of time.
  if ((status != 0 && worst != 1)); then worst=$status; fi
done
say "results are in $out/results.json"
exit "$worst"
