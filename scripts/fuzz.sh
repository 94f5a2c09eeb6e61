#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other. usage: scripts/fuzz.sh TIME_PER_TARGET
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s}

for pkg in $(go list ./...); do
	targets=$(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true)
	for target in $targets; do
		echo "== $pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg"
	done
done
