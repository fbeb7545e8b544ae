#!/usr/bin/env bash
# Installs a Debian package in a clean chroot with the commands of docs/install.md, starts the
# service's own command with a stub of systemd's notification socket, delivers an event, and purges
# the package.
#   tests/package/install.sh PACKAGE.deb CHROOT.tar
# Needs root, and CHROOT.tar as `make test-package` builds it.
set -euo pipefail
package=$(realpath "$1")
chroot_tar=$(realpath "$2")
page=$(dirname "$(realpath "$0")")/../../docs/install.md

if [[ -z "${IN_NAMESPACE:-}" ]]; then
  # The gateway, its upstream and the sender use fixed ports, which must be free.
  exec env IN_NAMESPACE=1 unshare --mount --net --fork "$(realpath "$0")" "$package" "$chroot_tar"
fi

fail() {
  echo "$*" >&2
  [[ ! -s "$work/gateway.log" ]] || cat "$work/gateway.log" >&2
  exit 1
}

ip link set lo up
work=$(mktemp -d)
root=$work/root
gateway=
notified=
upstream=
cleanup() {
  for process in $gateway $notified $upstream; do
    kill "$process" 2>/dev/null || true
  done
  wait || true
  umount "$root/proc" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
mkdir "$root"
tar -xf "$chroot_tar" -C "$root"
mount -t proc proc "$root/proc"
inside() { chroot "$root" "$@"; }

# Runs the block of docs/install.md that is marked as "sh $1" in the chroot, as root.
run_block() {
  local fence='```' script
  script=$(awk -v start="${fence}sh $1" -v end="$fence" \
    '$0 == end { inside = 0 } inside { print } $0 == start { inside = 1 }' "$page")
  [[ -n "$script" ]] || fail "docs/install.md has no block \"sh $1\""
  inside env PATH=/trial/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
    APT_CONFIG=/trial/apt.conf bash -euxo pipefail -c "cd /trial; $script" < /dev/null
}

# Repeats a command for 60 seconds at most, until it succeeds. $1 names the condition.
wait_until() {
  local condition=$1 end=$((SECONDS + 60))
  shift
  until "$@" 2>/dev/null; do
    ((SECONDS < end)) || fail "after 60 seconds, $condition"
    sleep 0.1
  done
}

# The list of everything in the chroot, without the caches and records of dpkg, and without the
# backups of useradd and userdel, such as /etc/passwd-.
contents() {
  (cd "$root" && find . -xdev \( -path ./proc -o -path ./var/lib/dpkg -o -path ./var/cache \
    -o -path ./var/log -o -path ./var/lib/apt -o -path ./trial -o -path ./run \
    -o -path './etc/*-' \) -prune -o -printf '%p %m %u %g\n' |
    sort)
  (cd "$root" && sort etc/passwd etc/group etc/shadow etc/gshadow)
}

contents > "$work/before"
mkdir -p "$root/trial/target/packages" "$root/trial/bin"
cp "$package" "$root/trial/target/packages"
# The chroot has no terminals.
echo 'Dpkg::Use-Pty "0";' > "$root/trial/apt.conf"
# Makes a program of the chroot, which has no systemd.
stub() {
  printf '#!/bin/sh\n%s\n' "$2" > "$root/trial/bin/$1"
  chmod +x "$root/trial/bin/$1"
}
record='echo "$*" >> /trial/systemctl.log'
stub systemctl "$record"
run_block install

# What the package promises.
[[ "$(inside stat -c '%a %U %G' /etc/hookgate /etc/hookgate/secrets)" == \
  $'750 root hookgate\n750 root hookgate' ]] || fail "wrong owner of /etc/hookgate"
inside hookgate --version
inside test -f /usr/share/doc/hookgate/gateway.example.toml
for manual in hookgate hookgate-run hookgate-queue-list; do
  inside test -s "/usr/share/man/man1/$manual.1.gz" || fail "there is no manual page $manual"
done
for file in bash-completion/completions/hookgate zsh/vendor-completions/_hookgate \
  fish/vendor_completions.d/hookgate.fish; do
  inside grep -q reload "/usr/share/$file" || fail "there are no completions in $file"
done
inside test -f /usr/lib/systemd/system/hookgate.service
inside test -f /usr/lib/systemd/system/hookgate.socket
unit=$root/usr/lib/systemd/system/hookgate.service
# The chroot has no systemd, so the units are checked with the units of this machine.
if command -v systemd-analyze >/dev/null; then
  mkdir "$work/units"
  for name in hookgate.service hookgate.socket; do
    sed 's|/usr/bin/hookgate|/bin/true|' "$root/usr/lib/systemd/system/$name" > "$work/units/$name"
  done
  systemd-analyze verify "$work/units/hookgate.service" "$work/units/hookgate.socket" 2>&1 |
    tee "$work/verify.log"
  [[ ! -s "$work/verify.log" ]] || fail "the units have mistakes"
fi

# The secret, the check, and the start of the service.
run_block start | tee "$work/check.log"
grep -q '^listen     127.0.0.1:8080' "$work/check.log" || fail "the check shows no address"
[[ "$(cat "$root/trial/systemctl.log")" == "enable --now hookgate" ]] ||
  fail "the page did not start the service"
[[ "$(inside stat -c '%a %U %G' /etc/hookgate/secrets/example)" == "640 root hookgate" ]] ||
  fail "wrong owner of the secret"

# What systemd does before it runs ExecStart.
inside install -d -o hookgate -g hookgate -m 700 /var/lib/hookgate
inside install -d -o hookgate -g hookgate -m 750 /run/hookgate /var/log/hookgate
cat > "$work/notify.py" <<'PY'
import socket, sys
stub = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
stub.bind(sys.argv[1])
stub.settimeout(120)
print("bound", flush=True)
while True:
    message = stub.recv(4096).decode()
    print(message.replace("\n", " "), flush=True)
    if message.startswith("STOPPING=1"):
        break
PY
python3 "$work/notify.py" "$root/run/notify" > "$work/notify.log" 2>&1 &
notified=$!
wait_until "the notification socket does not exist" grep -qs bound "$work/notify.log"
chmod 666 "$root/run/notify"
cat > "$work/upstream.py" <<'PY'
from http.server import BaseHTTPRequestHandler, HTTPServer
class Upstream(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        print(self.headers["hookgate-event-id"], body.decode(), flush=True)
        self.send_response(204)
        self.end_headers()
HTTPServer(("127.0.0.1", 3000), Upstream).serve_forever()
PY
python3 "$work/upstream.py" > "$work/arrived.log" 2>/dev/null &
upstream=$!
wait_until "the upstream does not listen" bash -c 'exec 3<>/dev/tcp/127.0.0.1/3000'

read -ra start <<< "$(sed -n 's/^ExecStart=//p' "$unit")"
read -ra reload <<< "$(sed -n 's/^ExecReload=//p' "$unit")"
as_service() {
  exec env -i PATH=/usr/bin:/usr/sbin NOTIFY_SOCKET=/run/notify \
    chroot --userspec=hookgate:hookgate "$root" "$@"
}
(as_service "${start[@]}") > "$work/access.log" 2> "$work/gateway.log" &
gateway=$!
for _ in $(seq 600); do
  grep -q '^READY=1 STATUS=Serving 1 source' "$work/notify.log" && break
  kill -0 "$gateway" 2>/dev/null || fail "the service has ended"
  sleep 0.1
done
grep -q '^READY=1' "$work/notify.log" || fail "the service did not report that it is ready"

# The first delivery, and its duplicate.
run_block deliver | tee "$work/sent.log"
grep -q '204 No Content' "$work/sent.log" || fail "the delivery was not forwarded"
grep -q 'duplicate' "$work/sent.log" || fail "the duplicate was not recognised"
[[ "$(wc -l < "$work/arrived.log")" == 1 ]] || fail "the upstream did not get one event"

# ExecReload succeeds, and fails when the gateway refuses the file.
(as_service "${reload[@]}") || fail "the reload failed"
wait_until "there is no RELOADING=1" grep -q '^RELOADING=1 MONOTONIC_USEC=' "$work/notify.log"
cp -p "$root/etc/hookgate/gateway.toml" "$work/gateway.toml"
sed -i 's/127.0.0.1:8080/127.0.0.1:8081/' "$root/etc/hookgate/gateway.toml"
if (as_service "${reload[@]}") 2> "$work/reload.log"; then
  fail "a reload with another listen address succeeded"
fi
grep -q 'server.listen: it changed; restart' "$work/reload.log" || fail "$(cat "$work/reload.log")"
cp -p "$work/gateway.toml" "$root/etc/hookgate/gateway.toml"

kill -TERM "$gateway"
wait "$gateway" || fail "the service ended with an error"
gateway=
wait_until "there is no STOPPING=1" grep -q '^STOPPING=1' "$work/notify.log"
notified=
kill "$upstream"
upstream=

# An upgrade restarts a running service, unless the new version refuses the configuration. dpkg
# succeeds in both cases.
mkdir -p "$root/run/systemd/system"
stub systemd-run 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
with_stubs() { inside env PATH=/trial/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
upgrade() {
  : > "$root/trial/systemctl.log"
  with_stubs /var/lib/dpkg/info/hookgate.postinst configure 0.0.1 2> "$work/upgrade.log" \
    || fail "the upgrade failed: $(cat "$work/upgrade.log")"
}
restarts() { grep -q '^try-restart hookgate' "$root/trial/systemctl.log"; }
reports() { grep -q "$1" "$work/upgrade.log" || fail "no \"$1\" in: $(cat "$work/upgrade.log")"; }
upgrade
restarts || fail "the upgrade restarts nothing"
[[ ! -s "$work/upgrade.log" ]] || fail "$(cat "$work/upgrade.log")"
refuse_file() { echo 'unknown = 1' >> "$root/etc/hookgate/gateway.toml"; }
accept_file() { cp -p "$work/gateway.toml" "$root/etc/hookgate/gateway.toml"; }
refuse_file
upgrade
! restarts || fail "a refused file restarts the service"
reports "then run 'systemctl restart hookgate'"
reports "the new version refuses"
accept_file
# systemd-run itself fails, for example without D-Bus. The file is not to blame.
stub systemd-run 'exit 1'
upgrade
! restarts || fail "an unchecked file restarts the service"
reports "could not be checked (status 1)"
! grep -q "refuses" "$work/upgrade.log" || fail "$(cat "$work/upgrade.log")"
# Without systemd-run, root checks the file.
rm "$root/trial/bin/systemd-run"
! with_stubs sh -c 'command -v systemd-run' || fail "the chroot has a systemd-run of its own"
upgrade
restarts || fail "without systemd-run, the upgrade restarts nothing"
refuse_file
upgrade
! restarts || fail "without systemd-run, a refused file restarts the service"
reports "the new version refuses"
accept_file
# systemctl fails, or does not exist.
stub systemctl "$record"'; [ "$1" != try-restart ]'
upgrade
restarts || fail "the upgrade does not try to restart the service"
reports "the new version did not start"
stub systemctl "$record"'; [ "$1" = is-active ]'
upgrade
restarts || fail "after a failed daemon-reload, the upgrade restarts nothing"
reports "systemd did not read the new units"
rm "$root/trial/bin/systemctl"
upgrade
reports "systemd did not read the new units"

# Removing keeps the configuration and the data, also if systemctl fails.
stub systemctl "$record; exit 1"
: > "$root/trial/systemctl.log"
with_stubs dpkg --remove hookgate 2> "$work/upgrade.log"
grep -q '^disable --now hookgate' "$root/trial/systemctl.log" || fail "removing stops nothing"
reports "systemd did not stop the service"
rm -r "$root/run/systemd"
stub systemctl "$record"
inside test -f /etc/hookgate/secrets/example || fail "removing deleted a secret"
inside test -d /var/lib/hookgate/replay || fail "removing deleted the events"

# dpkg removes the folder of the secrets if it is empty. After another installation, the service can
# read it again.
rm "$root/etc/hookgate/secrets/example"
rmdir "$root/etc/hookgate/secrets"
run_block install
[[ "$(inside stat -c '%a %U %G' /etc/hookgate/secrets)" == "750 root hookgate" ]] ||
  fail "wrong owner of /etc/hookgate/secrets after another installation"

# Purging leaves nothing.
inside dpkg --purge hookgate
rm -r "$root/trial"
contents > "$work/after"
diff "$work/before" "$work/after" || fail "purging left traces"
[[ ! -e "$root/var/log/hookgate" ]] || fail "purging left logs"
echo "package ok"
