#!/usr/bin/env bash
# What a request costs: operations per second of server CPU of three nodes under wrk (Debian package wrk), and their
# resident memory. Starts its own nodes on loopback and stops them.
#
#   bench/wrk/cost.sh [-c connections] [-d seconds] [-k keys] METHOD:SIZE...      default: PUT:100 GET:100
#
# With URLS and PIDS set (space-separated) it measures servers that run already, with PREFIX before their keys.
set -euo pipefail
cd "$(dirname "$0")/../.."
connections=64 seconds=5 keys=10000
while getopts c:d:k: flag; do
	case $flag in c) connections=$OPTARG ;; d) seconds=$OPTARG ;; k) keys=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- PUT:100 GET:100
command -v wrk >/dev/null || { echo "wrk is missing: apt-get install wrk"; exit 1; }

if [ -z "${URLS:-}" ]; then
	dir=$(mktemp -d)
	CGO_ENABLED=0 go build -o "$dir/quorate" ./cmd/quorate
	join=127.0.0.1:19500,127.0.0.1:19501,127.0.0.1:19502
	PIDS=() URLS=""
	for i in 0 1 2; do
		"$dir/quorate" serve --name "node-$i" --data "$dir/$i" --http "127.0.0.1:1940$i" --gossip "127.0.0.1:1950$i" \
			--rpc "127.0.0.1:1960$i" --join "$join" >/dev/null 2>"$dir/$i.log" &
		PIDS+=($!)
		URLS+="http://127.0.0.1:1940$i "
	done
	started=("${PIDS[@]}")
	trap 'kill "${started[@]}"; wait "${started[@]}" || :; rm -rf "$dir"' EXIT
	for i in 0 1 2; do
		until "$dir/quorate" health --url "http://127.0.0.1:1940$i" >/dev/null 2>&1; do read -rt 0.1 <> <(:) || :; done
	done
	PIDS="${PIDS[*]}"
fi
read -ra urls <<<"$URLS"
read -ra pids <<<"$PIDS"

cpu() { # seconds of CPU that the servers have used
	for pid in "${pids[@]}"; do sed 's/.*) //' "/proc/$pid/stat"; done | awk -v hz="$(getconf CLK_TCK)" '{s += $12 + $13} END {print s / hz}'
}

load() { # METHOD SIZE SECONDS
	export METHOD=$1 VSIZE=$2 KEYS=$keys
	for url in "${urls[@]}"; do
		wrk -t1 -c$((connections / ${#urls[@]})) -d"$3s" -s bench/wrk/keys.lua "$url" | grep RESULT &
		wrks+=($!)
	done
	wait "${wrks[@]}"
	wrks=()
}
wrks=()

printf '%-10s %10s %8s %8s %8s %16s %s\n' request ops/s errors 'p50 ms' 'p99 ms' ops/CPU-second 'resident MB'
for work in "$@"; do
	method=${work%:*} size=${work#*:}
	load FILL "$size" 3 >/dev/null
	before=$(cpu)
	result=$(load "$method" "$size" "$seconds")
	used=$(echo "$(cpu) - $before" | bc)
	rss=$(for pid in "${pids[@]}"; do awk '/VmRSS/ {printf "%d ", $2 / 1024}' "/proc/$pid/status"; done)
	awk -v w="$work" -v s="$seconds" -v c="$used" -v m="$rss" '{n += $2; e += $3; if ($4 > a) a = $4; if ($5 > b) b = $5}
		END {printf "%-10s %10.0f %8d %8.2f %8.2f %16.0f %s\n", w, n / s, e, a, b, n / c, m}' <<<"$result"
done
