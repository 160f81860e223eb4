// A client with types that are made from /openapi.json: paths, parameters, bodies and answers are checked by the compiler.
// `scripts/client` makes the types (gatehouse.d.ts), compiles this file against them and runs it; docs/api-guide.md tells how to
// do that in a project of your own.

import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./gatehouse.js";

export type User = components["schemas"]["User"];
export type Problem = components["schemas"]["Problem"];
/** What asks for the second factor, to be answered at /api/auth/OTP. */
export type Challenge = components["schemas"]["OtpRequired"];
type Token = components["schemas"]["Token"];
type Role = components["schemas"]["RoleName"];

/** A client for the server at this address; `signIn` gives it a token for what comes after. */
export function gatehouse(baseUrl: string) {
  const client = createClient<paths>({ baseUrl });
  let token: Token | undefined;
  const authorize: Middleware = {
    onRequest({ request }) {
      if (token) request.headers.set("Authorization", `Bearer ${token.access_token}`);
      return request;
    },
  };
  client.use(authorize);
  return {
    ...client,
    async signUp(username: string, password: string) {
      const { data, error } = await client.POST("/api/auth/register", {
        body: { username, email: `${username}@example.com`, password, confirm_password: password },
      });
      if (error) throw refusal(error);
      // 201 with a token, or 202 where the address has to be proved first.
      return "access_token" in data;
    },
    /** Nothing, or the challenge of a second factor. */
    async signIn(username: string, password: string): Promise<Challenge | undefined> {
      const { data, error } = await client.POST("/api/auth/login", { body: { username, password } });
      if (data) token = data;
      else if ("otp_token" in error) return error;
      else throw refusal(error);
      return undefined;
    },
    /** The answer to a challenge: a code of the authenticator or of the mail, or a recovery code. */
    async showSecondFactor(challenge: Challenge, code: string) {
      const answer = { otp_token: challenge.otp_token, otp_code: code };
      const { data, error } = await client.POST("/api/auth/OTP", { body: answer });
      if (error) throw refusal(error);
      token = data;
    },
    async signOut() {
      const { error } = await client.POST("/api/auth/logout", { parseAs: "text" });
      if (error) throw refusal(error);
      token = undefined;
    },
  };
}

/** What a program is told goes by the code; what a person is told, by the words. */
function refusal(problem: Problem): Error {
  return new Error(`${problem.code}: ${problem.detail}`);
}

/** Whether the answer is for the user's own eyes: others see less. */
function isWhole(person: User | components["schemas"]["PublicUser"]): person is User {
  return "email" in person;
}

/** Every role has words; a role that a later server knows gets its name. */
export function inWords(role: Role): string {
  switch (role) {
    case "admin":
      return "may do everything";
    case "moderator":
      return "looks after ordinary accounts";
    case "tester":
    case "user":
      return "an ordinary account";
    default:
      return role satisfies never;
  }
}

/** Sign up, sign in, change the profile, send a picture, set up a second factor and sign in with it, sign out. */
export async function journey(baseUrl: string, username: string, password: string): Promise<User> {
  const api = gatehouse(baseUrl);
  await api.signUp(username, password);
  if (await api.signIn(username, password)) throw new Error("a new account has no second factor");

  const { data: me, error, response } = await api.GET("/api/user/me");
  if (error) throw refusal(error);
  const path = { user: me.uuid };
  const version = response.headers.get("ETag") ?? "*";
  const body = { description: "Likes harbours." };
  const changed = await api.PATCH("/api/user/{user}", { params: { path }, headers: { "If-Match": version }, body });
  if (changed.error) throw refusal(changed.error);
  // Whoever has an older version must look again before they change anything.
  const late = await api.PATCH("/api/user/{user}", { params: { path }, headers: { "If-Match": version }, body });
  if (late.response.status !== 412) throw new Error("an older version was changed");

  await sendPicture(api, me.uuid);
  const [spare] = await protect(api);
  await api.signOut();

  const challenge = await api.signIn(username, password);
  if (challenge?.otp_method !== "authenticator" || !spare) throw new Error("no second factor was asked for");
  await api.showSecondFactor(challenge, spare);
  const { data: seen } = await api.GET("/api/user/{user}", { params: { path: { user: `@${username}` } } });
  if (!seen || !isWhole(seen)) throw new Error("one's own profile is shown whole");
  await api.signOut();
  const out = await api.GET("/api/user/me");
  if (out.error?.code !== "token_invalid") throw new Error("still signed in");
  return seen;
}

