#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other. usage: scripts/fuzz.sh TIME_PER_TARGET
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s}

# Found by their text: to ask each package's tests for theirs would build all of them once more.
mapfile -t found < <(grep -rHo --include='*_test.go' --exclude-dir=scripts '^func Fuzz[A-Za-z0-9_]*' . | sort)
((${#found[@]} > 0)) || { echo "no fuzz targets" >&2; exit 1; }
for line in "${found[@]}"; do
	pkg=$(dirname "${line%%:*}")
	target=${line##*func }
	echo "== $pkg $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg"
done
