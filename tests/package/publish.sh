#!/usr/bin/env bash
# Packages library crates as `cargo publish` does, builds each package alone, and runs the
# documentation tests of the unpacked packages.
#
#   tests/package/publish.sh TARGET PACKAGE…
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$1
shift
cargo=${CARGO:-cargo}
export CARGO_TARGET_DIR=$PWD/$target

# The packages find each other in one run, although no registry has them.
rm -rf "$target/package"
"$cargo" package --locked "${@/#/--package=}"

# A workspace of the unpacked packages. It has the settings of this one, so that cargo builds the
# dependencies once.
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
{
  echo '[workspace]'
  echo 'resolver = "3"'
  echo "members = [$(printf '"%s", ' "${@/%/-$version}")]"
  echo '[patch.crates-io]'
  printf "%s = { path = \"%s-$version\" }\n" $(printf '%s\n%s\n' "$@" "$@" | sort)
} > "$target/package/Cargo.toml"
cp Cargo.lock "$target/package/"
"$cargo" test --doc --all-features --workspace --manifest-path "$target/package/Cargo.toml"
