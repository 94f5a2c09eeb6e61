#!/usr/bin/env bash
# Brings in what building and testing need and this machine lacks. Changes nothing that is there.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}

if ! command -v "$go" >/dev/null; then
	echo "setup: no Go toolchain: install Go $(awk '$1 == "go" {print $2}' go.mod) or newer and put it on PATH" >&2
	exit 1
fi

# The race detector needs cgo, and cgo a C compiler.
cc=$("$go" env CC)
if ! command -v "${cc%% *}" >/dev/null; then
	if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev
	else
		echo "setup: no C compiler ($cc) for the race detector: install gcc" >&2
		exit 1
	fi
fi

"$go" mod download
