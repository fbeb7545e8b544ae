#!/usr/bin/env bash
# Installs the providers' own libraries, with which tests/e2e/provider_sdks compares hookgate.
#
#   install.sh FOLDER             the pinned versions, for `make test`
#   install.sh FOLDER --newest    the newest versions, and the libraries of drift/, for `make drift`
#
# Where a registry cannot be reached or a tool is missing, prints a notice and installs nothing of
# it. The tests skip that part.
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "$1" && cd "$1" || exit 1
newest="${2:-}"
python="${PYTHON:-python3}"

# A change of the pinned versions installs them anew. The newest versions are always asked for.
is_installed() {
  [[ -z "$newest" && -f "$1" && "$(cat "$1")" == "$2" ]]
}

skip() {
  printf '\n*** SKIPPED: %s, so hookgate is not compared\n*** with the libraries of %s in this run.\n\n' "$2" "$1" >&2
}

install_pypi() {
  local sum log=pypi.log
  sum="$(cat "$here"/{requirements,constraints}.txt | sha256sum)"
  is_installed pypi.installed "$sum" && return
  rm -rf pypi.installed venv
  "$python" -m venv venv >"$log" 2>&1 || { skip PyPI "Python has no module venv"; return; }
  local pip=(venv/bin/pip install --disable-pip-version-check --quiet --no-compile)
  if [[ -n "$newest" ]]; then
    # Two libraries may disagree about a dependency. The second step installs the newest versions
    # all the same.
    local names
    mapfile -t names < <(sed 's/==.*//' "$here"/{,drift/}requirements.txt)
    "${pip[@]}" "${names[@]}" >>"$log" 2>&1 \
      && "${pip[@]}" --upgrade --no-deps "${names[@]}" >>"$log" 2>&1
  else
    "${pip[@]}" --requirement "$here/requirements.txt" --constraint "$here/constraints.txt" >>"$log" 2>&1
  fi || { skip PyPI "the packages cannot be installed (see $1/$log)"; return; }
  echo "$sum" >pypi.installed
}

install_npm() {
  local sum log=npm.log
  sum="$(sha256sum <"$here/package-lock.json")"
  is_installed npm.installed "$sum" && return
  rm -rf npm.installed node_modules package.json package-lock.json
  command -v node >/dev/null && command -v npm >/dev/null || { skip npm "Node.js is missing"; return; }
  cp "$here/.npmrc" .
  if [[ -n "$newest" ]]; then
    echo '{"private":true}' >package.json
    # shellcheck disable=SC2046
    npm install --omit=dev --omit=optional \
      $(node -p 'process.argv.slice(1).flatMap((f) => Object.keys(require(f).dependencies)).join(" ")' \
        "$here/package.json" "$here/drift/package.json") >"$log" 2>&1
  else
    cp "$here"/package{,-lock}.json .
    npm ci --omit=dev --omit=optional >"$log" 2>&1
  fi || { skip npm "the packages cannot be installed (see $1/$log)"; return; }
  echo "$sum" >npm.installed
}

install_pypi "$1" &
install_npm "$1" &
wait
[[ -z "$newest" ]] || touch extras
