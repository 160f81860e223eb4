// What the pages of the console share: what one may do, lists with their states, addresses that say what is shown.

import { answer, api, t, when } from "./api.js";
import { element } from "./ui.js";

/** What the server says of this page: what the reader may do, and whom it is about. */
export const facts = JSON.parse(document.getElementById("console")?.textContent || "{}");

/** Whether the reader may do this. The API asks again. */
export const may = (action) => (facts.may ?? []).includes(action);

// --- the address says what is shown

/** What the address asks for. */
export const asked = () => new URLSearchParams(location.search);

/** Writes what is shown into the address: as a step that "back" returns from, or in place of the last one. */
export function remember(values, isStep) {
  const query = asked();
  for (const [name, value] of Object.entries(values)) {
    if (value === "" || value == null) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  const address = location.pathname + (text ? `?${text}` : "");
  if (address === location.pathname + location.search) return;
  if (isStep) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

/** Runs `act` after the last of many calls. */
export function later(act, wait = 180) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), wait);
  };
}

/** A form of filters that lives in the address: `show` is called whenever it says something else. */
export function filters(form, show) {
  const fields = () => [...form.elements].filter((field) => field.name);
  const read = () => {
    for (const field of fields()) field.value = asked().get(field.name) ?? "";
    for (const field of fields()) field.dispatchEvent(new Event("filled"));
  };
  const values = () => Object.fromEntries(fields().map((field) => [field.name, field.value.trim()]));
  const change = (isStep) => {
    remember({ ...values(), page: "" }, isStep);
    show();
  };
  const soon = later(() => change(false));
  form.addEventListener("submit", (event) => { event.preventDefault(); change(true); });
  form.addEventListener("input", (event) => { if (!event.target.matches("select")) soon(); });
  form.addEventListener("change", (event) => { if (event.target.matches("select")) change(true); });
  addEventListener("popstate", () => { read(); show(); });
  read();
}

// --- lists

/**
 * A list with its states. `load` gives `{rows, total, more}` (of `more`: what "more" needs to go on), `row` makes the
 * element of one. What was asked for later wins over what answers later.
 */
export function listing(root, { load, row, none = "console.nothing" }) {
  const body = root.querySelector("[data-rows]");
  const state = root.querySelector("[data-state]");
  const onward = root.querySelector("[data-more]");
  let latest = 0;
  let cursor = null;

  async function show(isMore = false) {
    const mine = ++latest;
    root.setAttribute("aria-busy", "true");
    const patience = setTimeout(() => say(t("console.loading")), 300);
    try {
      const found = await load(isMore ? cursor : null);
      if (mine !== latest) return;
      const rows = found.rows.map(row);
      if (isMore) body.append(...rows);
      else body.replaceChildren(...rows);
      cursor = found.more ?? null;
      const count = found.total ?? body.children.length;
      say(count === 0 ? t(none) : found.said ?? t(count === 1 ? "console.one" : "console.many", { count: count.toLocaleString(document.documentElement.lang) }));
      root.classList.toggle("none", body.children.length === 0);
      if (onward) onward.hidden = cursor === null;
      nameThem([...body.querySelectorAll("a[data-uuid]")]);
      pager(root.querySelector("[data-pager]"), found, () => show());
    } catch (problem) {
      if (mine === latest) fail(problem, isMore);
    } finally {
      clearTimeout(patience);
      if (mine === latest) root.removeAttribute("aria-busy");
    }
  }

  function say(...what) {
    state.classList.remove("problem");
    state.replaceChildren(...what);
  }

  function fail(problem, isMore) {
    if (problem.status === undefined) throw problem;
    const again = element("button", { type: "button", class: "quiet small" }, t("console.again"));
    again.addEventListener("click", () => show(isMore));
    state.classList.add("problem");
    state.replaceChildren(element("span", {}, problem.message), " ", again);
  }

  onward?.addEventListener("click", () => show(true));
  return { show: () => show(), body };
}

/** Links to the pages before and after; they change the address, not the page. */
function pager(place, { page, perPage, total }, show) {
  if (!place || page === undefined) return;
  const last = Math.max(1, Math.ceil(total / perPage));
  const link = (to, words) => {
    if (to < 1 || to > last) return element("span", { class: "soft", "aria-disabled": "true" }, t(words));
    const query = asked();
    if (to === 1) query.delete("page");
    else query.set("page", to);
    const made = element("a", { href: `?${query}` }, t(words));
    made.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      remember({ page: to === 1 ? "" : to }, true);
      show();
      scrollTo({ top: 0 });
    });
    return made;
  };
  place.hidden = last === 1;
  place.replaceChildren(
    link(page - 1, "console.before"),
    element("span", {}, t("console.page", { page, last })),
    link(page + 1, "console.after"),
  );
}

