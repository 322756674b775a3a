#!/bin/sh
# The steps of scripts/evaluate, in the order they build on each other; it sources this file and
# brings the helpers (call, get, post, check, …). Apart so that the promises read as a list.
# shellcheck disable=SC2154 # the variables are those of evaluate

if [ "${0##*/}" = evaluate-steps.sh ]; then
	echo "usage: not for use alone; scripts/evaluate sources it"
	exit
fi

# Health
get /health/live
check 'GET /health/live' '200 {"status":"ok"}' "$status $answer"
get /health/ready
check 'GET /health/ready' '200 {"status":"ready"}' "$status $answer"
get /stats
stored_before=$(number total_messages)
get /metrics
check 'GET /metrics' 200 "$status"
holds 'GET /metrics: Prometheus text' "$(header content-type)" 'text/plain; version=0.0.4'
cp "$work/answer" "$work/before"
asked_before=$asked

# Signatures
first=$(message m0 "$sender" 2025-01-15T10:00:00Z Hello)
zeros=0000000000000000000000000000000000000000000000000000000000000000
refused='401 {"detail":"invalid signature"}'
post "$first" -H 'X-Signature;'
check 'POST with an empty signature' "$refused" "$status $answer"
call -H 'Content-Type: application/json' --data-binary "$first" "$url/webhook"
check 'POST without a signature' "$refused" "$status $answer"
post "$first" -H "X-Signature: $zeros"
check 'POST with a wrong signature' "$refused" "$status $answer"
get "/messages?from=$sender"
check 'refused messages are not stored' 0 "$(number total)"

# One message is stored once
stored='200 {"status":"ok"}'
post "$first"
signature=$("$project/scripts/sign" "$work/body")
check 'POST with a good signature' "$stored" "$status $answer"
post "$first"
check 'POST of a duplicate' "$stored" "$status $answer"
post "$(message m0 "$sender" 2025-01-16T10:00:00Z 'Changed')"
check 'POST of the same id with another body' "$stored" "$status $answer"
get "/messages?from=$sender"
check 'a duplicate adds no row' 1 "$(number total)"
check 'a duplicate changes no row' 'Hello 2025-01-15T10:00:00Z' "$(string text) $(string ts)"

# Invalid bodies, rightly signed
post 'not json'
check 'POST of no JSON' 422 "$status"
holds 'POST of no JSON: type' "$answer" '"json_invalid"'
post "$(message bad 919876543210 2025-01-15T10:00:00Z)"
check 'POST with from without +' 422 "$status"
holds 'POST with from without +: loc' "$answer" '"loc":["body","from"]'
post "$(message bad "$sender" 2025-02-30T10:00:00Z)"
check 'POST with 30 February' 422 "$status"
post "{\"from\":\"$sender\",\"ts\":\"2025-01-15T10:00:00Z\"}"
check 'POST without message_id and to' 422 "$status"
holds 'missing fields are all named' "$answer" '"loc":["body","message_id"]'
holds 'missing fields are all named (2)' "$answer" '"loc":["body","to"]'
# 4,097 characters: one too many.
post "$(message bad "$sender" 2025-01-15T10:00:00Z "$(printf '%04097d' 0)")"
check 'POST with a text too long' 422 "$status"

# More messages; the order they arrive in is not the order of their ts
seed() {
	post "$(message "$@")"
	check "POST $1" "$stored" "$status $answer"
}
seed s1 "$sender" 2025-01-15T10:00:03Z 'In der ÉCOLE'
seed s2 "$sender" 2025-01-15T10:00:01Z '100% sure_thing'
seed b "$sender" 2025-01-15T10:00:02Z beta
seed Z "$sender" 2025-01-15T10:00:02Z zeta
seed s3 "$sender" 2025-01-15T10:00:02.500Z
seed o1 "$other" 2025-01-15T10:00:04Z 'hello other'
printf '%s' "$(message o2 "$other" 2025-01-15T10:00:05Z)" >"$work/body"
post "$(cat "$work/body")" -H "X-Signature: sha256=$("$project/scripts/sign" "$work/body" | tr a-f A-F)"
check 'POST with sha256= and upper-case hex' "$stored" "$status $answer"

