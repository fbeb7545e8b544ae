#!/usr/bin/env bash
# Installs the libraries of package.json into the folder $1, and builds @webhook-co/webhooks-spec.
#
# That library is built from its repository, at the commit below. The variable WEBHOOKS_SPEC names a
# clone to take it from; without the variable, git fetches it.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "$1" && cd "$1"
commit=de3aa4e8ae049dd6611097307370cea99464ef63
source="${WEBHOOKS_SPEC:-https://github.com/webhook-co/webhook.git}"

cp "$here"/package{,-lock}.json "$here/../../provider_sdks/.npmrc" .
npm ci --omit=dev --silent

if [[ ! -f webhooks-spec.mjs ]]; then
  if ! git clone --quiet --no-checkout "$source" webhook; then
    echo "skipped webhooks-spec: set WEBHOOKS_SPEC to a clone of its repository" >&2
    exit
  fi
  git -C webhook archive "$commit" packages/webhooks-spec | tar x
  node_modules/.bin/esbuild packages/webhooks-spec/src/index.ts --bundle --format=esm --log-level=error \
    --platform=node --outfile=webhooks-spec.mjs
  rm -rf webhook
fi
