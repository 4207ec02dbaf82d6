#!/bin/sh
# Sends a message and waits for its end. Needs curl.
set -eu
url=http://127.0.0.1:8080

call() {
    curl -sS --fail-with-body --max-time 10 \
        -H "Authorization: Bearer $TIDINGS_TOKEN" -H "Content-Type: application/json" "$@"
}

# A key of our own: if the answer gets lost, the same request can be repeated and is one message.
answer=$(call -H "Idempotency-Key: example-$$-$(date +%s)" "$url/v1/sms" \
    -d '{"from": "+15550001111", "to": "+15550002222", "message": "Hello from the shell"}')
id=$(printf '%s' "$answer" | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')
echo "$id"

for _ in 1 2 3 4 5 6 7 8 9 10; do
    status=$(call "$url/v1/messages/$id" | sed -n 's/.*"status": *"\([^"]*\)".*/\1/p')
    echo "$status"
    case $status in
        scheduled | queued | sending | sent) sleep 1 ;;
        *) exit 0 ;;
    esac
done
exit 1
