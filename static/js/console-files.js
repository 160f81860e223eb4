// The files that people uploaded.

import { answer, api, Problem, t } from "./api.js";
import { ask, busy, confirm, element, place, say } from "./ui.js";
import { showProblem, whenSent } from "./forms.js";
import { asked, bytes, facts, fill, listing, moment, nameThem, pageOf, remember, someone } from "./console.js";

const list = listing(place("list"), {
  none: "console.files.none",
  load: () => pageOf("/file", { order: "desc" }),
  row(file) {
    const link = element("a", { href: `?file=${file.id}` }, file.file_name);
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      remember({ file: file.id }, true);
      open(file);
    });
    return fill("row", { name: link, type: file.file_type, size: bytes(file.size), owner: someone(file.created_by_uuid), created: moment(file.created_at) });
  },
});

// --- one file

const dialog = place("one");
const form = dialog.querySelector("form");
let file = null;

async function open(what) {
  file = what;
  showProblem(form, null);
  form.elements.file_name.value = file.file_name;
  form.elements.description.value = file.description ?? "";
  place("download").href = `${facts.api}/file/${file.id}/file`;
  const rows = [["type", file.file_type], ["size", bytes(file.size)], ["owner", someone(file.created_by_uuid)], ["created", moment(file.created_at)], ["sha256", element("code", {}, file.sha256)]];
  place("facts").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", {}, t(`console.files.${name}`)), element("dd", {}, value)]));
  nameThem([...place("facts").querySelectorAll("a[data-uuid]")]);
  await ask("one");
  remember({ file: "" }, false);
}

async function openAsked() {
  const id = asked().get("file");
  if (!id) return dialog.open && dialog.close("");
  try {
    await open(await api("GET", `/file/${encodeURIComponent(id)}`));
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    say(problem.message, "problem");
  }
}

whenSent(form, async () => {
  const { file_name: name, description } = form.elements;
  await api("PATCH", `/file/${file.id}`, { json: { file_name: name.value.trim(), description: description.value.trim() || null } });
  dialog.close("yes");
  say(t("console.saved"));
  list.show();
});

place("delete")?.addEventListener("click", async () => {
  const { id, file_name: name } = file;
  dialog.close("");
  if (!(await confirm(t("console.files.sure", { name }), t("console.delete")))) return;
  await busy(place("delete"), async () => {
    await api("DELETE", `/file/${id}`);
    say(t("console.files.deleted"));
    list.show();
  });
});

place("upload")?.addEventListener("change", async (event) => {
  const [chosen] = event.target.files;
  if (!chosen) return;
  const body = new FormData();
  body.append("file", chosen);
  await busy(event.target, async () => {
    await answer("POST", "/file", { form: body });
    say(t("console.files.uploaded"));
    list.show();
  });
  event.target.value = "";
});

addEventListener("popstate", () => { openAsked(); list.show(); });
list.show();
openAsked();
