#!/usr/bin/env bash
# Installs what the build needs and is missing (Debian 12, Ubuntu 24.04). --ci adds linters and libFuzzer.
set -Eeuo pipefail

packages=(
  g++ cmake ninja-build git ccache pkg-config python3
  libdnnl-dev         # CPU matmul
  ocl-icd-opencl-dev  # the CMake files of libdnnl-dev look for it
  libhwy-dev          # portable SIMD
  libspdlog-dev libfmt-dev libcli11-dev nlohmann-json3-dev libxxhash-dev
  libisal-dev         # CRC32C
  libutf8proc-dev     # Unicode normal forms of text
  liburing-dev        # direct file transfers
  doctest-dev
)
case "${1:-}" in
  '') ;;
  --ci) packages+=(clang-14 libclang-rt-14-dev clang-format-14 clang-tidy shellcheck) ;;
  *)
    echo "install_dependencies.sh: got '$1', need nothing or --ci" >&2
    exit 2
    ;;
esac

supported() {
  [[ -r /etc/os-release ]] || return 1
  # shellcheck source=/dev/null
  (. /etc/os-release && [[ " ${ID:-} ${ID_LIKE:-} " == *" debian "* || ${ID:-} == ubuntu ]]) &&
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null
}

if ! supported; then
  echo "install_dependencies.sh: this is neither Debian nor Ubuntu; install what these packages of" \
    "Debian 12 hold: ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]} > 0)) || exit 0

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install_dependencies.sh: not root and no sudo; install as root: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

fail() {
  echo "install_dependencies.sh: '$1' failed; missing: ${missing[*]}" >&2
  exit 1
}
echo "Installing with apt: ${missing[*]}"
"${as_root[@]}" apt-get update -q || echo 'apt-get update failed; trying the lists that are here' >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -q -y --no-install-recommends "${missing[@]}" || fail 'apt-get install'
