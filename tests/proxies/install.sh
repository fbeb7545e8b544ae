#!/usr/bin/env bash
# Puts programs into FOLDER/bin, unless this machine has them. The default is nginx, HAProxy and
# Caddy, which the tests of docs/proxies.md start.
#   tests/proxies/install.sh FOLDER [PROGRAM:PACKAGE...]
#
# It extracts Debian's packages and installs nothing. An installed package would start its server
# on port 80 at once, and again at each boot.
set -euo pipefail
folder=$(realpath -m "$1")
tools=("${@:2}")
((${#tools[@]})) || tools=(nginx:nginx-light haproxy:haproxy caddy:caddy)

programs=()
packages=()
for tool in "${tools[@]}"; do
  program=${tool%%:*}
  if [[ ! -x "$folder/bin/$program" ]] && ! PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null; then
    programs+=("$program")
    packages+=("${tool##*:}")
  fi
done
((${#programs[@]})) || exit 0
command -v apt-get >/dev/null || {
  echo "install the equivalent of the Debian packages ${packages[*]}, then run make again" >&2
  exit 1
}

# Downloads the packages, and those of their dependencies that this machine lacks.
download() {
  local simulated names
  simulated=$(apt-get --simulate --no-install-recommends install "${packages[@]}") || return
  mapfile -t names <<< "$(sed -n 's/^Inst \([^ ]*\) .*/\1/p' <<< "$simulated")"
  rm -rf "$folder/packages"
  mkdir -p "$folder/packages"
  (cd "$folder/packages" && apt-get download -qq "${names[@]}")
}

# The lists of packages may be old or missing.
download 2>/dev/null || {
  sudo=
  ((EUID == 0)) || sudo=sudo
  $sudo apt-get update -qq
  download
}
for package in "$folder"/packages/*.deb; do
  dpkg-deb --extract "$package" "$folder/root"
done
rm -r "$folder/packages"

libraries=$(find "$folder/root" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)
mkdir -p "$folder/bin"
for program in "${programs[@]}"; do
  file=$(find "$folder/root/usr" -path "*bin/$program" | head -n 1)
  [[ -n "$file" ]] || { echo "the packages ${packages[*]} have no program $program" >&2; exit 1; }
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$libraries" "$file" > "$folder/bin/$program"
  chmod +x "$folder/bin/$program"
done
