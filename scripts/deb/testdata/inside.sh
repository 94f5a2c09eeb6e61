#!/bin/bash
# The first process of namespaces of its own: puts an overlay in memory over the root $1 and goes on in it. The packages are
# in $2. Ends with 77 when that cannot be.
set -euo pipefail
if [ "${3:-}" = "" ]; then
	mount -t tmpfs -o size=1g tmpfs /mnt || exit 77
	mkdir /mnt/{upper,work,root}
	mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root || exit 77
	# A system of its own: nothing of this machine's runs or is kept in it.
	rm -rf /mnt/root/etc/baton /mnt/root/var/lib/baton /mnt/root/var/lib/man-db/auto-update
	mkdir -p /mnt/root/{packages,proc,dev,tmp,run}
	cp "$2"/*.deb "$0" /mnt/root/packages/
	mount -t proc proc /mnt/root/proc
	mount --rbind /dev /mnt/root/dev
	mount -t tmpfs tmpfs /mnt/root/run
	exec chroot /mnt/root /packages/"$(basename "$0")" - - inside
fi

export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
say() { echo "== $*"; }
die() { echo "FAILED: $*"; exit 1; }
ip link set lo up 2>/dev/null || true
install() { dpkg --force-confdef -i "$1" >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; die "dpkg -i $1"; }; }

say "install on a fresh system"
getent passwd baton >/dev/null && die "the user is there before"
install /packages/old.deb
[ "$(baton version | head -n1 | grep -c 1.0.0)" = 1 ] || die "version: $(baton version)"
getent passwd baton | grep -q ':/var/lib/baton:' || die "no user"
[ "$(stat -c '%U %a' /etc/baton/keys)" = "root 700" ] || die "keys: $(stat -c '%U %a' /etc/baton/keys)"
[ ! -e /var/lib/baton ] || die "there is data"
[ -s /usr/share/man/man1/baton.1.gz ] && zcat /usr/share/man/man1/baton-leader-transfer.1.gz | grep -q 'baton leader transfer' || die "manual"
bash -n /usr/share/bash-completion/completions/baton || die "completion"
if command -v systemd-analyze >/dev/null; then
	for unit in baton.service baton@node1.service; do
		complaint=$(systemd-analyze verify --man=no "$unit" 2>&1) || die "verify $unit: $complaint"
		[ -z "$complaint" ] || die "verify $unit: $complaint"
	done
	say "systemd-analyze verify: clean"
fi

say "a node of it, as its unit would start it"
baton init --systemd --nodes 1 --hosts 127.0.0.1 --out /tmp/cluster >/dev/null
cp -r /tmp/cluster/node1/. /etc/baton/
command -v install >/dev/null
mkdir -p /var/lib/baton
chown baton: /var/lib/baton
chmod 700 /var/lib/baton
mkdir /run/credentials
cp /etc/baton/keys/* /run/credentials/
chown -R baton: /run/credentials
chmod 500 /run/credentials
start() {
	env CREDENTIALS_DIRECTORY=/run/credentials BATON_KEYS_NODE=/run/credentials/node.json \
		BATON_KEYS_PROCESSOR=/run/credentials/processor.json BATON_RAFTIFY_ENCRYPT=file:/run/credentials/gossip.key \
		setpriv --reuid baton --regid baton --clear-groups /usr/bin/baton run --config /etc/baton/config.json 2>>/tmp/log &
	node=$!
	for _ in $(seq 600); do
		if baton leader show --config /etc/baton/config.json 2>/dev/null | grep -q 'node1 leads'; then return; fi
		kill -0 $node 2>/dev/null || { cat /tmp/log; die "the node ended"; }
		sleep 0.1
	done
	cat /tmp/log
	die "the node does not lead"
}
start
sum() { (cd / && find etc/baton -type f | sort | xargs sha256sum); }
before=$(sum)
data=$(ls -i -d /var/lib/baton/data)

say "upgrade while it runs"
install /packages/new.deb
[ "$(baton version | grep -c 1.1.0)" -ge 1 ] || die "version: $(baton version)"
kill -0 $node 2>/dev/null || die "the upgrade stopped the node"
baton leader show --config /etc/baton/config.json | grep -q 'node1 leads' || die "the node does not lead after the upgrade"
[ "$(sum)" = "$before" ] || die "the upgrade changed a configuration"
kill -TERM $node
wait $node || die "the node stopped with $?"
start
kill -TERM $node
wait $node || die "the new node stopped with $?"

say "remove, then purge"
baton block verify --config /etc/baton/config.json >/dev/null || die "the chain is not whole"
everything() { (cd / && find etc/baton var/lib/baton -type f | sort | xargs sha256sum); }
before=$(everything)
dpkg -r baton >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; die "dpkg -r"; }
[ ! -e /usr/bin/baton ] || die "the program is still there"
[ ! -e /usr/lib/systemd/system/baton.service ] || die "the unit is still there"
[ "$(everything)" = "$before" ] || die "the removal touched data or configuration"
dpkg --purge baton >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; die "dpkg --purge"; }
[ "$(everything)" = "$before" ] || die "the purge touched data or configuration"
[ "$(ls -i -d /var/lib/baton/data)" = "$data" ] || die "another data folder"

say "install again: the node goes on"
install /packages/new.deb
start
kill -TERM $node
wait $node || die "the node stopped with $?"
echo "all is well"
