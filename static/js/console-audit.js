// What staff did.

import { t } from "./api.js";
import { element, place } from "./ui.js";
import { asJson, asked, fill, filters, listing, moment, named, pageOf, remember, someone } from "./console.js";
import { picker } from "./picker.js";

/** What was done; what is done to an account is called as in its history. */
const deed = (action) => named("history", named("console.deed", action));

const list = listing(place("list"), {
  none: "console.audit.none",
  load() {
    const given = asked();
    const query = {};
    for (const name of ["actor", "subject", "action"]) {
      if (given.get(name)) query[name] = given.get(name);
    }
    for (const [name, part] of [["from", "range_start"], ["until", "range_end"]]) {
      const day = Date.parse(given.get(name) ?? "");
      if (!Number.isNaN(day)) query[part] = Math.floor(day / 1000) + (name === "until" ? 86400 : 0);
    }
    return pageOf("/admin/audit", query);
  },
  row(entry) {
    const details = element("details", {}, element("summary", {}, deed(entry.action)));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) {
        details.append(asJson({ ...entry.details, trace_id: entry.trace_id, hash: entry.hash }));
      }
    });
    return fill("row", {
      number: entry.number,
      time: moment(entry.time),
      actor: entry.actor ? someone(entry.actor) : t("console.audit.operator"),
      action: details,
      subject: entry.subject_type === "user" && entry.subject ? someone(entry.subject) : [named("console.subject", entry.subject_type), entry.subject && element("span", { class: "soft", title: entry.subject }, ` ${entry.subject.slice(0, 8)}`)],
    });
  },
});

const choosers = ["actor", "subject"].map((name) => [name, picker(place(name), (uuid) => {
  remember({ [name]: uuid, page: "" }, true);
  list.show();
})]);
const fromAddress = () => choosers.forEach(([name, chooser]) => chooser.set(asked().get(name)));
addEventListener("popstate", fromAddress);
fromAddress();
filters(place("filters"), list.show);
list.show();
