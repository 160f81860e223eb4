// Webhooks: made, tried, changed, and what came of their deliveries.

import { api, t } from "./api.js";
import { ask, busy, confirm, copy, element, place, say } from "./ui.js";
import { showProblem, whenSent } from "./forms.js";
import { asked, badge, fill, listing, may, moment, named, remember } from "./console.js";

const mayManage = may("webhooks:manage");

const list = listing(place("list"), {
  none: "console.webhooks.none",
  load: async () => ({ rows: await api("GET", "/admin/webhooks") }),
  row(webhook) {
    const button = (words, act, bad = false) => {
      const made = element("button", { type: "button", class: `quiet small${bad ? " bad" : ""}`, "aria-label": `${t(words)}: ${webhook.url}` }, t(words));
      made.addEventListener("click", () => act(webhook, made));
      return made;
    };
    return fill("row", {
      url: element("code", {}, webhook.url),
      description: webhook.description,
      types: webhook.event_types.length ? webhook.event_types.map((type) => badge(type)) : badge(t("console.webhooks.all_types")),
      state: state(webhook),
      act: [
        mayManage && button("console.webhooks.test", test),
        button("console.webhooks.log", (hook) => { remember({ log: hook.id }, true); showLog(); }),
        mayManage && button("console.edit", open),
        mayManage && button("console.webhooks.rotate", rotate),
        mayManage && button("console.delete", remove, true),
      ],
    });
  },
});

function state(webhook) {
  const lines = [];
  if (!webhook.enabled) lines.push(badge(t("console.webhooks.disabled"), "bad"), element("div", { class: "small" }, named("console.webhooks.reason", webhook.disabled_reason ?? "admin")));
  else if (webhook.failing_since) lines.push(badge(t("console.webhooks.failing"), "warn"), element("div", { class: "small" }, t("console.webhooks.attempts", { count: webhook.attempts })));
  else lines.push(badge(t("console.webhooks.enabled"), "good"));
  return lines;
}

// --- making and changing

const form = place("edit")?.querySelector("form");
let editing = null;

function open(webhook) {
  editing = webhook;
  form.reset();
  showProblem(form, null);
  form.elements.url.value = webhook?.url ?? "";
  form.elements.description.value = webhook?.description ?? "";
  form.elements.enabled.checked = webhook?.enabled ?? true;
  const boxes = [...form.querySelectorAll("input[name=type]")];
  for (const box of boxes) box.checked = webhook?.event_types.includes(box.value) ?? false;
  place("edit-title").textContent = t(webhook ? "console.webhooks.change" : "console.webhooks.add");
  ask("edit");
}

whenSent(form, async () => {
  const json = {
    url: form.elements.url.value.trim(),
    description: form.elements.description.value.trim() || null,
    enabled: form.elements.enabled.checked,
    event_types: [...form.querySelectorAll("input[name=type]:checked")].map((box) => box.value),
  };
  const made = await api(editing ? "PATCH" : "POST", editing ? `/admin/webhooks/${editing.id}` : "/admin/webhooks", { json });
  place("edit").close("yes");
  list.show();
  if (made.secret) await showSecret(made.secret);
  else say(t("console.saved"));
});
place("new")?.addEventListener("click", () => open(null));

/** The one time that a secret is shown; it leaves the page with its dialog. */
async function showSecret(secret) {
  place("the-secret").value = secret;
  await ask("secret");
  place("the-secret").value = "";
}
place("copy-secret")?.addEventListener("click", () => copy(place("the-secret").value));

async function rotate(webhook, button) {
  if (!(await confirm(t("console.webhooks.sure_rotate"), t("console.webhooks.rotate"), false))) return;
  await busy(button, async () => showSecret((await api("POST", `/admin/webhooks/${webhook.id}/rotate-secret`)).secret));
}

async function remove(webhook, button) {
  if (!(await confirm(t("console.webhooks.sure_delete", { url: webhook.url }), t("console.delete")))) return;
  await busy(button, async () => {
    await api("DELETE", `/admin/webhooks/${webhook.id}`);
    say(t("console.webhooks.deleted"));
    list.show();
  });
}

const outcome = ({ delivered, status, error, duration_ms: duration }) =>
  t(delivered ? "console.webhooks.worked" : "console.webhooks.failed", { status: status ?? error ?? "–", duration });

async function test(webhook, button) {
  await busy(button, async () => {
    const result = await api("POST", `/admin/webhooks/${webhook.id}/test`);
    say(outcome(result), result.delivered ? "flash" : "problem");
  });
}

// --- what was delivered

const log = listing(place("log"), {
  none: "console.webhooks.no_log",
  async load(cursor) {
    const query = new URLSearchParams({ limit: 50, ...(cursor ? { cursor } : {}) });
    const { deliveries, next } = await api("GET", `/admin/webhooks/${encodeURIComponent(asked().get("log"))}/deliveries?${query}`);
    return { rows: deliveries, more: next };
  },
  row: (delivery) => fill("delivery", {
    time: moment(delivery.created_at),
    type: element("code", { title: delivery.event_id }, delivery.event_type),
    attempt: delivery.attempt,
    result: [badge(String(delivery.status ?? t("console.webhooks.no_answer")), delivery.delivered ? "good" : "bad"), delivery.error && element("div", { class: "small" }, delivery.error)],
    duration: t("console.milliseconds", { count: delivery.duration_ms }),
    act: mayManage ? onward(delivery) : null,
  }),
});

/** Puts the webhook's place behind an event that it was sent: what came after it is sent again. */
function onward({ event_id: after, event_type: type }) {
  const button = element("button", { type: "button", class: "quiet small", "aria-label": `${t("console.webhooks.onward")}: ${type}` }, t("console.webhooks.onward"));
  button.addEventListener("click", async () => {
    if (!(await confirm(t("console.webhooks.sure_onward", { type }), t("console.webhooks.onward"), false))) return;
    await busy(button, async () => {
      await api("POST", `/admin/webhooks/${encodeURIComponent(asked().get("log"))}/replay`, { json: { after } });
      say(t("console.webhooks.again"));
    });
  });
  return button;
}

async function showLog() {
  const id = asked().get("log");
  place("log").hidden = !id;
  if (!id) return;
  place("log-of").textContent = (await api("GET", `/admin/webhooks/${encodeURIComponent(id)}`).catch(() => null))?.url ?? "";
  await log.show();
  place("log").scrollIntoView({ block: "nearest" });
}
place("close-log").addEventListener("click", () => { remember({ log: "" }, true); showLog(); });
addEventListener("popstate", showLog);

list.show();
showLog();
