// Asks who one is, where the API wants it proved again; then the same request is sent once more.

import { api, Problem } from "./api.js";
import { ask, place } from "./ui.js";
import { showProblem } from "./forms.js";

let asking = null;

/** Whether the person proved who they are. Two requests that ask at once share one dialog. */
export function proveWhoYouAre() {
  asking ??= askOnce().finally(() => { asking = null; });
  return asking;
}

/** Who has no password proves who they are where they sign in, and comes back to this page. */
async function leaveFor(provider, form) {
  const json = { redirect_uri: location.pathname };
  const code = form.elements.otp_code.value.replace(/\s/g, "");
  if (code) json.otp_code = code;
  try {
    const path = `/oauth/${encodeURIComponent(provider)}/reauthenticate`;
    location.assign((await api("POST", path, { json })).authorization_url);
  } catch (problem) {
    showProblem(form, problem);
  }
}

async function askOnce() {
  const dialog = place("prove");
  if (!dialog) {
    return false;
  }
  const form = dialog.querySelector("form");
  form.reset();
  showProblem(form, null);
  let proved = false;
  const send = async (event) => {
    if (event.submitter?.value === "") return; // left: the dialog closes by itself
    event.preventDefault();
    const given = new FormData(form);
    const json = { password: given.get("password") };
    if (given.get("otp_code")) json.otp_code = given.get("otp_code").replace(/\s/g, "");
    try {
      await api("POST", "/auth/reauthenticate", { json });
      proved = true;
      dialog.close("yes");
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      showProblem(form, problem);
    }
  };
  for (const button of dialog.querySelectorAll("[data-prove]")) {
    button.onclick = () => leaveFor(button.dataset.prove, form);
  }
  form.addEventListener("submit", send);
  await ask("prove");
  form.removeEventListener("submit", send);
  form.reset();
  return proved;
}
