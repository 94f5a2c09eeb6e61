#!/usr/bin/env bash
# Runs the page of real nodes in a real Chromium; bin/baton is there already. Brings in what is missing: on Debian, as
# root, Chromium, Node and npm; from npm what package-lock.json names. Where that cannot be had it is a skip, which is
# counted; with CI=true a failure.
set -uo pipefail
cd "$(dirname "$0")"

unable() {
	if [[ "${CI:-}" == true ]]; then
		echo "page-test: 0 passed, 1 failed, 0 skipped: $1"
		exit 1
	fi
	echo "page-test: 0 passed, 0 failed, 1 skipped: $1"
	exit 0
}

find_chromium() {
	local name
	for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome-stable google-chrome; do
		command -v "$name" && return
	done
	return 1
}

missing=()
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
find_chromium >/dev/null || missing+=(chromium)
if ((${#missing[@]})); then
	[[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || unable "install ${missing[*]}"
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
		unable "apt-get could not install ${missing[*]}"
fi
CHROMIUM=$(find_chromium) || unable "no Chromium"
export CHROMIUM

if ! cmp -s package-lock.json node_modules/.installed; then
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || unable "npm could not install what package-lock.json names"
	cp package-lock.json node_modules/.installed
fi
exec node test.mjs
