#!/usr/bin/env bash
# Three minutes of chaos. Where no sandbox can be made that is a skip, which is counted; for root on a CI machine whose
# kernel gives out namespaces it is a failure.
set -uo pipefail
cd "$(dirname "$0")/../.."
bin/baton-chaos --short --duration 3m --out chaos-report "$@"
status=$?
case $status in
0) echo "chaos: 1 passed, 0 failed, 0 skipped" ;;
77)
	if [[ "${CI:-}" == true && $(id -u) == 0 ]] && unshare --net --pid --mount --fork true 2>/dev/null; then
		echo "chaos: 0 passed, 1 failed, 0 skipped: root on a CI machine with namespaces, and no sandbox"
		exit 1
	fi
	echo "chaos: 0 passed, 0 failed, 1 skipped"
	;;
*)
	echo "chaos: 0 passed, 1 failed, 0 skipped"
	exit "$status"
	;;
esac
