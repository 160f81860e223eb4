// A field in which somebody is chosen by name: a combobox with a list (ARIA APG), its value the account's id.
//
// `<input role="combobox" data-picker name="user">`: `value` stays what is written, `dataset.uuid` is who was chosen. With a name
// in a form, a hidden field of that name holds the id.

import { api, t } from "./api.js";
import { element } from "./ui.js";
import { face, later } from "./console.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
let count = 0;

/** Makes a picker of a field; `chosen` is told the id and the name, or twice nothing. */
export function picker(field, chosen = () => {}) {
  const id = `picker-${++count}`;
  const list = element("ul", { role: "listbox", id, class: "options", hidden: true, "aria-label": t("console.people") });
  const frame = element("div", { class: "picker" });
  // The list stands inside the label with the field, and is no part of its name.
  if (field.closest("label")) field.setAttribute("aria-label", field.labels[0].innerText.trim());
  field.replaceWith(frame);
  frame.append(field, list);
  for (const [name, value] of Object.entries({ role: "combobox", autocomplete: "off", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": id, spellcheck: "false", autocapitalize: "none" })) {
    field.setAttribute(name, value);
  }
  let active = -1;
  let asking = 0;

  const close = () => {
    asking += 1;
    list.hidden = true;
    active = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };

  const choose = (uuid, name) => {
    field.dataset.uuid = uuid ?? "";
    if (name !== undefined) field.value = name;
    close();
    chosen(uuid ?? null, field.value);
  };

  const mark = (next) => {
    const options = list.children;
    if (!options.length) return;
    active = (next + options.length) % options.length;
    for (const [at, option] of [...options].entries()) option.setAttribute("aria-selected", String(at === active));
    field.setAttribute("aria-activedescendant", options[active].id);
    options[active].scrollIntoView({ block: "nearest" });
  };

  const search = later(async () => {
    const text = field.value.trim().replace(/^@/, "");
    if (!text || UUID.test(text)) return close();
    const mine = ++asking;
    const query = new URLSearchParams({ q: text, limit: 8, sort: "username" });
    const users = await api("GET", `/user?${query}`).catch(() => []);
    if (mine !== asking || document.activeElement !== field) return;
    const options = users.map((user, at) => {
      const option = element("li", { role: "option", id: `${id}-${at}`, "aria-selected": "false" },
        face(user.uuid, 24), element("span", {}, user.display_name), element("span", { class: "soft" }, `@${user.username}`));
      option.addEventListener("mousedown", (event) => { event.preventDefault(); choose(user.uuid, user.username); });
      option.choose = () => choose(user.uuid, user.username);
      return option;
    });
    list.replaceChildren(...options);
    list.hidden = options.length === 0;
    list.classList.toggle("right", frame.getBoundingClientRect().left > innerWidth * 0.4);
    field.setAttribute("aria-expanded", String(options.length > 0));
    active = -1;
  }, 150);

  field.addEventListener("input", (event) => {
    event.stopPropagation();
    const text = field.value.trim();
    if (UUID.test(text)) return choose(text);
    if (field.dataset.uuid) { field.dataset.uuid = ""; chosen(null, text); }
    if (!text) { close(); chosen(null, ""); }
    search();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { event.preventDefault(); mark(active + 1); }
    else if (event.key === "ArrowUp") { event.preventDefault(); mark(active - 1); }
    else if (event.key === "Escape" && !list.hidden) { event.preventDefault(); close(); }
    else if (event.key === "Enter" && !list.hidden) { event.preventDefault(); (list.children[Math.max(active, 0)])?.choose(); }
  });
  field.addEventListener("blur", close);

  return {
    /** Who is chosen; null: nobody. */
    get uuid() { return field.dataset.uuid || null; },
    /** Chooses somebody by the id, and finds the name. */
    async set(uuid) {
      field.dataset.uuid = uuid ?? "";
      field.value = uuid ?? "";
      if (!uuid) return;
      const user = await api("GET", `/user/${encodeURIComponent(uuid)}`).catch(() => null);
      if (user && field.dataset.uuid === uuid) field.value = user.username;
    },
  };
}
