#!/usr/bin/env bash
# Installs what record.py needs into the folder $1: Debian packages, a Python environment,
# packages of npm, and the compiled programs of the recipe.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "$1" && cd "$1"

# Node.js 20 and npm must be there already.
packages=(
  apache2 curl default-jdk-headless dos2unix gettext-base git golang-go haproxy jq
  libcgi-pm-perl libgoogle-gson-java libjackson2-databind-java libjson-perl libmojolicious-perl
  libmono-system-web-extensions4.0-cil libnewtonsoft-json5.0-cil lua5.4 lua-cjson mono-mcs
  mono-runtime nginx-light openssl php-cli php-mbstring postgresql python3-venv redis-server ruby
  ruby-rack ruby-sinatra ruby-webrick sqlite3 xxd
)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
done
if ((${#missing[@]})); then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  --requirement "$here/requirements.txt" --constraint "$here/constraints.txt"

cp "$here"/package{,-lock}.json "$here/../../provider_sdks/.npmrc" .
npm ci --omit=dev --silent

mkdir -p java
jars=/usr/share/java
javac -nowarn -d java \
  -cp "$jars/jackson-databind.jar:$jars/jackson-core.jar:$jars/jackson-annotations.jar:$jars/gson.jar" \
  "$here/filters/Rewrite.java"
mcs -r:System.Web -r:System.Web.Extensions -r:/usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll \
  -out:Rewrite.exe "$here/filters/Rewrite.cs"
GOCACHE="$PWD/go-cache" GO111MODULE=off go build -o receiver "$here/receivers/go/main.go"
