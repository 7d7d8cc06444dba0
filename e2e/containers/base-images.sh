#!/usr/bin/env bash
# Makes the base images of the Dockerfile from what is on this machine, under the names that the Dockerfile
# has for them: where no registry can be reached, the Dockerfile is built against these, unchanged. An image
# that is there already is left alone; what was made is printed, one name a line, for whoever removes it.
#
#   golang:1.26   this machine's Go toolchain, its shell and mkdir with the libraries they need, and the modules
#                 of go.mod as a file tree that stands for the module proxy
#
# The last stage is built from scratch, which is no image.
set -euo pipefail
cd "$(dirname "$0")/../.."

mapfile -t wanted < <(sed -nE 's/^FROM +([^ ]+).*/\1/p' Dockerfile | grep -vx scratch)
[[ ${wanted[*]} == golang:1.26 ]] || { echo "the Dockerfile wants ${wanted[*]}: teach $0 to make it" >&2; exit 1; }
if docker image inspect golang:1.26 >/dev/null 2>&1; then exit 0; fi

root=$(mktemp -d)
trap 'chmod -R u+w "$root"; rm -rf "$root"' EXIT

# Programs, with what the loader needs for them, where they are on this machine.
for program in sh mkdir; do
	path=$(command -v "$program")
	install -D "$(readlink -f "$path")" "$root/bin/$program"
	{ ldd "$path" || true; } | grep -oE '/[^ ]+' | while read -r library; do
		install -D "$(readlink -f "$library")" "$root$library"
	done
done
install -d -m 1777 "$root/tmp"

# The toolchain, without its own tests and documents.
goroot=$(go env GOROOT)
mkdir -p "$root/usr/local/go"
tar -C "$goroot" --exclude=./test --exclude=./api --exclude=./doc --exclude='*_test.go' --exclude=testdata -c . |
	tar -C "$root/usr/local/go" -x

# The modules, laid out as a proxy serves them: all go.mod files that this machine has, and the archives of
# the versions that go.mod chose.
go mod download
cache=$(go env GOMODCACHE)/cache/download
mkdir -p "$root/proxy"
{
	(cd "$cache" && find . \( -name '*.mod' -o -name '*.info' \) -path '*/@v/*' -printf '%P\n')
	go mod download -json | sed -nE "s|^\t\"Zip\": \"$cache/(.*)\",?$|\1|p"
} | tar -C "$cache" -c -T - | tar -C "$root/proxy" -x

tar -C "$root" -c . | docker import --change 'ENV PATH=/usr/local/go/bin:/bin GOTOOLCHAIN=local GOPROXY=file:///proxy GOSUMDB=off' \
	--message 'stands for golang:1.26 where no registry can be reached' - golang:1.26 >/dev/null
echo golang:1.26
