// The flags: switches, rules with percentages, and who would see what.

import { answer, api, t } from "./api.js";
import { ask, busy, confirm, element, place, say, sayWhy } from "./ui.js";
import { showProblem, whenSent } from "./forms.js";
import { asked, atRoot, badge, fill, filters, listing, may, moment, named, remember, someone } from "./console.js";
import { picker } from "./picker.js";

const mayChange = may("flags:update");
let flags = {};
let tag = null;
let trial = null; // what the flags are for the person who is tried, by name

// --- reading

async function read() {
  const response = await answer("GET", "/admin/feature-flags");
  take(await response.json(), response.headers.get("ETag"));
}

function take(set, etag) {
  flags = set;
  tag = etag;
}

async function tryThem(uuid) {
  trial = null;
  if (!uuid) return;
  const { flags: all } = await api("POST", atRoot("/ofrep/v1/evaluate/flags"), { json: { context: { targetingKey: uuid } } });
  trial = Object.fromEntries(all.map((flag) => [flag.key, flag]));
}

const isOn = (value) => value === true;
const hasRules = (value) => Array.isArray(value);

/** What a rule says, in words. */
function ruleWords({ percentageOfUsers = 1, userRoles = [] }) {
  const percent = (percentageOfUsers * 100).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 2 });
  const roles = userRoles.map((role) => named("console.role", role)).join(", ");
  if (percentageOfUsers >= 1) return roles ? t("console.flags.rule_roles", { roles }) : t("console.flags.rule_all");
  return roles ? t("console.flags.rule_share_roles", { percent, roles }) : t("console.flags.rule_share", { percent });
}

const list = listing(place("list"), {
  none: "console.flags.none",
  async load() {
    await read();
    const uuid = asked().get("as");
    await tryThem(uuid);
    place("list").classList.toggle("tried", trial !== null);
    const text = (asked().get("q") ?? "").toUpperCase();
    const kind = asked().get("kind") ?? "";
    const fits = ([name, value]) => name.toUpperCase().includes(text)
      && (kind === "" || (kind === "rules" ? hasRules(value) : kind === "on" ? isOn(value) : value === false));
    return { rows: Object.entries(flags).filter(fits) };
  },
  row: ([name, value]) => row(name, value),
});

function row(name, value) {
  const verdict = trial?.[name];
  const cells = {
    name: element("code", {}, name),
    switch: switchOf(name, value),
    rules: hasRules(value) ? value.map((rule) => element("div", { class: "small" }, ruleWords(rule))) : null,
    tried: verdict && badge(t(verdict.value ? "console.flags.on" : "console.flags.off"), verdict.value ? "good" : "bad"),
    act: mayChange ? [edit(name, value)] : null,
  };
  return fill("row", cells);
}

function switchOf(name, value) {
  if (hasRules(value)) return badge(t("console.flags.rules"), "accent");
  if (!mayChange) return badge(t(value ? "console.flags.on" : "console.flags.off"), value ? "good" : "bad");
  const box = element("input", { type: "checkbox", role: "switch", class: "switch", "aria-label": name, checked: value });
  box.addEventListener("change", async () => {
    box.disabled = true;
    try {
      await change({ add: { [name]: box.checked } });
      say(t(box.checked ? "console.flags.now_on" : "console.flags.now_off", { name }));
      if (trial) await list.show();
    } catch (problem) {
      box.checked = !box.checked;
      sayWhy(problem);
    } finally {
      box.disabled = false;
      (box.isConnected ? box : document.querySelector(`[role=switch][aria-label="${CSS.escape(name)}"]`))?.focus();
    }
  });
  return box;
}

function edit(name, value) {
  const button = element("button", { type: "button", class: "quiet small", "aria-label": t("console.flags.edit_one", { name }) }, t("console.edit"));
  button.addEventListener("click", () => open(name, value));
  return button;
}

async function change(json) {
  const response = await answer("PATCH", "/admin/feature-flags", { json, headers: tag ? { "If-Match": tag } : {} });
  take(await response.json(), response.headers.get("ETag"));
  history.show();
}

// --- the editor

const dialog = place("edit");
const form = dialog?.querySelector("form");
let editing = null;

function open(name, value) {
  editing = name;
  showProblem(form, null);
  form.elements.name.value = name ?? "";
  form.elements.name.readOnly = name !== null;
  form.elements.state.value = hasRules(value) ? "rules" : value ? "on" : "off";
  place("rules").replaceChildren();
  for (const rule of hasRules(value) ? value : [{}]) addRule(rule);
  place("remove").hidden = name === null;
  preview();
  ask("edit");
}

