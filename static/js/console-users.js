// The list of users: found while one types, a page at a time.

import { api } from "./api.js";
import { ask, place } from "./ui.js";
import { fieldsOf, showProblem, whenSent } from "./forms.js";
import { asked, date, face, fill, filters, listing, pageOf, personLink, roleBadges, stateBadge } from "./console.js";

const SORTS = { "": ["created_at", "desc"], oldest: ["created_at", "asc"], name: ["username", "asc"], changed: ["updated_at", "desc"] };

const list = listing(place("list"), {
  none: "console.users.none",
  load() {
    const given = asked();
    const [sort, order] = SORTS[given.get("sort") ?? ""] ?? SORTS[""];
    const query = { sort, order };
    if (given.get("q")) query.q = given.get("q").replace(/^@/, "");
    if (given.get("role")) query.role = given.get("role");
    const state = given.get("state");
    if (state === "deleted") query.deleted = true;
    else if (state) query.is_active = state === "active";
    return pageOf("/user", query);
  },
  row(user) {
    return fill("row", {
      face: face(user.uuid, 28),
      name: personLink(user.uuid, user.display_name || user.username),
      username: `@${user.username}`,
      email: user.email ?? "",
      roles: roleBadges(user.roles),
      state: stateBadge(user),
      created: date(user.created_at),
    });
  },
});
filters(place("filters"), list.show);
list.show();

place("new")?.addEventListener("click", async () => {
  const form = document.querySelector("#make form");
  form.reset();
  showProblem(form, null);
  await ask("make");
});

whenSent(document.querySelector("#make form"), async (form) => {
  const { roles: _, ...json } = fieldsOf(form);
  json.roles = [...form.querySelectorAll("input[name=roles]:checked")].map((box) => box.value);
  const user = await api("POST", "/user", { json });
  location.assign(`/console/users/${user.uuid}`);
});
