"""What the two stories beside this file share: calls to the API, and a person who writes texts.

The address and the token come from TIDINGS_URL and TIDINGS_TOKEN. A text of a person is a line FROM TO TEXT on standard
output, which `tidings simulate smsc` reads on its standard input and sends as a carrier would. What the story tells goes to
standard error.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

BASE = os.environ.get("TIDINGS_URL", "http://127.0.0.1:8080")
TOKEN = os.environ["TIDINGS_TOKEN"]
# The command line, for `explain`; with its arguments that say where the data is.
COMMAND = os.environ.get("TIDINGS_COMMAND", "").split()


def call(method, path, body=None):
    """Gives the status and the body of an answer, whatever it is."""
    request = urllib.request.Request(
        BASE + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def done(method, path, body=None):
    """The body of an answer that must be a good one."""
    status, answer = call(method, path, body)
    check(status < 300, f"{method} {path} was refused: {answer}")
    return answer


def check(holds, what):
    if not holds:
        sys.exit(f"this does not hold: {what}")


def tell(sentence):
    print(sentence, file=sys.stderr, flush=True)


def wait(what, look):
    """Looks again and again, for two minutes, until there is something."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    sys.exit(f"it did not come: {what}")


def write(person, to, text):
    """The person writes a text."""
    print(person, to, text, flush=True)


def message(id):
    return done("GET", f"/v1/messages/{id}")


def ends(id, status):
    """Waits until a message ends in this way."""
    def look():
        shown = message(id)
        return shown if shown["status"] == status else None

    return wait(f"{id} is {status}", look)


def events(kind):
    """The events of a kind so far."""
    found, after = [], None
    while True:
        query = "?limit=100" + (f"&after={after}" if after else "")
        page = done("GET", "/v1/events" + query)["data"]
        if not page:
            return [event for event in found if event["type"] == kind]
        found.extend(page)
        after = page[-1]["id"]


def heard(kind, count):
    """Waits until there were so many events of a kind; gives the last."""
    def look():
        found = events(kind)
        return found[-1] if len(found) >= count else None

    return wait(f"{count} × {kind}", look)


def reasons(sender, person, purpose, channel="text"):
    """Why a message would not go, by the preview: pairs of code and finer reason."""
    preview = {"from": sender, "to": person, "text": "…", "purpose": purpose, "channel": channel}
    gate = done("POST", "/v1/messages/preview", preview)["gate"]
    return [(reason["code"], reason["reason"]) for reason in gate]


def explained(person, purpose, channel="text"):
    """What `tidings explain` says; None if there is no command line here."""
    if not COMMAND:
        return None
    arguments = ["explain", "--to", person, "--purpose", purpose, "--channel", channel, "--environment", "test"]
    return subprocess.run(COMMAND + arguments, capture_output=True, text=True, check=True).stdout.strip()


def proof(person):
    """All that is kept of what a person said, with how it stands by purpose and channel."""
    shown = done("GET", "/v1/consents/proof?to=" + urllib.parse.quote(person))
    shown["states"] = {(one["purpose"], one["channel"]): one["state"] for one in shown["standing"]}
    return shown
