"""Sends a message and waits for its end. Standard library only."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

URL = "http://127.0.0.1:8080"
TOKEN = os.environ["TIDINGS_TOKEN"]
NOT_FINAL = {"scheduled", "queued", "sending", "sent"}


def call(method, path, body=None, key=None):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def send(body, tries=4):
    """Sends once, however often it has to ask: the key makes all tries one request."""
    key = str(uuid.uuid4())
    for attempt in range(tries):
        try:
            return call("POST", "/v1/messages", body, key)
        except urllib.error.HTTPError as error:
            problem = json.load(error)
            if error.code not in (429, 503) or attempt == tries - 1:
                raise SystemExit(f"{problem['code']}: {problem['detail']}\n{problem['cure']}")
            time.sleep(int(error.headers.get("Retry-After", "1")))
        except (urllib.error.URLError, TimeoutError):
            if attempt == tries - 1:
                raise
            time.sleep(2**attempt)


message = send({
    "from": "+15550001111",
    "to": "+15550002222",
    "message": "Your appointment is at 10:30.",
    "purpose": "transactional",
    "reference": "appointment-2210",
})
print(message["id"], message["status"])

deadline = time.monotonic() + 30
while message["status"] in NOT_FINAL and time.monotonic() < deadline:
    time.sleep(0.2)
    message = call("GET", "/v1/messages/" + message["id"])
print(message["id"], message["status"])
sys.exit(0 if message["status"] == "delivered" else 1)
