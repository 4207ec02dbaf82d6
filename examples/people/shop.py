"""A shop sends offers to those who agreed, and to nobody else; a customer leaves in his own words, and comes back.

    python3 examples/people/shop.py | tidings simulate smsc --listen 127.0.0.1:2775

The server has a connection to that carrier in the test environment, `brand = "Corner Shop"` in [replies], and

    [consent]
    required = ["marketing"]

The customers have Swedish numbers, for which no quiet hours are built in, so that the story can be told at any hour.
"""

from datetime import datetime, timedelta, timezone

from tidings import call, check, done, ends, explained, heard, proof, reasons, tell, write

SHOP = "+15550001111"
CUSTOMER, STRANGER, FORMER, ORAL = "+46701740605", "+46701740606", "+46701740607", "+46701740608"
WORDING = "I agree to offers from Corner Shop by text and recorded calls. This is not a condition of purchase."
OFFER = {"from": SHOP, "text": "Corner Shop: 20 percent off today. Reply STOP to end.", "purpose": "marketing"}


def agree(who, act="written", **more):
    done("POST", "/v1/consents", {
        "to": who, "act": act, "channels": ["text", "recorded_voice"], "method": "form", "wording": WORDING,
        "place": "https://shop.example/join", "seller": "Corner Shop", "programme": "Weekly offers",
        "ip": "192.0.2.7", **more,
    })


tell("One customer ticked the box, one never did, one did two years ago for a year, one only said yes on the phone.")
agree(CUSTOMER)
long_ago = datetime.now(timezone.utc) - timedelta(days=730)
agree(FORMER, given_at=long_ago.isoformat(timespec="seconds"),
      expires_at=(long_ago + timedelta(days=365)).isoformat(timespec="seconds"))
agree(ORAL, act="express", method="spoken")
status, refused = call("POST", "/v1/consents", {"to": STRANGER, "act": "written", "method": "form"})
missing = {error["field"] for error in refused["errors"]}
check((status, missing) == (422, {"wording", "place", "seller"}), f"a tick without words proves nothing: {refused}")

tell("The offer goes to all four, and reaches the one.")
batch = done("POST", "/v1/messages/batch", {"messages": [{**OFFER, "to": to} for to in (CUSTOMER, STRANGER, FORMER, ORAL)]})
results = batch["results"]
codes = [result.get("code") or (result.get("error") or {}).get("code") for result in results]
check(codes == [None, "NO_CONSENT", "NO_CONSENT", "NO_CONSENT"], f"three are refused: {results}")
ends(results[0]["id"], "delivered")
for who, why in [(STRANGER, "never_given"), (FORMER, "expired"), (ORAL, "not_written")]:
    check(reasons(SHOP, who, "marketing") == [("NO_CONSENT", why)], f"{who}: {why}")
sentence = explained(ORAL, "marketing")
check(sentence is None or "written" in sentence, sentence)

tell("The next offer is scheduled; the customer leaves before, in words of his own.")
tomorrow = (datetime.now(timezone.utc) + timedelta(days=1)).isoformat(timespec="seconds")
scheduled = done("POST", "/v1/messages", {**OFFER, "to": CUSTOMER, "send_at": tomorrow})
write(CUSTOMER, SHOP, "please stop texting me")
heard("contact.opted_out", 1)
check(ends(scheduled["id"], "rejected")["error"]["code"] == "OPTED_OUT", "what was scheduled is ended")
status, refused = call("POST", "/v1/messages", {**OFFER, "to": CUSTOMER})
check((status, refused["code"]) == (422, "OPTED_OUT"), f"nothing is sent to him: {refused}")
found = reasons(SHOP, CUSTOMER, "marketing", "recorded_voice")
check(("NO_CONSENT", "revoked") in found, f"nor is he called: {found}")

tell("He comes back for texts.")
write(CUSTOMER, SHOP, "START")
heard("contact.opted_in", 1)
ends(done("POST", "/v1/messages", {**OFFER, "to": CUSTOMER})["id"], "delivered")
found = reasons(SHOP, CUSTOMER, "marketing", "recorded_voice")
check(found == [("NO_CONSENT", "revoked")], f"a recorded call needs a new tick: {found}")
agree(CUSTOMER)
check(reasons(SHOP, CUSTOMER, "marketing", "recorded_voice") == [], "which he gives")

tell("The proof shows it all.")
shown = proof(CUSTOMER)
check(set(shown["states"].values()) == {"granted"}, shown["standing"])
check(len(shown["consents"]) == 4 and all(entry["wording_sha256"] for entry in shown["consents"]), "both ticks, twice")
[out] = shown["suppressions"]
check(out["reason"] == "opted_out" and out["lifted_at"], f"he left, and came back: {out}")
tell("Done.")
