"""A clinic reminds a patient, who answers, says stop, starts again and asks for help; the proof shows it all.

    python3 examples/people/clinic.py | tidings simulate smsc --listen 127.0.0.1:2775

The server has a connection to that carrier in the test environment, `brand = "Hill Clinic"` in [replies], and

    [consent]
    required = ["transactional"]
"""

from datetime import datetime, timedelta, timezone

from tidings import call, check, done, ends, explained, heard, proof, reasons, tell, wait, write

CLINIC, PATIENT = "+15550001111", "+15550002222"
WORDING = "I agree to reminders of my appointments from Hill Clinic by text and recorded calls. Reply STOP to end."

tell("The patient is new: nobody may write to her yet.")
reminder = {"from": CLINIC, "to": PATIENT, "text": "Hill Clinic: you are expected tomorrow at 9:00. Reply C to confirm."}
status, refused = call("POST", "/v1/messages", reminder)
check((status, refused["code"]) == (422, "NO_CONSENT"), f"without consent nothing is sent: {refused}")
check(reasons(CLINIC, PATIENT, "transactional") == [("NO_CONSENT", "never_given")], "the preview says so before")

tell("At the desk she agrees to reminders by text and by recorded calls.")
done("POST", "/v1/consents", {
    "to": PATIENT, "act": "express", "purposes": ["transactional"], "channels": ["text", "recorded_voice"],
    "method": "paper", "wording": WORDING, "place": "front desk", "seller": "Hill Clinic",
})
for channel in ["text", "recorded_voice"]:
    check(reasons(CLINIC, PATIENT, "transactional", channel) == [], f"{channel} is open")

tell("She is reminded, and the reminder for the visit after that is scheduled.")
sent = done("POST", "/v1/messages", reminder)
ends(sent["id"], "delivered")
next_visit = (datetime.now(timezone.utc) + timedelta(days=20)).isoformat(timespec="seconds")
scheduled = done("POST", "/v1/messages", {**reminder, "send_at": next_visit})
check(scheduled["status"] == "scheduled", scheduled)

tell("She confirms.")
write(PATIENT, CLINIC, "C")
reply = heard("message.received", 1)
check(reply["data"]["text"] == "C" and reply["data"]["from"] == PATIENT, f"her answer is told: {reply}")

tell("She has had enough.")
write(PATIENT, CLINIC, "Stop")
heard("contact.opted_out", 1)
ended = ends(scheduled["id"], "rejected")
check(ended["error"]["code"] == "OPTED_OUT", f"what was scheduled is ended: {ended}")
for channel in ["text", "recorded_voice"]:
    found = reasons(CLINIC, PATIENT, "transactional", channel)
    check(found == [("OPTED_OUT", "opted_out"), ("NO_CONSENT", "revoked")], f"{channel} is closed too: {found}")
    sentence = explained(PATIENT, "transactional", channel)
    check(sentence is None or ("would not go" in sentence and "revoked" in sentence), sentence)
status, refused = call("POST", "/v1/messages", reminder)
check((status, refused["code"]) == (422, "OPTED_OUT"), f"nothing is sent to her: {refused}")
closed = proof(PATIENT)["states"]
check(set(closed.values()) == {"revoked"}, f"no channel is open: {closed}")

tell("Before her next visit she wants texts again.")
write(PATIENT, CLINIC, "START")
heard("contact.opted_in", 1)
check(reasons(CLINIC, PATIENT, "transactional") == [], "texts are open again")
found = reasons(CLINIC, PATIENT, "transactional", "recorded_voice")
check(found == [("NO_CONSENT", "revoked")], f"recorded calls need a new consent: {found}")
ends(done("POST", "/v1/messages", reminder)["id"], "delivered")

tell("She asks who we are.")
write(PATIENT, CLINIC, "HELP")


def replies():
    answers = [message for message in done("GET", "/v1/messages?limit=100")["data"] if message["reply"]]
    kinds = {message["reply"]["kind"] for message in answers if message["status"] == "delivered"}
    return kinds >= {"opt_out_confirmation", "opt_in_confirmation", "help"}


wait("each of her words is answered", replies)

tell("The proof shows it all.")
shown = proof(PATIENT)
check(shown["states"] == {("transactional", "text"): "granted", ("transactional", "recorded_voice"): "revoked"}, shown)
check([entry["wording"] for entry in shown["consents"]] == [WORDING] * 2, "the words that she was shown")
[out] = shown["suppressions"]
check(out["reason"] == "opted_out" and out["source"].endswith(" stop"), f"her STOP: {out}")
check(out["lifted_reason"].endswith(" start") and not shown["suppressed"], f"her START: {out}")
tell("Done.")
