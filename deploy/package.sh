#!/usr/bin/env bash
# Packs a built binary as a Debian package.
#   deploy/package.sh BINARY FOLDER
# writes FOLDER/hookgate_VERSION_ARCHITECTURE.deb. Needs SOURCE_DATE_EPOCH, which `make package` sets.
# With HOOKGATE_COMMIT, the binary must show this commit.
# Two runs with the same SOURCE_DATE_EPOCH write the same bytes.
set -euo pipefail
binary=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
architecture=$(dpkg --print-architecture)
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:?set it to the time of the commit in seconds}"

# A binary of an earlier build has another commit.
if [[ -n "${HOOKGATE_COMMIT:-}" ]]; then
  shown=$("$binary" --version)
  [[ "$shown" == *"(commit $HOOKGATE_COMMIT,"* ]] || {
    echo "expected a binary of commit $HOOKGATE_COMMIT, but it is $shown; build it again" >&2
    exit 1
  }
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
doc=$root/usr/share/doc/hookgate
# The modes must not depend on the umask of the caller.
umask 022
install -D -m 755 "$binary" "$root/usr/bin/hookgate"
strip --strip-unneeded "$root/usr/bin/hookgate"
install -d "$root/usr/lib/systemd/system" "$root/etc" "$doc"
install -m 644 deploy/systemd/hookgate.service deploy/systemd/hookgate.socket \
  "$root/usr/lib/systemd/system"
install -d -m 750 "$root/etc/hookgate" "$root/etc/hookgate/secrets"
install -m 644 deploy/debian/gateway.toml "$root/etc/hookgate/gateway.toml"
install -m 644 gateway.example.toml gateway.schema.json README.md CHANGELOG.md "$doc"
install -m 644 LICENSE* "$doc"
gzip -9n "$doc/CHANGELOG.md" "$doc/README.md"
install -d "$root/usr/share/man/man1" "$root/usr/share/bash-completion/completions" \
  "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d"
"$binary" man --dir "$root/usr/share/man/man1"
gzip -9n "$root"/usr/share/man/man1/*
"$binary" completions bash > "$root/usr/share/bash-completion/completions/hookgate"
"$binary" completions zsh > "$root/usr/share/zsh/vendor-completions/_hookgate"
"$binary" completions fish > "$root/usr/share/fish/vendor_completions.d/hookgate.fish"

# dpkg-shlibdeps reads the libraries of the binary, and expects a source package around it.
mkdir -p "$work/debian"
printf 'Source: hookgate\n\nPackage: hookgate\nArchitecture: any\n' > "$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/hookgate |
  sed -n 's/^shlibs:Depends=//p')
size=$(du -sk "$root" | cut -f1)
install -d "$root/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" \
  -e "s/@DEPENDS@, /${depends:+$depends, }/" deploy/debian/control.in > "$root/DEBIAN/control"
echo /etc/hookgate/gateway.toml > "$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
  install -m 755 "deploy/debian/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find usr etc -type f -print0 | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
# The archive must not depend on the build time.
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --build "$root" "$folder/hookgate_${version}_${architecture}.deb"
