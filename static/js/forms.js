// Forms that are sent to the API: `<form data-api="PATCH /user/…">`. What is wrong is said at its field.
//
// `data-said`: the words when it worked; `data-then`: where to go then (`reload`, or a path). A field that is empty is
// sent as null with `data-null`, and not at all with `data-skip`; a form with `data-changed` sends what was changed. A page can
// do more with the event `answered`: its `detail` is the answer.

import { api, Problem } from "./api.js";
import { say, sayNext } from "./ui.js";

/** Shows a problem in a form: at the fields that it names, else above them; with null, shows none. */
export function showProblem(form, problem) {
  for (const old of form.querySelectorAll(".field-problem, .problem")) old.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    setDescription(field, null);
  }
  if (!problem) return;
  const rest = [];
  let first = null;
  for (const { field, message } of problem.fields) {
    const place = form.elements.namedItem(field);
    if (!(place instanceof HTMLElement) || place.type === "hidden") {
      rest.push(message);
      continue;
    }
    const line = document.createElement("span");
    line.className = "field-problem";
    line.id = `${place.id || field}-problem`;
    line.textContent = message;
    place.after(line);
    place.setAttribute("aria-invalid", "true");
    setDescription(place, line.id);
    first ??= place;
  }
  if (!first || rest.length) {
    const box = document.createElement("div");
    box.className = "problem";
    box.setAttribute("role", "alert");
    box.textContent = rest.join(" ") || problem.message;
    form.prepend(box);
  }
  (first ?? form.querySelector("input:not([type=hidden]), select, textarea"))?.focus();
}

function setDescription(field, id) {
  const others = (field.getAttribute("aria-describedby") ?? "").split(" ").filter((known) => known && !known.endsWith("-problem"));
  const all = id ? [...others, id] : others;
  if (all.length) field.setAttribute("aria-describedby", all.join(" "));
  else field.removeAttribute("aria-describedby");
}

/** Whether a field holds something else than when the page came. */
function isChanged(field) {
  if (field instanceof HTMLSelectElement) return [...field.options].some((option) => option.selected !== option.defaultSelected);
  return field.value !== field.defaultValue;
}

/** The fields of a form as the API takes them. */
export function fieldsOf(form) {
  const json = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled || field.type === "submit" || field.type === "button") continue;
    if ("changed" in form.dataset && !isChanged(field)) continue;
    if (field.type === "checkbox") {
      json[field.name] = field.checked;
    } else if (field.type === "radio") {
      if (field.checked) json[field.name] = field.value;
    } else if (field.value === "" && "skip" in field.dataset) {
      continue;
    } else if (field.value === "" && "null" in field.dataset) {
      json[field.name] = null;
    } else {
      json[field.name] = field.type === "number" ? Number(field.value) : field.value;
    }
  }
  return json;
}

/** Sends a form once at a time; what the API finds wrong is said in it. */
async function send(event, act) {
  event.preventDefault();
  const form = event.target;
  const button = event.submitter ?? form.querySelector("button");
  if (button?.getAttribute("aria-busy") === "true") return;
  button?.setAttribute("aria-busy", "true");
  try {
    await act(form);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showProblem(form, problem);
  } finally {
    button?.removeAttribute("aria-busy");
  }
}

async function submit(form) {
  showProblem(form, null);
  const [method, path] = form.dataset.api.split(" ");
  const answer = await api(method, path, { json: fieldsOf(form) });
  for (const secret of form.querySelectorAll("input[type=password]")) secret.value = "";
  form.dispatchEvent(new CustomEvent("answered", { detail: answer, bubbles: true }));
  const { then, said } = form.dataset;
  if (then) {
    if (said) sayNext(said);
    if (then === "reload") location.reload();
    else location.assign(then);
  } else if (said) {
    say(said);
  }
}

/**
 * A form that a page sends by itself: `act` is called with it, and what the API finds wrong is said in it. Its button without
 * a value closes the dialog that it stands in.
 */
export function whenSent(form, act) {
  form?.addEventListener("submit", (event) => {
    if (event.submitter?.value !== "") return send(event, act);
  });
}

document.addEventListener("submit", (event) => {
  if (event.target.dataset.api) send(event, submit);
});
