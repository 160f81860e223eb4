// One user: what is known, and what may be done.

import { answer, api, Problem, t } from "./api.js";
import { ask, busy, confirm, element, place, say, sayWhy } from "./ui.js";
import { showProblem, whenSent } from "./forms.js";
import { badge, bytes, face, facts, fill, listing, may, moment, named, nameThem, roleBadges, someone, stateBadge } from "./console.js";

const uuid = facts.uuid;
const path = `/user/${uuid}`;
let user = null;
let tag = null;

// --- what is known

async function load() {
  const state = place("state");
  try {
    const response = await answer("GET", path);
    tag = response.headers.get("ETag");
    user = await response.json();
    state.hidden = true;
    show();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    state.hidden = false;
    state.classList.add("problem");
    state.textContent = problem.status === 404 ? t("console.user.gone") : problem.message;
    place("all").hidden = true;
  }
}

function show() {
  place("all").hidden = false;
  place("face").replaceChildren(face(uuid, 64));
  place("name").textContent = user.display_name || user.username;
  place("username").textContent = `@${user.username}`;
  place("badges").replaceChildren(stateBadge(user), ...roleBadges(user.roles));
  document.title = `${user.display_name || user.username} – ${facts.project}`;
  const full = [user.first_name, user.middle_name, user.last_name].filter(Boolean).join(" ");
  const rows = [
    ["uuid", element("code", {}, uuid)],
    ["full_name", full],
    ["email", "email" in user && (user.email ? element("span", {}, user.email, " ",
      badge(t(user.email_verified ? "console.user.proved" : "console.user.unproved"), user.email_verified ? "good" : "warn")) : t("console.no"))],
    ["otp_method", user.otp_method && named("console.otp", user.otp_method)],
    ["description", user.description],
    ["locale", user.locale],
    ["created_at", moment(user.created_at)],
    ["updated_at", moment(user.updated_at)],
    ["deleted_at", user.deleted_at && moment(user.deleted_at)],
    ["external_accounts", user.external_accounts?.length
      && user.external_accounts.map((account) => `${account.provider}: ${account.username ?? account.external_account_id}`).join(", ")],
    ["blocked_uuids", user.blocked_uuids?.length && element("span", {}, ...user.blocked_uuids.flatMap((id) => [someone(id), " "]))],
    ["metadata", user.metadata && Object.keys(user.metadata).length && element("pre", { class: "json" }, JSON.stringify(user.metadata, null, 2))],
  ];
  place("facts").replaceChildren(...rows.filter(([, value]) => value).flatMap(([name, value]) =>
    [element("dt", {}, t(`console.user.${name}`)), element("dd", {}, value)]));
  nameThem([...place("facts").querySelectorAll("a[data-uuid]")]);
  showFiles();
  const states = {
    edit: !user.deleted_at, ban: user.is_active && !user.deleted_at, unban: !user.is_active && !user.deleted_at,
    "reset-mail": user.is_active && !user.deleted_at, "sign-out": !user.deleted_at, delete: !user.deleted_at, restore: Boolean(user.deleted_at), purge: Boolean(user.deleted_at),
  };
  for (const [id, can] of Object.entries(states)) {
    if (place(id)) place(id).hidden = !can;
  }
}

function showFiles() {
  const section = place("files");
  if (!section) return;
  const files = user.files ?? [];
  section.hidden = files.length === 0;
  section.querySelector("[data-rows]").replaceChildren(...files.map((file) => fill("file", {
    name: element("a", { href: `/console/files?file=${file.id}` }, file.file_name),
    type: file.file_type,
    size: bytes(file.size),
    created: moment(file.created_at),
  })));
}

const sessions = place("sessions") && listing(place("sessions"), {
  none: "console.user.no_sessions",
  load: async () => ({ rows: await api("GET", `${path}/sessions`) }),
  row(session) {
    const end = may("user:end-sessions") ? element("button", { type: "button", class: "quiet small" }, t("console.user.end")) : null;
    end?.addEventListener("click", () => busy(end, async () => {
      await api("DELETE", `${path}/sessions/${session.id}`);
      say(t("console.user.ended"));
      sessions.show();
    }));
    return fill("session", {
      device: session.device || t("console.user.unknown_device"),
      ip: session.ip,
      created: moment(session.created_at),
      seen: moment(session.last_seen_at),
      act: end,
    });
  },
});