/** One page of a list that answers `X-Total-Count`. */
export async function pageOf(path, query, perPage = 50) {
  const page = Math.max(1, Number(asked().get("page")) || 1);
  const parameters = new URLSearchParams({ ...query, page, per_page: perPage });
  const response = await answer("GET", `${path}?${parameters}`);
  return { rows: await response.json(), total: Number(response.headers.get("X-Total-Count")), page, perPage };
}

// --- what rows are made of

/** A copy of a template of this page. Each `data-cell` is given its value: a text, an element or several; without one it goes. */
export function fill(id, values) {
  const copy = document.getElementById(id).content.firstElementChild.cloneNode(true);
  for (const cell of [copy, ...copy.querySelectorAll("[data-cell]")]) {
    if (!cell.dataset.cell) continue;
    const value = values[cell.dataset.cell];
    cell.replaceChildren(...[value].flat().filter((part) => part != null && part !== false).map((part) => (part instanceof Node ? part : String(part))));
  }
  return copy;
}

/** A small coloured word. */
export const badge = (words, kind = "") => element("span", { class: `badge ${kind}` }, words);

/** A moment. */
export function moment(seconds) {
  if (seconds == null) return element("span", { class: "soft" }, "–");
  return element("time", { datetime: new Date(seconds * 1000).toISOString() }, when(seconds));
}

/** A day, its time where it is pointed at. */
export function date(seconds) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium" });
  return element("time", { datetime: new Date(seconds * 1000).toISOString(), title: when(seconds) }, format.format(seconds * 1000));
}

/** How many bytes, as people say it. */
export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit += 1; }
  const style = { style: "unit", unit: units[unit], unitDisplay: unit ? "short" : "long", maximumFractionDigits: unit ? 1 : 0 };
  return new Intl.NumberFormat(document.documentElement.lang, style).format(count);
}

/** A name for a state, a role or the like, where the page has one. */
export function named(prefix, name) {
  const key = `${prefix}.${name}`;
  const words = t(key);
  return words === key ? name : words;
}

/** A path that is not below the prefix of the API. */
export const atRoot = (path) => `//${path.replace(/^\//, "")}`;

export const roleBadges = (roles) =>
  roles.map((role) => badge(named("console.role", role), role === "admin" ? "accent" : role === "moderator" ? "warn" : ""));

/** Whether an account can be used, as a badge. */
export function stateBadge(user) {
  if (user.deleted_at) return badge(t("console.state.deleted"), "bad");
  return user.is_active ? badge(t("console.state.active"), "good") : badge(t("console.state.banned"), "bad");
}

/** Somebody's picture; what it shows is beside it in words. */
export const face = (uuid, size) =>
  element("img", { class: "face", src: `${facts.api}/user/${uuid}/image?size=${size * 2}`, width: size, height: size, alt: "", loading: "lazy" });

/** A link to somebody's page. */
export const personLink = (uuid, words) => element("a", { href: `/console/users/${uuid}` }, words);

/** The names of accounts, asked for once each and all at a time. */
const names = new Map();
export async function nameThem(links) {
  const unknown = [...new Set(links.map((link) => link.dataset.uuid))].filter((uuid) => uuid && !names.has(uuid));
  for (let at = 0; at < unknown.length; at += 50) {
    const query = new URLSearchParams(unknown.slice(at, at + 50).map((uuid) => ["users_ids", uuid]));
    const users = await api("GET", `/user/users?${query}`).catch(() => []);
    for (const user of users) names.set(user.uuid, user.username);
  }
  for (const link of links) {
    const name = names.get(link.dataset.uuid);
    if (name) link.textContent = `@${name}`;
  }
}

/** A link to somebody of whom only the id is known; lists find the names of all that they show. */
export function someone(uuid) {
  if (!uuid) return element("span", { class: "soft" }, "–");
  return element("a", { href: `/console/users/${uuid}`, "data-uuid": uuid, title: uuid }, uuid.slice(0, 8));
}

/** A value of JSON, for people to read. */
export const asJson = (value) => element("pre", { class: "json", tabindex: "0" }, JSON.stringify(value, null, 2));

// Where the places stand in a row that is longer than the screen, the open one is in sight.
document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// The search of a page is one key away.
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog[open]")) return;
  const search = document.querySelector("input[type=search]");
  if (search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});