# list STEP QUERY TOTAL IDS
list() {
	get "/messages?$2"
	check "$1" "200 total $3: $4" "$status total $(number total): $(ids)"
}
all='m0 s2 Z b s3 s1 '
list 'order: instant, then id bytewise; from=+ unencoded' "from=$sender" 6 "$all"
list 'from=%2B' "from=%2B${sender#+}" 6 "$all"
list 'another sender' "from=$other" 2 'o1 o2 '
list 'limit' "from=$sender&limit=2" 6 'm0 s2 '
next=$(header link | sed -n 's/^<\([^>]*\)>; *rel="\{0,1\}next.*/\1/p')
check 'limit and offset are echoed' '2 0' "$(number limit) $(number offset)"
list 'offset' "from=$sender&limit=2&offset=4" 6 's3 s1 '
list 'offset past the end' "from=$sender&offset=50" 6 ''
list 'since, the instant itself included' "from=$sender&since=2025-01-15T10:00:02Z" 4 'Z b s3 s1 '
list 'since with an offset, + unencoded' "from=$sender&since=2025-01-15T15:30:03+05:30" 1 's1 '
list 'q, any case' "from=$sender&q=hELLo" 1 'm0 '
list 'q beyond ASCII' "from=$sender&q=%C3%A9cole" 1 's1 '
list 'q: % is an ordinary character' "from=$sender&q=0%25" 1 's2 '
list 'q: _ is an ordinary character' "from=$sender&q=e_t" 1 's2 '
list 'q, since and from together' "from=$sender&since=2025-01-15T10:00:02Z&q=ETA" 2 'Z b '
get "$next"
check 'Link: rel="next" leads on' '200: Z b ' "$status: $(ids)"
get "/messages?from=$sender&offset=4&limit=1"
holds 'text that was not sent is null' "$answer" '"text":null'
holds 'ts comes back as sent' "$answer" '"ts":"2025-01-15T10:00:02.500Z"'
for query in limit=0 limit=101 limit=x offset=-1 since=yesterday; do
	get "/messages?$query"
	check "$query" 422 "$status"
	holds "$query: loc" "$answer" "\"loc\":[\"query\",\"${query%%=*}\"]"
done

# Statistics
get /stats
check 'GET /stats' 200 "$status"
total=$(number total_messages)
check 'stats: eight more than before' "$((stored_before + 8))" "$total"
counts=$(printf '%s\n' "$answer" | grep -o '"count":[0-9]*' | sed 's/.*://')
check 'stats: counts descend' "$(printf '%s\n' "$counts" | sort -rn | tr '\n' ' ')" \
	"$(printf '%s\n' "$counts" | tr '\n' ' ')"
senders=$(number senders_count)
if [ "${senders:-11}" -le 10 ]; then
	check 'stats: counts add up to the total' "$total" "$(($(printf '%s\n' "$counts" | paste -sd + -)))"
	# The order of keys is nobody's promise.
	entry=$(printf '%s\n' "$answer" | grep -o '{[^{}]*}' | grep -F "\"from\":\"$sender\"") || true
	holds 'stats: a sender of six, by one name' "$entry" '"count":6'
	holds 'stats: and by the other name' "$entry" "\"from_msisdn\":\"$sender\""
fi
earliest=$(string first_message_ts)
latest=$(string last_message_ts)
get '/messages?limit=1'
check 'stats: first is the first of the list' "$(string ts)" "$earliest"
get "/messages?limit=1&offset=$((total - 1))"
check 'stats: last is the last of the list' "$(string ts)" "$latest"

