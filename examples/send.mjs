// Sends a message and waits for its end. Node.js 18 or newer, nothing else.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const url = "http://127.0.0.1:8080";
const notFinal = new Set(["scheduled", "queued", "sending", "sent"]);

async function call(method, path, body, key) {
  const headers = { Authorization: `Bearer ${process.env.TIDINGS_TOKEN}`, "Content-Type": "application/json" };
  if (key) headers["Idempotency-Key"] = key;
  return fetch(url + path, {
    method,
    headers,
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
}

// Sends once, however often it has to ask: the key makes all tries one request.
async function send(body, tries = 4) {
  const key = randomUUID();
  for (let attempt = 1; ; attempt += 1) {
    let answer;
    try {
      answer = await call("POST", "/v1/messages", body, key);
    } catch (error) {
      if (attempt === tries) throw error;
      await sleep(1000 * 2 ** attempt);
      continue;
    }
    if (answer.ok) return answer.json();
    const problem = await answer.json();
    if (![429, 503].includes(answer.status) || attempt === tries) {
      throw new Error(`${problem.code}: ${problem.detail} ${problem.cure}`);
    }
    await sleep(1000 * Number(answer.headers.get("retry-after") ?? 1));
  }
}

let message = await send({
  from: "+15550001111",
  to: "+15550002222",
  message: "Your parcel is on its way.",
  purpose: "transactional",
  reference: "parcel-77",
});
console.log(message.id, message.status);

for (let asked = 0; notFinal.has(message.status) && asked < 150; asked += 1) {
  await sleep(200);
  message = await (await call("GET", `/v1/messages/${message.id}`)).json();
}
console.log(message.id, message.status);
process.exitCode = message.status === "delivered" ? 0 : 1;
