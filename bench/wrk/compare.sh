#!/usr/bin/env bash
# quorate bench load beside wrk (Debian package wrk): the same GETs of the same keys on the same three nodes, in turn. Prints for each
# round, and as medians, the CPU of the nodes and of the load itself, in microseconds a request. Needs jq.
#
#   bench/wrk/compare.sh [-r rounds] [-c connections] [-d seconds] [-k keys]
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=7 connections=63 seconds=4 keys=10000
while getopts r:c:d:k: flag; do
	case $flag in r) rounds=$OPTARG ;; c) connections=$OPTARG ;; d) seconds=$OPTARG ;; k) keys=$OPTARG ;; *) exit 2 ;; esac
done
for tool in wrk jq; do command -v $tool >/dev/null || { echo "$tool is missing: apt-get install $tool"; exit 1; }; done

dir=$(mktemp -d)
CGO_ENABLED=0 go build -o "$dir/quorate" ./cmd/quorate
join=127.0.0.1:19500,127.0.0.1:19501,127.0.0.1:19502
urls=() pids=() wrks=()
trap 'kill "${pids[@]}"; wait "${pids[@]}" || :; rm -rf "$dir"' EXIT
for i in 0 1 2; do
	"$dir/quorate" serve --name "node-$i" --data "$dir/$i" --http "127.0.0.1:1940$i" --gossip "127.0.0.1:1950$i" \
		--rpc "127.0.0.1:1960$i" --join "$join" >/dev/null 2>"$dir/$i.log" &
	pids+=($!)
	urls+=("http://127.0.0.1:1940$i")
done
for url in "${urls[@]}"; do
	until "$dir/quorate" health --url "$url" >/dev/null 2>&1; do read -rt 0.1 <> <(:) || :; done
done

bench() { # further flags
	"$dir/quorate" bench load --targets "$(IFS=,; echo "${urls[*]}")" --bucket load --keys "$((keys + 1))" --workload c \
		--distribution uniform --connections "$connections" --warmup 0s --json "$@" 2>/dev/null
}

cpu() { # seconds of CPU that the nodes have used
	for pid in "${pids[@]}"; do sed 's/.*) //' "/proc/$pid/stat"; done | awk -v hz="$(getconf CLK_TCK)" '{s += $12 + $13} END {print s / hz}'
}

withWrk() { # one wrk a node, as cost.sh does; prints nodes' and own microseconds
	local before
	before=$(cpu)
	for i in "${!urls[@]}"; do
		( TIMEFORMAT='CPU %U %S'
		time wrk -t1 -c$((connections / ${#urls[@]})) -d"${seconds}s" -s bench/wrk/keys.lua "${urls[i]}" | grep RESULT ) >"$dir/wrk.$i" 2>&1 &
		wrks+=($!)
	done
	wait "${wrks[@]}"
	wrks=()
	cat "$dir"/wrk.* | awk -v b="$before" -v a="$(cpu)" '/RESULT/ {n += $2} /CPU/ {own += $2 + $3} END {printf "%.1f %.1f\n", (a - b) / n * 1e6, own / n * 1e6}'
}

withLoad() {
	bench --preload=false --duration "${seconds}s" | jq -r '"\(.server_cpu.us_per_request) \(.own.us_per_request)"'
}

median() { sort -n | awk '{v[NR] = $1} END {print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2}'; }

export METHOD=GET KEYS=$keys
bench --duration 1s >/dev/null # puts every key
printf '%5s %12s %12s %12s %12s\n' round 'nodes: wrk' 'bench load' 'own: wrk' 'bench load'
for round in $(seq "$rounds"); do
	read -r wn wo < <(withWrk)
	read -r ln lo < <(withLoad)
	printf '%5d %12.1f %12.1f %12.1f %12.1f\n' "$round" "$wn" "$ln" "$wo" "$lo"
	echo "$wn" >>"$dir/wn"; echo "$ln" >>"$dir/ln"; echo "$wo" >>"$dir/wo"; echo "$lo" >>"$dir/lo"
done
awk -v wn="$(median <"$dir/wn")" -v ln="$(median <"$dir/ln")" -v wo="$(median <"$dir/wo")" -v lo="$(median <"$dir/lo")" 'BEGIN {
	printf "%5s %12.1f %12.1f %12.1f %12.1f\n", "median", wn, ln, wo, lo
	printf "bench load against wrk: nodes %+.1f %%, own %.2f x\n", (ln / wn - 1) * 100, lo / wo }'