function addRule({ percentageOfUsers = 1, userRoles = [] }) {
  const rule = place("rule").content.firstElementChild.cloneNode(true);
  const [range, number] = rule.querySelectorAll("input[type=range], input[type=number]");
  range.value = number.value = Math.round(percentageOfUsers * 10000) / 100;
  range.addEventListener("input", () => { number.value = range.value; });
  number.addEventListener("input", () => { range.value = number.value; });
  for (const box of rule.querySelectorAll("input[name=role]")) box.checked = userRoles.includes(box.value);
  rule.querySelector("button").addEventListener("click", () => { rule.remove(); preview(); });
  place("rules").append(rule);
}

/** What the form says. */
function drafted() {
  const state = form.elements.state.value;
  if (state !== "rules") return state === "on";
  return [...place("rules").children].map((rule) => {
    const share = Number(rule.querySelector("input[type=number]").value) / 100;
    const roles = [...rule.querySelectorAll("input[name=role]:checked")].map((box) => box.value);
    return { ...(share < 1 ? { percentageOfUsers: share } : {}), ...(roles.length ? { userRoles: roles } : {}) };
  });
}

/** Says in words who would see it, while it is being written. */
function preview() {
  const value = drafted();
  place("rule-part").hidden = !hasRules(value);
  const words = !hasRules(value) ? [t(value ? "console.flags.for_all" : "console.flags.for_none")]
    : value.length ? value.map(ruleWords) : [t("console.flags.for_none")];
  place("preview").replaceChildren(...words.map((line) => element("li", {}, line)));
  verdict(value);
}

/** The same sum as the server's: the first 8 digits of a digest of flag and person, against the share. */
async function share(name, uuid) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${name}-${uuid}`));
  return new DataView(digest).getUint32(0) / 0xffffffff;
}

async function verdict(value) {
  const { uuid, name, roles } = tried;
  const line = place("verdict");
  line.hidden = !uuid;
  if (!uuid) return;
  const theirs = hasRules(value) ? await share(form.elements.name.value, uuid) : 0;
  const fits = ({ percentageOfUsers = 1, userRoles = [] }) =>
    (userRoles.length === 0 || userRoles.some((role) => roles.includes(role))) && (percentageOfUsers >= 1 || theirs < percentageOfUsers);
  const sees = hasRules(value) ? value.some(fits) : value;
  line.textContent = t(sees ? "console.flags.would_see" : "console.flags.would_not", { name });
}

form?.addEventListener("input", preview);
place("add-rule")?.addEventListener("click", () => { addRule({}); preview(); });
place("new")?.addEventListener("click", () => open(null, true));
whenSent(form, async () => {
  await change({ add: { [form.elements.name.value.trim()]: drafted() } });
  dialog.close("yes");
  say(t("console.saved"));
  list.show();
});
place("remove")?.addEventListener("click", async () => {
  dialog.close("");
  if (!(await confirm(t("console.flags.sure_remove", { name: editing }), t("console.remove")))) return;
  await busy(place("remove"), async () => {
    await change({ remove: [editing] });
    say(t("console.flags.removed", { name: editing }));
    list.show();
  });
});

// --- who would see it

const tried = { uuid: null, name: "", roles: [] };

async function meet(uuid) {
  Object.assign(tried, { uuid: null, name: "", roles: [] });
  if (!uuid) return;
  const user = await api("GET", `/user/${encodeURIComponent(uuid)}`).catch(() => null);
  if (user) Object.assign(tried, { uuid, name: `@${user.username}`, roles: user.roles });
}

const chooser = picker(place("as"), async (uuid) => {
  remember({ as: uuid }, true);
  await meet(uuid);
  list.show();
});
const fromAddress = async () => {
  const uuid = asked().get("as");
  chooser.set(uuid);
  await meet(uuid);
};
addEventListener("popstate", fromAddress);

// --- what was changed before

const written = (value) => (hasRules(value) ? value.map(ruleWords).join(" · ") : value == null ? t("console.flags.absent") : t(value ? "console.flags.on" : "console.flags.off"));

const history = listing(place("history"), {
  none: "console.flags.no_history",
  load: async () => ({ rows: await api("GET", "/admin/feature-flags/history") }),
  row(entry) {
    const made = fill("change", {
      time: moment(entry.time),
      by: entry.by ? someone(entry.by) : named("console.flags.source", entry.source),
      changes: entry.changes.length > 6
        ? t("console.flags.many_changes", { count: entry.changes.length })
        : entry.changes.map(({ flag, before, after }) => element("div", {}, element("code", {}, flag), ` ${written(before)} → ${written(after)}`)),
    });
    return made;
  },
});

await fromAddress();
filters(place("filters"), list.show);
list.show();
history.show();
