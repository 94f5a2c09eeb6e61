#!/usr/bin/env bash
# Builds the Debian package into the folder $1 and prints its path. Reproducible: SOURCE_DATE_EPOCH, which is the time of
# the last commit if nothing else is said, is the only time in it.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
go=${GO:-go}
export LC_ALL=C TZ=UTC
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=${VERSION:-$(git describe --tags --always --dirty)}
case $version in
v[0-9]* | [0-9]*.*) DEB_VERSION=${version#v} ;;
*) DEB_VERSION=0~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d).$version ;;
esac
DEB_VERSION=${DEB_VERSION//-/+}
DEB_ARCH=$("$go" env GOARCH)
DEB_MTIME=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
DEB_DIR=$PWD/scripts/deb
DEB_STAGE=$(mktemp -d)
trap 'rm -rf "$DEB_STAGE"' EXIT
usr=$DEB_STAGE/usr
umask 022

put() { # put MODE FROM TO
	install -D -m "$1" "$2" "$usr/$3"
}
mkdir -p "$usr/bin"
CGO_ENABLED=0 GOFLAGS= "$go" build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "$usr/bin/baton" ./cmd/baton
put 644 scripts/systemd/baton.service lib/systemd/system/baton.service
put 644 scripts/systemd/baton@.service lib/systemd/system/baton@.service
put 644 scripts/systemd/baton.sysusers lib/sysusers.d/baton.conf
put 644 scripts/systemd/baton.tmpfiles lib/tmpfiles.d/baton.conf

doc=$usr/share/doc/baton
put 644 README.md share/doc/baton/README.md
put 644 scripts/OPERATING.md share/doc/baton/OPERATING.md
put 644 LICENSE share/doc/baton/copyright
put 644 CHANGELOG.md share/doc/baton/changelog
if [ "$DEB_ARCH" = "$("$go" env GOHOSTARCH)" ]; then
	baton=$usr/bin/baton
else
	baton=$DEB_STAGE/baton
	GOOS= GOARCH= GOFLAGS= "$go" build -trimpath -o "$baton" ./cmd/baton
fi
mkdir -p "$usr/share/man/man1" "$doc/examples"
"$baton" docs man --out "$usr/share/man/man1"
"$baton" docs config >"$doc/examples/config.json"
for shell in bash zsh fish; do
	"$baton" completion $shell >"$DEB_STAGE/$shell"
done
put 644 "$DEB_STAGE/bash" share/bash-completion/completions/baton
put 644 "$DEB_STAGE/zsh" share/zsh/vendor-completions/_baton
put 644 "$DEB_STAGE/fish" share/fish/vendor_completions.d/baton.fish
gzip -9n "$usr"/share/man/man1/*.1 "$doc/changelog"
find "$DEB_STAGE" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

sed -e "s|\${DEB_ARCH}|$DEB_ARCH|; s|\${DEB_VERSION}|$DEB_VERSION|; s|\${DEB_MTIME}|$DEB_MTIME|; s|\${DEB_DIR}|$DEB_DIR|" \
	-e "s|\${DEB_STAGE}|$DEB_STAGE|" scripts/deb/nfpm.yaml >"$DEB_STAGE/nfpm.yaml"
GOFLAGS= GOARCH= "$go" tool -modfile=scripts/deb/go.mod nfpm package --config "$DEB_STAGE/nfpm.yaml" --packager deb \
	--target "$out/baton_${DEB_VERSION}_$DEB_ARCH.deb" >&2
echo "$out/baton_${DEB_VERSION}_$DEB_ARCH.deb"
