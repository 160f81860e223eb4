// What other systems are told: the feed, the newest first, and telling it again.

import { answer, api, t, when } from "./api.js";
import { busy, confirm, element, place, say } from "./ui.js";
import { asJson, asked, badge, fill, filters, listing, may, remember, someone } from "./console.js";
import { picker } from "./picker.js";

const SPANS = { hour: 3600, day: 86400, week: 604800, all: null };
/** What keeps an event from the message broker. */
const TROUBLES = {
  parked: "console.events.parked",
  held: "console.events.held",
  skipped: "console.events.skipped",
  unrouted: "console.events.unrouted",
};
/** As many are read at once; the feed is told oldest first, so the newest are found by reading on. */
const MOST = 1000;

const list = listing(place("list"), {
  none: "console.events.none",
  async load(cursor) {
    const given = asked();
    const query = new URLSearchParams({ limit: MOST });
    const span = SPANS[given.get("span") || "day"];
    if (span) query.set("range_start", Math.floor(Date.now() / 1000) - span);
    if (given.get("type")) query.set("events", given.get("type"));
    if (given.get("user")) query.set("user_id", given.get("user"));
    if (cursor) query.set("after", cursor);
    const rows = await (await answer("GET", `/admin/events?${query}`)).json();
    const more = rows.length === MOST ? rows.at(-1).event_id : null;
    return { rows: rows.reverse(), more };
  },
  row(event) {
    const details = element("details", {}, element("summary", {}, element("code", {}, event.event_type)));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) {
        details.append(asJson({ event_id: event.event_id, sequence: event.sequence, position: event.position, trace_id: event.trace_id, data: event.data }));
      }
    });
    return fill("row", {
      time: element("time", { datetime: event.timestamp }, when(Date.parse(event.timestamp) / 1000)),
      type: details,
      user: someone(event.user_id),
      sequence: event.sequence,
      state: stateOf(event),
      act: may("events:replay") && [event.trouble === "parked" && skip(event), replay(event)],
    });
  },
});

function stateOf({ published_at: published, trouble }) {
  if (trouble) return badge(t(TROUBLES[trouble]), "bad");
  return published ? badge(t("console.events.published"), "good") : badge(t("console.events.kept"));
}

const which = (event) => ({ type: event.event_type, number: event.sequence });

function replay(event) {
  const button = element("button", { type: "button", class: "quiet small", "aria-label": t("console.events.replay_one", which(event)) }, t("console.events.replay"));
  button.addEventListener("click", () => busy(button, async () => {
    const { replayed } = await api("POST", `/admin/events/${event.event_id}/replay`);
    say(t("console.events.replayed", { count: replayed }));
  }));
  return button;
}

/** Gives up what the broker refuses, so that what waits behind it goes on. */
function skip(event) {
  const button = element("button", { type: "button", class: "quiet small bad", "aria-label": t("console.events.skip_one", which(event)) }, t("console.events.skip"));
  button.addEventListener("click", async () => {
    if (!(await confirm(t("console.events.sure_skip", which(event)), t("console.events.skip")))) return;
    await busy(button, async () => {
      const { released } = await api("POST", `/admin/events/${event.event_id}/skip`);
      say(t("console.events.skip_done", { count: released }));
      list.show();
    });
  });
  return button;
}

const chooser = picker(place("who"), (uuid) => {
  remember({ user: uuid }, true);
  list.show();
});
const fromAddress = () => chooser.set(asked().get("user"));
addEventListener("popstate", fromAddress);
fromAddress();
filters(place("filters"), list.show);
list.show();
