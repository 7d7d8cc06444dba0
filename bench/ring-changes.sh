#!/usr/bin/env bash
# What changes of the ring cost the clients of three to five nodes: two join at once, one leaves, one is killed and removed, one comes back with
# an empty disk. Needs curl and jq. Starts its own nodes on loopback and stops them.
#
#   [SHORT=1] [TMPDIR=...] bench/ring-changes.sh [-r rate] [-k keys] [-b bigkeys] [-p partitions] [-s cpus of servers] [-l cpus of the load]
#
# SHORT ends it after the first change. Before each change, 5 s of the load; then the load goes on until every node says that the ring has settled.
set -euo pipefail
cd "$(dirname "$0")/.."
rate=2000 keys=200000 big=20000 partitions=256 servers=2,3 loads=0,1
while getopts r:k:b:p:s:l: flag; do
	case $flag in r) rate=$OPTARG ;; k) keys=$OPTARG ;; b) big=$OPTARG ;; p) partitions=$OPTARG ;; s) servers=$OPTARG ;; l) loads=$OPTARG ;; *) exit 2 ;; esac
done
dir=$(mktemp -d)
quorate=${QUORATE:-$dir/quorate}
[ -n "${QUORATE:-}" ] || CGO_ENABLED=0 go build -o "$quorate" ./cmd/quorate
declare -A pids
trap 'kill -9 "${pids[@]}" 2>/dev/null || :; wait 2>/dev/null || :; [ -n "${KEEP:-}" ] && cp "$dir"/*.log "$KEEP" || :; rm -rf "$dir"' EXIT
export QUORATE_JOIN=127.0.0.1:19700,127.0.0.1:19701 QUORATE_PARTITIONS=$partitions

url() { echo "http://127.0.0.1:1970$(($1 + 5))"; }
start() { # NODE...
	for i in "$@"; do
		taskset -c "$servers" "$quorate" serve --name "node-$i" --data "$dir/$i" --http "127.0.0.1:1970$((i + 5))" --gossip "127.0.0.1:1970$i" --rpc "127.0.0.1:1971$i" >/dev/null 2>>"$dir/$i.log" &
		pids[$i]=$!
	done
}
stop() { # NODE: killed
	kill -9 "${pids[$1]}"; wait "${pids[$1]}" 2>/dev/null || :
	unset "pids[$1]"
}
settled() { # MEMBERS: every running node sees so many, and one layout; none of them empty
	for i in "${!pids[@]}"; do
		curl -sf -m 2 "$(url "$i")/cluster" | jq -e --argjson m "$1" '.layout.settled and (.members | length == $m and all(.partitions > 0 and .status == "member" and (.gaining | not)))' >/dev/null || return 1
	done
}
waits() { # MEMBERS
	local end=$((SECONDS + 180))
	until curl -sf -m 2 "$(url 0)/cluster" | grep -q '"settled":true' && settled "$1"; do # one cheap look a second: looking takes from the same processors
		[ $SECONDS -lt $end ] || { curl -s "$(url 0)/cluster" | jq -c .layout; return 1; }
		sleep 1
	done
}
count() { # METRIC NODE: over all running nodes but that, whose counters end or begin anew
	for i in "${!pids[@]}"; do [ "$i" = "$2" ] || curl -sf "$(url "$i")/metrics"; done | awk -v m="$1" 'index($0, m " ") == 1 || index($0, m "{") == 1 {s += $NF} END {printf "%.0f\n", s}'
}
load() { # ARGUMENTS
	taskset -c "$loads" "$quorate" bench load --targets "$(url 0),$(url 1)" --n 3 --w 2 --r 2 --keys "$keys" --value-size 100 --bucket small --rate "$rate" --connections 64 --distribution uniform --json "$@" 2>>"$dir/load.log"
}
owners() { # partition → owners, by asking for enough keys
	seq 4000 | sed "s|.*|url = \"$(url 0)/cluster/ring?bucket=b\&key=&\&n=3\"|" | curl -sf -K - | jq -s 'map({key: (.partition | tostring), value: .owners}) | from_entries'
}
gained() { # FILE FILE: share of all keys' copies that somebody holds now who did not
	jq -n --slurpfile a "$1" --slurpfile b "$2" '[$b[0] | to_entries[] | (.value - $a[0][.key]) | length] | add / length'
}

