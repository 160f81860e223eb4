// Talks to the API as the person who is signed in, and says in their language what went wrong.

/** The words that the server put on the page for scripts. */
export const words = JSON.parse(document.getElementById("words")?.textContent || "{}");

/** A sentence of the page's words, its `{places}` filled in. */
export function t(key, values = {}) {
  const sentence = words[key] ?? key;
  return sentence.replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}

/** A sentence of the API in the reader's language, where somebody has put it into that one. */
export function said(sentence) {
  const numbers = sentence.match(/\d+/g) ?? [];
  const known = words[sentence] ?? words[sentence.replace(/\d+/g, "#")];
  return known ? known.replace(/#/g, () => numbers.shift() ?? "#") : sentence;
}

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

/** Where the operations are, such as `/api`. */
export const prefix = meta("api");

/** What an answer that is not a success becomes. */
export class Problem extends Error {
  constructor(status, body) {
    super(words[`problem.${body.code}`] ?? said(body.detail ?? t("problem.unknown")));
    this.status = status;
    this.code = body.code ?? "";
    this.body = body;
    /** `{field, message}` for each field that is wrong. */
    this.fields = (body.errors ?? []).map(({ field, message }) => ({ field, message: said(message) }));
  }
}

async function send(method, path, { json, form, headers = {} } = {}) {
  const sent = { method, credentials: "same-origin", headers: { Accept: "application/json", ...headers } };
  if (method !== "GET") {
    sent.headers["X-CSRF-Token"] = meta("csrf-token");
  }
  if (json !== undefined) {
    sent.headers["Content-Type"] = "application/json";
    sent.body = JSON.stringify(json);
  } else if (form) {
    sent.body = form; // the browser writes the boundary of multipart bodies
  }
  try {
    return await fetch(path.startsWith("//") ? path.slice(1) : prefix + path, sent);
  } catch {
    throw new Problem(0, { code: "offline", detail: t("problem.offline") });
  }
}

/** The answer itself, for files. */
export async function answer(method, path, options) {
  let response = await send(method, path, options);
  if (!response.ok) {
    const problem = new Problem(response.status, await response.json().catch(() => ({})));
    if (problem.code !== "reauthentication_required") {
      throw problem;
    }
    const { proveWhoYouAre } = await import("./prove.js");
    if (!(await proveWhoYouAre())) {
      throw problem;
    }
    response = await send(method, path, options);
    if (!response.ok) {
      throw new Problem(response.status, await response.json().catch(() => ({})));
    }
  }
  return response;
}

/** What the API answers: an object, a text, or null. Throws a `Problem`; asks who one is where that must be proved. */
export async function api(method, path, options) {
  const response = await answer(method, path, options);
  if (response.status === 204) {
    return null;
  }
  const text = await response.text();
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  return isJson && text ? JSON.parse(text) : text;
}

/** A number of seconds since the epoch as the reader writes it. */
export function when(seconds) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  return format.format(new Date(seconds * 1000));
}