async function sendPicture(api: ReturnType<typeof gatehouse>, user: string) {
  const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
  const picture = new Blob([bytesOf(atob(pixel))], { type: "image/png" });
  const sent = await api.PUT("/api/user/{user}/image", {
    params: { path: { user } },
    // The document calls the bytes a string of format `binary`; the browser sends a form.
    body: { file: "" },
    bodySerializer: () => {
      const form = new FormData();
      form.append("file", picture, "me.png");
      return form;
    },
  });
  if (sent.error) throw refusal(sent.error);
}

/** Sets up an authenticator; the recovery codes, each of which replaces it once. */
async function protect(api: ReturnType<typeof gatehouse>): Promise<string[]> {
  const seed = await api.GET("/api/auth/QR", { headers: { Accept: "application/json" } });
  if (seed.error) throw refusal(seed.error);
  if (typeof seed.data === "string") throw new Error("a picture, though JSON was asked for");
  const set = await api.PATCH("/api/auth/OTP/{method}", {
    params: { path: { method: "authenticator" } },
    body: { otp_code: await code(seed.data.uri) },
  });
  if (set.error) throw refusal(set.error);
  return set.data.recovery_codes ?? [];
}

/** What an authenticator shows now for this `otpauth://` address (RFC 6238). */
async function code(uri: string): Promise<string> {
  const { searchParams } = new URL(uri);
  const told = (name: string, usual: string) => searchParams.get(name) ?? usual;
  const hash = told("algorithm", "SHA1").replace("SHA", "SHA-");
  const secret = fromBase32(told("secret", ""));
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash }, false, ["sign"]);
  const step = new DataView(new ArrayBuffer(8));
  step.setBigUint64(0, BigInt(Math.floor(Date.now() / 1000 / Number(told("period", "30")))));
  const mac = new DataView(await crypto.subtle.sign("HMAC", key, step));
  const number = mac.getUint32(mac.getUint8(mac.byteLength - 1) & 15) & 0x7fffffff;
  const digits = Number(told("digits", "6"));
  return String(number % 10 ** digits).padStart(digits, "0");
}

function fromBase32(text: string): Uint8Array<ArrayBuffer> {
  const fives = [...text].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"));
  const bytes = fives.join("").match(/.{8}/g) ?? [];
  return Uint8Array.from(bytes, (bits) => Number.parseInt(bits, 2));
}

function bytesOf(binary: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}

/** What the compiler must refuse: each of these lines would be an error without the comment above it. */
export async function refusedByTheCompiler(baseUrl: string) {
  const api = gatehouse(baseUrl);
  // @ts-expect-error no such path
  await api.GET("/api/user/nobody/at/all");
  // @ts-expect-error the password is missing
  await api.POST("/api/auth/login", { body: { username: "ann_lee" } });
  // @ts-expect-error a number is no name
  await api.PATCH("/api/user/{user}", { params: { path: { user: "@ann_lee" } }, body: { username: 7 } });
  // @ts-expect-error no such role
  await api.PATCH("/api/user/{user}", { params: { path: { user: "@ann_lee" } }, body: { roles: ["king"] } });
  // @ts-expect-error files have numbers
  await api.GET("/api/file/{file}", { params: { path: { file: "me.png" } } });
  const { data } = await api.GET("/api/user/me");
  // @ts-expect-error no such field
  return data?.password_hash;
}