begin() { date +%s.%N; }
change() { # NAME MEMBERS NODE COMMAND...
	local name=$1 members=$2 less=$3; shift 3
	owners >"$dir/before.json"
	load --preload=false --warmup 1s --duration 5s >"$dir/calm.json"
	local records bytes fetched='quorate_exchange_records_total{direction="in"}'
	records=$(count "$fetched" "$less") bytes=$(count quorate_exchange_fetched_bytes_total "$less")
	load --preload=false --warmup 0s --duration 200s >"$dir/during.json" & local loader=$!
	sleep 0.5
	local from till; from=$(begin)
	"$@"
	waits "$members"
	till=$(begin)
	[ "$1" != replaces ] || less= # all that the new one fetched counts
	kill -INT "$(pgrep -P "$loader" || echo "$loader")" 2>/dev/null || :; wait "$loader" || :
	owners >"$dir/after.json"
	jq -rn --arg name "$name" --argjson took "$(echo "$till - $from" | bc)" --argjson keys $((keys + big)) --argjson share "$(gained "$dir/before.json" "$dir/after.json")" \
		--argjson records $(($(count "$fetched" "$less") - records)) --argjson bytes $(($(count quorate_exchange_fetched_bytes_total "$less") - bytes)) \
		--slurpfile a "$dir/calm.json" --slurpfile b "$dir/during.json" '
		def of($r; $k): $r.operations[] | select(.kind == $k) | .latency_ms;
		def r: . * 100 | round / 100;
		($keys * $share) as $want |
		"\($name): \($took | r) s; \(if $share > 0 then "gained \($want | round) copies, " else "" end)fetched \($records)\(if $share > 0 then " (\($records / $want | r))" else "" end), \($bytes) bytes, \($records / $took | round)/s",
		(("read", "update") as $k | of($a[0]; $k) as $x | of($b[0]; $k) as $y |
			"  \($k): p50 \($x.p50 | r) → \($y.p50 | r) ms (\($y.p50 / $x.p50 | r)), p99 \($x.p99 | r) → \($y.p99 | r) ms (\($y.p99 / $x.p99 | r)), max \($y.max | r) ms"),
		"  failed: before \($a[0].total.failed), meanwhile \($b[0].total.failed) of \($b[0].total.succeeded) \([$a[0], $b[0] | .operations[].reasons // empty] | tostring)"'
	[ -n "${KEEP:-}" ] && cp "$dir/during.json" "$KEEP/${name// /-}.json" && cp "$dir/calm.json" "$KEEP/${name// /-}.calm.json" || :
}

start 0 1 2
waits 3
taskset -c "$loads" "$quorate" bench load --targets "$(url 0),$(url 1)" --n 3 --keys "$big" --value-size 4KiB --bucket big --update 100 --w 3 --warmup 0s --duration 1s --json 2>>"$dir/load.log" >/dev/null
taskset -c "$loads" "$quorate" bench load --targets "$(url 0),$(url 1)" --n 3 --keys "$keys" --value-size 100 --bucket small --update 100 --w 2 --connections 64 --warmup 0s --duration 3s --json 2>>"$dir/load.log" >"$dir/plain.json"
jq -r '"plain writes: \(.total.per_s | round)/s, p99 \(.total.latency_ms.p99) ms"' "$dir/plain.json"
leaves() { curl -sf -X POST "$(url "$1")/cluster/leave" >/dev/null; wait "${pids[$1]}" || :; unset "pids[$1]"; }
removes() { stop "$1"; until curl -sf -X POST "$(url 0)/cluster/remove/node-$1" >/dev/null; do sleep 0.1; done; }
version() { curl -s "$(url 0)/cluster" | jq -r .layout.version; }
replaces() {
	local before; before=$(version)
	stop "$1"; rm -rf "${dir:?}/$1"; start "$1"
	for _ in {1..120}; do [ "$(version)" = "$before" ] || return 0; sleep 0.5; done # that it has an empty disk is known when gossip has believed the old one dead
	echo "node-$1 is not known to have an empty disk after a minute" >&2
	return 1
}
change "two join" 5 none start 3 4
[ -n "${SHORT:-}" ] && exit 0
change "one leaves" 4 2 leaves 2
change "one is killed and removed" 3 3 removes 3
rm -rf "${dir:?}/2" # the data directory of who left is of no use
start 2
waits 4
change "one loses its disk" 4 4 replaces 4
