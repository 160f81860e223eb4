// A client with types that are made from /openapi.json: paths, parameters, bodies and answers are checked by the compiler.
// `scripts/client` makes the types (gatehouse.d.ts), compiles this file against them and runs it; docs/api-guide.md tells how to
// do that in a project of your own.

import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./gatehouse.js";

export type User = components["schemas"]["User"];
export type Problem = components["schemas"]["Problem"];
type Token = components["schemas"]["Token"];

/** What `otp_required` says beside what every problem says. */
type Challenge = Problem & { otp_token: string; otp_method: components["schemas"]["OtpMethod"] };

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
      if (error) throw new Error(`${error.code}: ${error.detail}`);
      // 201 with a token, or 202 where the address has to be proved first.
      return "access_token" in data;
    },
    /** Nothing, or the challenge of a second factor, to be answered at /api/auth/OTP. */
    async signIn(username: string, password: string): Promise<Challenge | undefined> {
      const { data, error } = await client.POST("/api/auth/login", { body: { username, password } });
      if (data) token = data;
      else if (error.code === "otp_required") return error as Challenge;
      else throw new Error(`${error.code}: ${error.detail}`);
      return undefined;
    },
  };
}

/** Whether the answer is for the user's own eyes: others see less. */
function isWhole(person: User | components["schemas"]["PublicUser"]): person is User {
  return "email" in person;
}

/** Sign up, sign in, change the profile, send a picture. */
export async function journey(baseUrl: string, username: string, password: string): Promise<User> {
  const api = gatehouse(baseUrl);
  await api.signUp(username, password);
  if (await api.signIn(username, password)) throw new Error("a new account has no second factor");

  const { data: me, error, response } = await api.GET("/api/user/me");
  if (error) throw new Error(error.detail);
  const changed = await api.PATCH("/api/user/{user}", {
    params: { path: { user: me.uuid } },
    headers: { "If-Match": response.headers.get("ETag") ?? "*" },
    body: { description: "Likes harbours." },
  });
  if (changed.error) throw new Error(changed.error.detail);

  const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
  const picture = new Blob([Uint8Array.from(atob(pixel), (char) => char.charCodeAt(0))], { type: "image/png" });
  const sent = await api.PUT("/api/user/{user}/image", {
    params: { path: { user: me.uuid } },
    // The document calls the bytes a string of format `binary`; the browser sends a form.
    body: { file: "" },
    bodySerializer: () => {
      const form = new FormData();
      form.append("file", picture, "me.png");
      return form;
    },
  });
  if (sent.error) throw new Error(sent.error.detail);

  const { data: seen } = await api.GET("/api/user/{user}", { params: { path: { user: `@${username}` } } });
  if (!seen || !isWhole(seen)) throw new Error("one's own profile is shown whole");
  return seen;
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
  const { data } = await api.GET("/api/user/me");
  // @ts-expect-error no such field
  return data?.password_hash;
}
