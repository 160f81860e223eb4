// Small things that every page has: messages, dialogs, times.

import { t, when } from "./api.js";

/** The element of this id. */
export const place = (id) => document.getElementById(id);

/** Says something in the live region at the foot of the page, for a while. */
export function say(text, kind = "flash") {
  const line = document.createElement("div");
  line.className = kind;
  line.textContent = text;
  place("toast").append(line);
  setTimeout(() => line.remove(), kind === "problem" ? 12000 : 6000);
}

/** Says why something did not work. */
export function sayWhy(problem) {
  const fields = (problem.fields ?? []).map((field) => field.message);
  say(fields.length ? fields.join(" ") : problem.message, "problem");
}

/** Keeps what is to be said for the page that comes next. */
export function sayNext(text) {
  sessionStorage.setItem("say", text);
}

/** Does something by a button, once at a time; whether it worked. */
export async function busy(button, act) {
  if (button?.getAttribute("aria-busy") === "true") {
    return false;
  }
  button?.setAttribute("aria-busy", "true");
  try {
    await act();
    return true;
  } catch (problem) {
    sayWhy(problem);
    return false;
  } finally {
    button?.removeAttribute("aria-busy");
  }
}

/** A dialog of the page, by its id: opened, and what it was closed with (`value` of the button; empty: left). */
export function ask(id) {
  const dialog = place(id);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((settled) => {
    dialog.addEventListener("close", () => settled(dialog.returnValue), { once: true });
  });
}

/** Asks whether something is really meant, with a button of these words. */
export async function confirm(words, act, isBad = true) {
  const dialog = place("confirm");
  dialog.querySelector("p").textContent = words;
  const button = dialog.querySelector("button[value=yes]");
  button.textContent = act;
  button.classList.toggle("bad", isBad);
  return (await ask("confirm")) === "yes";
}

/** An element with text; `attributes` are set, children appended. Text is text: never markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function copy(text) {
  return navigator.clipboard.writeText(text).then(
    () => say(t("said.copied")),
    () => say(t("said.not_copied"), "problem"),
  );
}

/** Gives the reader a file. */
export function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

for (const time of document.querySelectorAll("time[data-seconds]")) {
  time.textContent = when(Number(time.dataset.seconds));
}

const kept = sessionStorage.getItem("say");
if (kept) {
  sessionStorage.removeItem("say");
  say(kept);
}