const history = place("history") && listing(place("history"), {
  none: "console.user.no_history",
  async load(cursor) {
    const response = await answer("GET", cursor ?? `${path}/history?limit=20`);
    const next = /<([^>]*)>;\s*rel="?next"?/.exec(response.headers.get("Link") ?? "")?.[1];
    const more = next ? path + "/history" + new URL(next, location).search : null;
    return { rows: await response.json(), total: Number(response.headers.get("X-Total-Count")), more };
  },
  row: (line) => fill("line", {
    time: moment(line.time),
    action: named("history", line.action),
    description: line.description,
    by: line.by === uuid ? t("console.user.self") : someone(line.by),
  }),
});

async function all() {
  await load();
  if (!user) return;
  sessions?.show();
  await history?.show();
}

// --- what may be done

function act(id, what) {
  const button = place(id);
  button?.addEventListener("click", () => what(button));
}

/** One act by a button, asked about first; then all is read again. */
function plain(id, method, where, { sure, done, json, bad = true }) {
  act(id, async (button) => {
    if (!(await confirm(t(sure, { name: user.username }), button.textContent.trim(), bad))) return;
    await busy(button, async () => {
      await api(method, where, json ? { json } : {});
      say(t(done));
      await all();
    });
  });
}

plain("unban", "POST", `/admin/unban/${uuid}`, { json: {}, sure: "console.user.sure_unban", done: "console.user.unbanned", bad: false });
plain("sign-out", "DELETE", `${path}/sessions`, { sure: "console.user.sure_sign_out", done: "console.user.signed_out" });
plain("delete", "DELETE", path, { sure: "console.user.sure_delete", done: "console.user.deleted" });
plain("restore", "POST", `${path}/restore`, { sure: "console.user.sure_restore", done: "console.user.restored", bad: false });

act("reset-mail", async (button) => {
  if (!(await confirm(t("console.user.sure_reset_mail", { name: user.username }), button.textContent.trim(), false))) return;
  await busy(button, async () => {
    await api("POST", "/auth/forgot-password/request", { json: { username: user.username } });
    say(t("console.user.reset_mailed"));
  });
});

act("purge", async (button) => {
  if (!(await confirm(t("console.user.sure_purge", { name: user.username }), button.textContent.trim()))) return;
  await busy(button, async () => {
    await api("DELETE", `${path}?purge=true`);
    location.assign("/console/users?state=deleted");
  });
});

act("ban", async () => {
  const form = document.querySelector("#ask-ban form");
  form.reset();
  showProblem(form, null);
  await ask("ask-ban");
});

whenSent(document.querySelector("#ask-ban form"), async (form) => {
  await api("POST", `/admin/ban/${uuid}`, { json: { reason: form.elements.reason.value } });
  place("ask-ban").close("yes");
  say(t("console.user.banned"));
  await all();
});

act("edit", async () => {
  const form = document.querySelector("#change form");
  showProblem(form, null);
  for (const field of form.elements) {
    if (field.name === "roles") field.checked = user.roles.includes(field.value);
    else if (field.type === "checkbox") field.checked = Boolean(user[field.name]);
    else if (field.name === "metadata") field.value = JSON.stringify(user.metadata ?? {}, null, 2);
    else if (field.name) field.value = user[field.name] ?? "";
  }
  await ask("change");
});

/** The JSON that somebody has written. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    const words = t("console.user.no_json");
    throw new Problem(422, { code: "", detail: words, errors: [{ field: "metadata", message: words }] });
  }
}

/** What the form says otherwise than the account is. */
function changed(form) {
  const json = {};
  for (const field of form.elements) {
    if (!field.name || field.name === "roles") continue;
    if (field.type === "checkbox") {
      if (field.checked !== Boolean(user[field.name])) json[field.name] = field.checked;
    } else if (field.name === "metadata") {
      const metadata = parsed(field.value || "{}");
      if (JSON.stringify(metadata) !== JSON.stringify(user.metadata ?? {})) json.metadata = metadata;
    } else if (field.value.trim() !== (user[field.name] ?? "")) {
      json[field.name] = field.value.trim() || null;
    }
  }
  const boxes = [...form.querySelectorAll("input[name=roles]")];
  const roles = boxes.filter((box) => box.checked).map((box) => box.value);
  if (boxes.length && roles.toSorted().join() !== user.roles.toSorted().join()) json.roles = roles;
  return json;
}

whenSent(document.querySelector("#change form"), async (form) => {
  const json = changed(form);
  if (Object.keys(json).length) await api("PATCH", path, { json, headers: tag ? { "If-Match": tag } : {} });
  place("change").close("yes");
  say(t("console.saved"));
  await all();
});

all().catch(sayWhy);
