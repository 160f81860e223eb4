// The main ways through the interface of Gatehouse, with nothing but Node (18 or newer). Everything but the receiver of webhooks
// and `totp` works in a browser, too, from an origin in CORS_ORIGINS.
//
//   node journey.mjs [ADDRESS]        default: http://localhost:8000
//
// Makes an account with a random name. With ADMIN_USERNAME and ADMIN_PASSWORD in the environment, what admins do comes too; its
// webhook leads to this machine, which Gatehouse allows with WEBHOOK_ALLOW_PRIVATE=True only.

import assert from "node:assert/strict";
import { createHmac, createPublicKey, randomBytes, timingSafeEqual, verify } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

const BASE = (process.argv[2] ?? "http://localhost:8000").replace(/\/$/, "");
const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

// --- asking

/** An answer that is no success: RFC 9457, always of the same shape. `code` is what programs look at. */
class Problem extends Error {
  constructor(status, body) {
    super(`${status} ${body.code}: ${body.detail}`);
    Object.assign(this, { status, code: body.code, body });
  }
}

/** The answer. Waits once where it is told to. */
async function ask(method, path, { json, form, token, headers = {} } = {}) {
  const init = { method, headers: { ...headers }, body: form };
  if (json !== undefined) {
    init.body = JSON.stringify(json);
    init.headers["Content-Type"] = "application/json";
  }
  if (token) init.headers.Authorization = `Bearer ${token}`;
  for (let attempt = 0; ; attempt += 1) {
    const answer = await fetch(new URL(path, BASE), init);
    if (answer.ok) return answer;
    if (attempt === 0 && (answer.status === 429 || answer.status === 503)) {
      await seconds(Math.min(Number(answer.headers.get("Retry-After") ?? 1), 10));
      continue;
    }
    throw new Problem(answer.status, await answer.json());
  }
}

const json = async (...request) => (await ask(...request)).json();
const seconds = (number) => new Promise((resolve) => setTimeout(resolve, number * 1000));

/** The problem that the request must meet. */
async function refusal(request) {
  try {
    await request;
  } catch (problem) {
    if (problem instanceof Problem) return problem;
    throw problem;
  }
  throw new Error("this should have been refused");
}

function fileForm(name, content, type) {
  const form = new FormData();
  form.append("file", new Blob([content], { type }), name);
  return form;
}

// --- tokens, for services: no question to Gatehouse, but it does not notice a sign-out before the token expires

async function claimsOf(token) {
  const { keys } = await json("GET", "/.well-known/jwks.json"); // keep them; ask again when a `kid` is new
  const [head, body, signature] = token.split(".");
  const { alg, kid, typ } = JSON.parse(Buffer.from(head, "base64url"));
  const key = keys.find((each) => each.kid === kid && each.alg === "EdDSA");
  assert(key && alg === "EdDSA" && typ === "at+jwt", "not a token of ours");
  const signed = verify(null, `${head}.${body}`, createPublicKey({ key, format: "jwk" }), Buffer.from(signature, "base64url"));
  assert(signed, "not signed by us");
  const claims = JSON.parse(Buffer.from(body, "base64url"));
  const now = Date.now() / 1000;
  assert(claims.iss === BASE && claims.aud === BASE, "for another server: ADDRESS must be the server's BASE_URL");
  assert(claims.nbf <= now + 60 && now < claims.exp, "out of time");
  return claims;
}

// --- second factor