# The rest of HTTP
get /no/such/path
check 'unknown path' '404 {"detail":"Not Found"}' "$status $answer"
call -X DELETE "$url/webhook"
check 'wrong method' '405 {"detail":"Method Not Allowed"}' "$status $answer"
holds 'wrong method: Allow' "$(header allow)" POST
get /messages -I
check 'HEAD where GET works' 200 "$status"
get /health/live -H "X-Request-ID: ev-$tag"
check 'X-Request-ID comes back' "ev-$tag" "$(header x-request-id)"
if [ -n "$own" ]; then
	head -c 70000 /dev/zero | tr '\0' x >"$work/body"
	call -H "X-Signature: $zeros" --data-binary "@$work/body" "$url/webhook"
	check 'POST of 70,000 bytes' '413 {"detail":"request body too large"}' "$status $answer"
fi

# Metrics have grown by what was done above
get /metrics
cp "$work/answer" "$work/after"
asked=$((asked - asked_before))
check 'webhook_requests_total created' 8 "$(grown webhook_requests_total 'result="created"')"
check 'webhook_requests_total duplicate' 2 "$(grown webhook_requests_total 'result="duplicate"')"
check 'webhook_requests_total invalid_signature' 3 \
	"$(grown webhook_requests_total 'result="invalid_signature"')"
check 'webhook_requests_total validation_error' 5 \
	"$(grown webhook_requests_total 'result="validation_error"')"
check 'http_requests_total /webhook 200' 10 \
	"$(grown http_requests_total 'path="/webhook"' 'status="200"')"
check 'http_requests_total unmatched 404' 1 \
	"$(grown http_requests_total 'path="unmatched"' 'status="404"')"
answered=$(grown request_latency_ms_count)
check 'request_latency_ms counts every request' yes \
	"$([ "$answered" -ge "$asked" ] && echo yes || echo "$answered of $asked")"
check 'request_latency_ms: +Inf is the count' "$(metric after request_latency_ms_count)" \
	"$(metric after request_latency_ms_bucket 'le="+Inf"')"

# Stopping and logs
if [ -n "$own" ]; then
	stop
	check 'SIGTERM: exit status 0' 0 "$code"
fi
if [ -n "$log" ]; then
	# Lines are written behind the answer's back; give the last of them a moment.
	[ -n "$own" ] || sleep 2
	tail -n "+$log_start" "$log" >"$work/lines"
	bad=$(grep -vc '^{"[^"]*":.*}$' "$work/lines") || true
	if command -v jq >/dev/null 2>&1; then
		jq -R 'fromjson | .ts, .level | strings' "$work/lines" >"$work/parsed" 2>"$work/error" || true
		bad=$((2 * $(wc -l <"$work/lines") - $(wc -l <"$work/parsed")))
	fi
	check 'log: every line is JSON with ts and level' 0 "$bad"
	compact "$work/lines" | grep -F "\"message_id\":\"ev-$tag-m0\"" >"$work/m0" || true
	for part in '"level":"INFO"' '"method":"POST"' '"path":"/webhook"' '"status":200' '"request_id":"' \
		'"latency_ms":[0-9]'; do
		check "log: $part" 3 "$(grep -c "$part" "$work/m0" || true)"
	done
	check 'log: created once' 1 "$(grep '"dup":false' "$work/m0" | grep -c '"result":"created"' || true)"
	check 'log: duplicate twice' 2 "$(grep '"dup":true' "$work/m0" | grep -c '"result":"duplicate"' || true)"
	check 'log: a bad signature is an ERROR' yes "$(compact "$work/lines" |
		grep '"result":"invalid_signature"' | grep -q '"level":"ERROR"' && echo yes || echo no)"
	leaked=$(grep -c -e sure_thing -e "$signature" "$work/lines") || true
	check 'log: no text and no signature' 0 "$leaked"
	check 'log: paths without their query' 0 "$(grep -c -F 'from=' "$work/lines" || true)"
fi
