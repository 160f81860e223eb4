// Who may do what, and why.

import { api, Problem, t } from "./api.js";
import { busy, element, place } from "./ui.js";
import { showProblem } from "./forms.js";
import { asJson, asked, badge, remember } from "./console.js";
import { picker } from "./picker.js";

const form = place("question");
const who = picker(form.elements.user);
const whom = picker(form.elements.resource);

const FILE = /^\d+$/;

const checked = (name) => [...form.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value);

/** What policies are told besides depends on the action. */
function showContext() {
  const action = form.elements.action.value;
  place("fields").hidden = action !== "user:update" && action !== "user:create";
  place("roles").hidden = action !== "user:set-roles" && action !== "user:create";
}

/** The account that is chosen, or the file whose number is written; null: the server itself. */
function resource() {
  const text = form.elements.resource.value.trim();
  return !whom.uuid && FILE.test(text) ? Number(text) : whom.uuid;
}

function question() {
  const json = { action: form.elements.action.value, user: who.uuid, resource: resource() };
  const context = {};
  if (!place("fields").hidden) context.fields = checked("fields");
  if (!place("roles").hidden) context.roles = checked("roles");
  if (Object.keys(context).length) json.context = context;
  return json;
}

async function ask() {
  showProblem(form, null);
  const json = question();
  try {
    show(json, await api("POST", "/admin/permissions/check", { json }));
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    place("answer").hidden = true;
    showProblem(form, problem);
  }
}

function show({ action }, { decision, policies, attributes, errors }) {
  const yes = decision === "allow";
  const verdict = place("verdict");
  verdict.className = yes ? "flash" : "problem";
  verdict.textContent = t(yes ? "console.permissions.allowed" : "console.permissions.denied", { action });
  place("why").textContent = policies.length ? t(yes ? "console.permissions.because" : "console.permissions.forbidden_by") : t("console.permissions.no_policy");
  place("policies").replaceChildren(...policies.map((policy) =>
    element("li", {}, badge(policy.effect, policy.effect === "permit" ? "good" : "bad"), element("div", { class: "grow" }, element("div", {}, policy.description), element("code", { class: "small soft" }, policy.id)))));
  place("errors").replaceChildren(...errors.map((error) => element("p", { class: "problem" }, error)));
  place("attributes").replaceChildren(asJson(attributes));
  place("answer").hidden = false;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { action, user, resource } = question();
  remember({ action, user, resource }, true);
  busy(event.submitter, ask);
});
form.elements.action.addEventListener("change", showContext);

async function fromAddress() {
  const given = asked();
  if (given.get("action")) form.elements.action.value = given.get("action");
  showContext();
  const on = given.get("resource");
  const file = FILE.test(on) ? on : null;
  await Promise.all([who.set(given.get("user")), whom.set(file ? null : on)]);
  if (file) form.elements.resource.value = file;
  if (given.get("action")) await ask();
  else place("answer").hidden = true;
}
addEventListener("popstate", fromAddress);
fromAddress();