/** The code of a step of 30 seconds (RFC 6238). */
function totp(secret, step) {
  const bits = [...secret].map((char) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(char).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = createHmac("sha1", key).update(counter).digest();
  const number = digest.readUInt32BE(digest[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

const stepNow = () => Math.floor(Date.now() / 30_000);

// --- webhooks

/** Whether a webhook was sent by who knows the secret, and not long ago (Standard Webhooks). */
function isGenuine(secret, headers, body, now = Date.now() / 1000) {
  const sent = headers["webhook-timestamp"];
  if (!(Math.abs(now - Number(sent)) <= 300)) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = createHmac("sha256", key).update(`${headers["webhook-id"]}.${sent}.`).update(body).digest();
  // While a secret is rotated, there are two signatures.
  return headers["webhook-signature"].split(" ").some((given) => {
    const [version, signature] = given.split(",");
    const bytes = Buffer.from(signature ?? "", "base64");
    return version === "v1" && bytes.length === expected.length && timingSafeEqual(bytes, expected);
  });
}

/** A receiver for one webhook: its address, and the request once it came. */
async function receiver() {
  let arrived;
  const request = new Promise((resolve) => { arrived = resolve; });
  const server = createServer(async (message, answer) => {
    const body = Buffer.concat(await message.toArray());
    answer.writeHead(204).end();
    server.close();
    arrived({ headers: message.headers, body });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { address: `http://127.0.0.1:${server.address().port}/hooks`, request };
}

// --- what users do

async function person() {
  const username = `js_${randomBytes(5).toString("hex")}`;
  const password = randomBytes(15).toString("base64url");
  const account = { username, email: `${username}@example.com`, password, confirm_password: password };
  let token = await json("POST", "/api/auth/register", { json: account });
  if (!token.access_token) throw new Error("this server has addresses proved first: the rest begins behind the mailed link");
  console.log("signed up", username);

  const refused = await refusal(ask("POST", "/api/auth/login", { json: { username, password: "not this one" } }));
  assert.equal(refused.code, "invalid_credentials");
  await seconds(1.1); // a wrong password makes the next try wait a second
  token = await json("POST", "/api/auth/login", { json: { username, password } });

  const answer = await ask("GET", "/api/user/me", { token: token.access_token });
  let me = await answer.json();
  console.log("signed in as", me.username, me.roles);
  const claims = await claimsOf(token.access_token);
  assert.equal(claims.sub, me.uuid);
  console.log("the token says so too, by its signature alone");

  // Only if nobody else has changed it since it was read.
  me = await json("PATCH", `/api/user/${me.uuid}`, {
    json: { description: "Likes harbours." }, token: token.access_token, headers: { "If-Match": answer.headers.get("ETag") },
  });
  assert.equal(me.description, "Likes harbours.");

  // Each refresh token works once; keep the new one.
  token = await json("POST", "/api/auth/token/refresh", { json: { refresh_token: token.refresh_token } });
  const access = token.access_token;
  console.log("refreshed for", token.expires_in, "seconds");

  const picture = await json("PUT", `/api/user/${me.uuid}/image`, { form: fileForm("me.png", PIXEL, "image/png"), token: access });
  const face = await (await ask("GET", `/api/user/${me.uuid}/image?size=64`)).blob();
  console.log("picture", picture.id, face.type, face.size, "bytes");

  const file = await json("POST", "/api/file", { form: fileForm("notes.txt", "four quiet harbours", "text/plain"), token: access });
  const content = await (await ask("GET", `/api/file/${file.id}/file`, { token: access })).text();
  assert.equal(content, "four quiet harbours");
  await ask("DELETE", `/api/file/${file.id}`, { token: access });
  console.log("file", file.id, file.sha256.slice(0, 12));

  const flags = await json("GET", "/api/flags", { token: access });
  console.log(Object.keys(flags).length, "flags; new-checkout is", await isOn("new-checkout", me.uuid, access, false));
  assert(await isOn("READ_USERS_ME", me.uuid, access, false));

  await secondFactor(username, password, access);
}

/** A feature flag for a user (OFREP): what it is, or the default where the server does not know it. */
async function isOn(flag, user, token, otherwise) {
  try {
    const answer = await json("POST", `/ofrep/v1/evaluate/flags/${flag}`, { json: { context: { targetingKey: user } }, token });
    return answer.value;
  } catch (problem) {
    if (problem.status === 404) return otherwise;
    throw problem;
  }
}

async function secondFactor(username, password, token) {
  // Within ten minutes of a sign-in; later, POST /api/auth/reauthenticate comes first.
  const seed = await json("GET", "/api/auth/QR", { token, headers: { Accept: "application/json" } });
  const step = stepNow();
  const me = await json("PATCH", "/api/auth/OTP/authenticator", { json: { otp_code: totp(seed.secret, step) }, token });
  console.log("second factor on;", me.recovery_codes.length, "recovery codes");

  const challenge = await refusal(ask("POST", "/api/auth/login", { json: { username, password } }));
  assert.equal(challenge.code, "otp_required");
  // Each code works once, so it is the next one; a person waits for it, and one step ahead is taken.
  const code = totp(seed.secret, Math.max(step + 1, stepNow()));
  const { access_token } = await json("POST", "/api/auth/OTP", { json: { otp_token: challenge.body.otp_token, otp_code: code } });
  console.log("signed in with a second factor");
  await ask("POST", "/api/auth/logout", { token: access_token });
  assert.equal((await refusal(ask("GET", "/api/user/me", { token: access_token }))).status, 401);
  console.log("signed out");
}

// --- what admins do

async function admin(username, password) {
  const { access_token: token } = await json("POST", "/api/auth/login", { json: { username, password } });

  let [seen, total, path] = [0, 0, "/api/user?limit=2&order=desc"];
  while (path && seen < 6) {
    const answer = await ask("GET", path, { token });
    seen += (await answer.json()).length;
    total = answer.headers.get("X-Total-Count");
    path = /<([^>]*)>; rel="next"/.exec(answer.headers.get("Link") ?? "")?.[1];
  }
  console.log("read", seen, "of", total, "users, page by page");

  const { address, request } = await receiver();
  const { webhook, secret } = await json("POST", "/api/admin/webhooks", {
    json: { url: address, event_types: ["user.created"] }, token,
  });
  await ask("POST", `/api/admin/webhooks/${webhook.id}/test`, { token });
  const { headers, body } = await request;
  assert(isGenuine(secret, headers, body));
  assert(!isGenuine(secret, headers, Buffer.concat([body, Buffer.from(" ")])));
  assert(!isGenuine(secret, headers, body, Date.now() / 1000 + 600));
  await ask("DELETE", `/api/admin/webhooks/${webhook.id}`, { token });
  console.log("webhook", JSON.parse(body).event_type, "is genuine");

  let after = "";
  for (;;) {
    const events = await json("GET", `/api/admin/events?limit=100${after && `&after=${after}`}`, { token });
    if (!events.length) break;
    after = events.at(-1).event_id; // keep it with what you did: the next time begins behind it
  }
  console.log("read the feed of events up to", after);
}

await person();
if (process.env.ADMIN_USERNAME) await admin(process.env.ADMIN_USERNAME, process.env.ADMIN_PASSWORD);
else console.log("no ADMIN_USERNAME: what admins do is left out");
