// Letters of staff, and what is on its way.

import { api, Problem, t } from "./api.js";
import { busy, confirm, element, place, say } from "./ui.js";
import { showProblem } from "./forms.js";
import { badge, fill, listing, moment, named } from "./console.js";

const form = place("write");
const KINDS = { waiting: "warn", sent: "good", expired: "", dead: "bad" };

// --- writing

const WAYS = {
  one: ["/email/send-email", (query, [first]) => query.set("recipient", first ?? "")],
  several: ["/email/send-email-multiple", (query, all) => all.forEach((address) => query.append("recipients", address))],
  all: ["/email/send-email-all", () => {}],
};

const recipients = () => form.elements.recipients.value.split(/[\s,;]+/).filter(Boolean);

function showWay() {
  place("to").hidden = form.elements.way.value === "all";
  form.elements.recipients.required = form.elements.way.value !== "all";
}

async function sure(way, all) {
  const subject = form.elements.subject.value;
  if (way !== "all") return confirm(t(all.length === 1 ? "console.mail.sure_one" : "console.mail.sure_several", { subject, count: all.length, to: all[0] }), t("console.mail.send"), false);
  const count = await api("GET", "/user/count?is_active=true");
  return confirm(t("console.mail.sure_all", { subject, count }), t("console.mail.send"));
}

async function send(event) {
  event.preventDefault();
  showProblem(form, null);
  const way = form.elements.way.value;
  const [path, address] = WAYS[way];
  const all = recipients();
  const query = new URLSearchParams({ subject: form.elements.subject.value, confirm: "true" });
  address(query, all);
  await busy(event.submitter, async () => {
    try {
      if (!(await sure(way, all))) return;
      const headers = { "Content-Type": form.elements.kind.value };
      const answer = await api("POST", `${path}?${query}`, { form: form.elements.content.value, headers });
      told(answer);
      form.reset();
      showWay();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      showProblem(form, problem);
    }
  });
}

/** With mail off the API says so in a text of its own. */
function told(answer) {
  if (typeof answer === "string") return say(t("console.mail.off"), "problem");
  say(t(answer.batch ? "console.mail.queueing" : "console.mail.queued", { count: answer.ids?.length ?? 0 }));
  queue.show();
}

form?.addEventListener("submit", send);
form?.addEventListener("change", showWay);
if (form) showWay();

// --- samples

for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", () => busy(button, async () => {
    const address = place("sample").value.trim();
    const query = address ? `?${new URLSearchParams({ recipient: address })}` : "";
    told(await api("POST", `/email/${button.dataset.sample}${query}`));
  }));
}

// --- what is on its way

const queue = listing(place("queue"), {
  none: "console.mail.empty",
  async load(cursor) {
    const query = new URLSearchParams({ limit: 50 });
    if (cursor) query.set("cursor", cursor);
    const answer = await api("GET", `/email/queue?${query}`);
    if (!cursor) counts(answer);
    const total = Object.values(answer.counts).reduce((sum, count) => sum + count, 0);
    return { rows: answer.mails, more: answer.next, total };
  },
  row(mail) {
    return fill("row", {
      created: moment(mail.created_at),
      to: mail.to,
      letter: named("console.letter", mail.letter.replaceAll("-", "_")),
      state: badge(named("console.mail.state", mail.state), KINDS[mail.state]),
      attempts: mail.attempts,
      next: mail.next_try_at ? moment(mail.next_try_at) : "",
      error: mail.last_error,
    });
  },
});

function counts({ counts: all, batches }) {
  place("counts").replaceChildren(...Object.entries(all).map(([state, count]) =>
    element("div", { class: "tile" }, element("b", {}, count.toLocaleString(document.documentElement.lang)), element("span", {}, named("console.mail.state", state)))));
  place("batches").replaceChildren(...batches.slice(0, 5).map((batch) => {
    const done = batch.counts.sent + batch.counts.expired + batch.counts.dead;
    const words = t("console.mail.progress", { done, count: batch.recipients });
    return element("li", {}, moment(batch.created_at), element("progress", { max: Math.max(1, batch.recipients), value: done, "aria-label": words }), element("span", {}, words));
  }));
  place("many").hidden = batches.length === 0;
}

place("again").addEventListener("click", () => queue.show());
queue.show();
