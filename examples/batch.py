"""Sends many messages in one call, and shows what became of each item. Standard library only."""

import json
import os
import urllib.request

URL = "http://127.0.0.1:8080"

messages = [
    {"from": "+15550001111", "to": to, "message": f"Hello {name}, the doors open at 8.", "reference": name}
    for name, to in [("Ada", "+15550002222"), ("Grace", "+15550003333"), ("Nobody", "12")]
]
request = urllib.request.Request(
    URL + "/v1/messages/batch",
    json.dumps({"messages": messages}).encode(),
    {"Authorization": "Bearer " + os.environ["TIDINGS_TOKEN"], "Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=30) as answer:
    batch = json.load(answer)

print(batch["batch_id"], "accepted", batch["accepted"], "refused", batch["refused"])
for message, result in zip(messages, batch["results"]):
    if result.get("id"):
        print(message["reference"], result["id"])
    else:
        print(message["reference"], result["error"]["code"], result["error"]["detail"])
