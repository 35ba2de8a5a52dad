#!/usr/bin/env bash
# gpu_deps.sh [FOLDER]: on a connected Debian or Ubuntu machine (x86-64), fills FOLDER (build/gpu_deps)
# with what the build needs and a bare GPU machine lacks. It may be moved; at most 64 MiB.
# shellcheck disable=SC2016  # what stands in single quotes is CMake's to expand
set -Eeuo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
limit=$((64 * 1024 * 1024))

fail() {
  printf 'gpu_deps.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}
(($# <= 1)) || fail "got $# arguments, need at most one: the folder to fill" 2
case "${1:-}" in -*) fail "got '$1', need a folder or nothing" 2 ;; esac
[[ $(uname -m) == x86_64 ]] || fail "this is $(uname -m), need x86-64: compiled libraries are copied"
folder=${1:-$root/build/gpu_deps}
if [[ -e $folder && ! -f $folder/manifest && -n $(ls -A "$folder" 2>/dev/null) ]]; then
  fail "'$folder' holds something else; give a new or empty folder" 2
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
rm -rf "${folder:?}"/{include,lib,bin,cudnn_frontend,nvidia,manifest}
mkdir -p "$folder"/{include,lib/cmake,bin}

# Headers, by what stands under one of the compiler's folders.
system=/usr/include
header() {
  [[ -e $system/$1 ]] || fail "there is no $system/$1; run scripts/install_dependencies.sh first"
  cp -rL "$system/$1" "$folder/include/"
}
for name in CLI doctest fmt spdlog nlohmann hwy oneapi xxhash.h xxh3.h utf8proc.h isa-l \
  liburing liburing.h; do header "$name"; done
for path in "$system"/dnnl*; do header "$(basename "$path")"; done
rm -rf "$folder"/include/hwy/tests

# Libraries, under the name the loader asks for and without links; what they need too, but for
# those that come with any compiler.
declare -A copied=()
library() {
  local file soname needed found
  file=$(readlink -f "$1")
  soname=$(objdump -p "$file" | sed -n 's/^ *SONAME *//p')
  [[ -z ${copied[$soname]:-} ]] || return 0
  copied[$soname]=1
  cp "$file" "$folder/lib/$soname"
  chmod u+w "$folder/lib/$soname"
  strip --strip-unneeded "$folder/lib/$soname"
  for needed in $(objdump -p "$file" | sed -n 's/^ *NEEDED *//p'); do
    case $needed in
      libc.so.* | libm.so.* | libstdc++.so.* | libgcc_s.so.* | libgomp.so.* | ld-linux-*) continue ;;
      libdl.so.* | libpthread.so.* | librt.so.*) continue ;;
    esac
    found=$(ldd "$file" | sed -n "s,^[[:space:]]*$needed => \(/[^ ]*\).*,\1,p")
    [[ -n $found ]] || fail "$soname needs $needed, which is not here"
    library "$found"
  done
}
locate() {
  local path
  path=$(g++ -print-file-name="$1")
  [[ $path == */* ]] || fail "the compiler finds no $1; run scripts/install_dependencies.sh first"
  printf '%s\n' "$path"
}
# The last two are found by that name: cmake/FindISAL.cmake, cmake/FindLiburing.cmake.
for name in dnnl hwy spdlog fmt isal uring; do library "$(locate "lib$name.so")"; done
cp -L "$(locate libxxhash.a)" "$(locate libutf8proc.a)" "$folder/lib/"

# Relocatable package files: Debian's own hold absolute paths, and oneDNN's asks for OpenCL headers.
soname_of() { basename "$(find "$folder/lib" -maxdepth 1 -name "lib$1.so.*" | head -n 1)"; }
begin='get_filename_component(_sherd_root "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)'
package() {
  local folder_of=$folder/lib/cmake/$1
  mkdir -p "$folder_of"
  printf '%s\n' "$begin" "${@:2}" >"$folder_of/$1Config.cmake"
}
headers_only() {
  printf 'if(NOT TARGET %s)\n  add_library(%s INTERFACE IMPORTED)\n' "$1" "$1"
  printf '  target_include_directories(%s SYSTEM INTERFACE "${_sherd_root}/include")\nendif()\n' "$1"
}
# shared TARGET LIBRARY [line of properties…]
shared() {
  printf 'if(NOT TARGET %s)\n  add_library(%s SHARED IMPORTED)\n' "$1" "$1"
  printf '  set_target_properties(%s PROPERTIES\n' "$1"
  printf '    IMPORTED_LOCATION "${_sherd_root}/lib/%s" IMPORTED_SONAME %s\n' \
    "$(soname_of "$2")" "$(soname_of "$2")"
  printf '    %s\n' "${@:3}" 'INTERFACE_INCLUDE_DIRECTORIES "${_sherd_root}/include")'
  printf 'endif()\n'
}
package CLI11 "$(headers_only CLI11::CLI11)"
package nlohmann_json "$(headers_only nlohmann_json::nlohmann_json)"
package doctest 'list(APPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")' \
  "$(headers_only doctest::doctest)"
package hwy "$(shared hwy::hwy hwy)"
package fmt "$(shared fmt::fmt fmt 'INTERFACE_COMPILE_DEFINITIONS FMT_SHARED')"
package spdlog 'include(CMakeFindDependencyMacro)' 'find_dependency(Threads)' \
  'find_dependency(fmt CONFIG)' "$(shared spdlog::spdlog spdlog \
    'INTERFACE_COMPILE_DEFINITIONS "SPDLOG_SHARED_LIB;SPDLOG_COMPILED_LIB;SPDLOG_FMT_EXTERNAL"' \
    'INTERFACE_LINK_LIBRARIES "Threads::Threads;fmt::fmt"')"
# oneDNN loads OpenCL although nothing here uses it; the linker must know where that is.
opencl=()
if [[ -f $folder/lib/libOpenCL.so.1 ]]; then
  opencl=('IMPORTED_LINK_DEPENDENT_LIBRARIES "${_sherd_root}/lib/libOpenCL.so.1"')
fi
package dnnl "$(shared DNNL::dnnl dnnl "${opencl[@]}" 'INTERFACE_LINK_LIBRARIES dl')"
doctest_folder=
for path in /usr/lib/cmake/doctest /usr/lib/*/cmake/doctest /usr/share/cmake/doctest; do
  if [[ -f $path/doctest.cmake ]]; then doctest_folder=$path; fi
done
[[ -n $doctest_folder ]] || fail 'there is no doctest.cmake; run scripts/install_dependencies.sh first'
cp "$doctest_folder"/doctest.cmake "$doctest_folder"/doctestAddTests.cmake "$folder/lib/cmake/doctest/"

# Tools and headers that are small; a machine's own come first.
if command -v ninja >/dev/null; then cp -L "$(command -v ninja)" "$folder/bin/ninja"; fi
if command -v nvcc >/dev/null; then nvcc=$(command -v nvcc); else nvcc=/usr/local/cuda/bin/nvcc; fi
toolkit=$(dirname "$(dirname "$(readlink -f "$nvcc")")")/include
mkdir -p "$folder/nvidia/include"
for path in "$toolkit"/nccl.h "$toolkit"/cudnn*.h /usr/include/nccl.h; do
  if [[ -f $path ]]; then cp -L "$path" "$folder/nvidia/include/"; fi
done

# Headers of cudnn-frontend: from an earlier configure, else from its wheel.
wheel=nvidia-cudnn-frontend==1.32.0
frontend=$(find "$root"/build -path '*/include/cudnn_frontend.h' -not -path "$folder/*" 2>/dev/null |
  head -n 1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [[ -z $frontend ]]; then
  if python3 -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
    --python-version 3.11 --platform manylinux_2_28_x86_64 "$wheel" -d "$scratch" >"$scratch/log" 2>&1; then
    (cd "$scratch" && python3 -m zipfile -e ./*.whl unpacked)
    frontend=$scratch/unpacked/include/cudnn_frontend.h
  else
    printf 'gpu_deps.sh: no cudnn-frontend headers (%s); attention is then built without cuDNN\n' \
      "$(tail -n 1 "$scratch/log")" >&2
  fi
fi
if [[ -n $frontend ]]; then
  mkdir -p "$folder/cudnn_frontend"
  cp -r "$(dirname "$frontend")" "$folder/cudnn_frontend/include"
fi

# What a machine must have to run these.
newest() {
  find "$folder/lib" "$folder/bin" -type f -exec objdump -T {} + 2>/dev/null |
    grep -oE "$1_[0-9.]+[0-9]" | sort -uV | tail -n 1
}
commit=$(git -c safe.directory="$root" -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
bytes=$(du -sb "$folder" | cut -f 1)
printf 'glibc %s\nlibstdc++ %s\ncommit %s\nbytes %s\n' \
  "$(newest GLIBC)" "$(newest GLIBCXX)" "$commit" "$bytes" >"$folder/manifest"
((bytes <= limit)) || fail "$folder holds $bytes bytes, more than 64 MiB"
printf 'gpu_deps.sh: %s, %d bytes; libraries need %s and %s or newer\n' \
  "$folder" "$bytes" "$(newest GLIBC)" "$(newest GLIBCXX)"
