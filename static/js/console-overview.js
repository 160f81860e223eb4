// How things stand, in numbers.

import { api, Problem, t } from "./api.js";
import { element, place } from "./ui.js";
import { chart } from "./chart.js";
import { bytes, named } from "./console.js";

const language = document.documentElement.lang;

function tile(words, value, where) {
  const shown = [element("b", {}, typeof value === "number" ? value.toLocaleString(language) : value), element("span", {}, words)];
  return where ? element("a", { class: "tile", href: where }, ...shown) : element("div", { class: "tile" }, ...shown);
}

/** A day of the calendar of UTC, as days are counted there. */
const day = (seconds) => new Intl.DateTimeFormat(language, { day: "numeric", month: "short", timeZone: "UTC" }).format(new Date(seconds * 1000));

async function show() {
  try {
    const { users, sign_ups: signUps, sessions, mail, outbox, storage } = await api("GET", "/admin/stats");
    place("state").hidden = true;
    place("tiles").replaceChildren(
      tile(t("console.overview.active"), users.active, "/console/users?state=active"),
      tile(t("console.overview.banned"), users.banned, "/console/users?state=off"),
      tile(t("console.overview.deleted"), users.deleted, "/console/users?state=deleted"),
      tile(t("console.overview.sessions"), sessions.open),
      tile(t("console.overview.verified"), share(users.verified, users.active)),
      tile(t("console.overview.second_factor"), share(users.second_factor, users.active)),
      tile(t("console.overview.waiting"), mail.waiting, "/console/mail"),
      tile(t("console.overview.dead"), mail.dead, "/console/mail"),
      ...(outbox ? [tile(t("console.overview.outbox"), outbox.waiting, "/console/events")] : []),
      tile(t("console.overview.files"), storage.files, "/console/files"),
      tile(t("console.overview.stored"), bytes(storage.bytes), "/console/files"),
    );
    place("charts").replaceChildren(
      chart(t("console.overview.sign_ups"), t("console.day"), signUps.map(({ day: begun, count }) => ({ label: day(begun), count }))),
      chart(t("console.overview.roles"), t("console.users.role"), users.roles.map(({ role, count }) => ({ label: named("console.role", role), count })), false),
    );
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    place("state").hidden = false;
    place("state").className = "problem";
    place("state").textContent = problem.message;
  }
}

const share = (part, whole) => new Intl.NumberFormat(language, { style: "percent" }).format(whole ? part / whole : 0);

show();
setInterval(() => { if (!document.hidden) show(); }, 60000);
