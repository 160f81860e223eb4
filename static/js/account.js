// The pages of the account: each button with `data-act` does one thing through the API.

import { api, t } from "./api.js";
import { ask, busy, confirm, copy, element, place, save, say, sayNext } from "./ui.js";
import { showProblem } from "./forms.js";

const me = document.querySelector("meta[name=me]").content;

function again(words) {
  sayNext(words);
  location.reload();
}

/** Recovery codes are shown once: what is not kept now is gone. */
// They are shown once: a key must not throw them away.
place("codes")?.addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.preventDefault();
});

async function showCodes(codes) {
  place("codes-list").replaceChildren(...codes.map((code) => element("li", {}, code)));
  await ask("codes");
  place("codes-list").replaceChildren();
  again(t("account.done"));
}

const codesShown = () => [...place("codes-list").children].map((item) => item.textContent).join("\n") + "\n";

const acts = {
  picture: () => place("picture-file").click(),
  async "no-picture"() {
    await api("DELETE", `/user/${me}/image`);
    again(t("account.saved"));
  },
  async "prove-email"() {
    await api("POST", "/auth/email/verify/request", { json: {} });
    say(t("account.email_asked"));
  },
  async "mail-reset"() {
    await api("GET", "/auth/password/reset");
    say(t("account.reset_mailed"));
  },
  async authenticator() {
    const seed = await api("GET", "/auth/QR");
    place("otp-qr").src = `data:image/png;base64,${seed.qr}`;
    place("otp-secret").textContent = seed.secret;
    place("otp-form").dataset.api = "PATCH /auth/OTP/authenticator";
    enrol(t("account.otp_scan"), true);
  },
  async "code-by-mail"() {
    await api("POST", "/auth/OTP/send", { json: {} });
    place("otp-form").dataset.api = "PATCH /auth/OTP/email";
    enrol(t("account.otp_mailed"), false);
  },
  async "send-code"() {
    await api("POST", "/auth/OTP/send", { json: {} });
    say(t("account.otp_mailed"));
  },
  "copy-secret": () => copy(place("otp-secret").textContent),
  "copy-codes": () => copy(codesShown()),
  "save-codes": () => save("recovery-codes.txt", new Blob([codesShown()], { type: "text/plain" })),
  "print-codes": () => print(),
  async "end-session"({ id }) {
    await api("DELETE", `/auth/sessions/${encodeURIComponent(id)}`);
    again(t("account.session_ended"));
  },
  async "end-others"() {
    if (!(await confirm(t("account.sessions_sure"), t("account.sessions_end_others")))) return;
    await api("DELETE", "/auth/sessions");
    again(t("account.session_ended"));
  },
  async link({ provider }) {
    const path = `/oauth/${encodeURIComponent(provider)}/link`;
    const json = { redirect_uri: "/account/connections" };
    if (provider === "bluesky") {
      const handle = prompt(t("account.handle"));
      if (!handle) return;
      json.handle = handle;
    }
    location.assign((await api("POST", path, { json })).authorization_url);
  },
  async unlink({ provider }) {
    if (!(await confirm(t("account.unlink_sure"), t("account.unlink")))) return;
    await api("POST", `/oauth/${encodeURIComponent(provider)}/unlink`);
    again(t("account.saved"));
  },
  async unblock({ id }) {
    await api("PATCH", `/user/${me}/blocked_users?remove=${encodeURIComponent(id)}`);
    again(t("account.saved"));
  },
  async undo({ field, value }) {
    await api("PATCH", `/user/${me}`, { json: { [field]: value } });
    again(t("account.undone"));
  },
  async delete() {
    if (!(await confirm(t("account.delete_sure"), t("account.delete_act")))) return;
    await api("DELETE", `/user/${me}`);
    location.assign("/signin?done=deleted");
  },
};

function enrol(words, withSeed) {
  place("otp-scan").textContent = words;
  place("otp-seed").hidden = !withSeed;
  place("otp-enrol").hidden = false;
  place("otp_code").focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button && acts[button.dataset.act]) {
    busy(button, () => acts[button.dataset.act](button.dataset));
  }
});

place("picture-file")?.addEventListener("change", async ({ target }) => {
  const { takePicture } = await import("./picture.js");
  await takePicture(me, target);
});

for (const id of ["otp-form", "codes-form"]) {
  place(id)?.addEventListener("answered", ({ detail }) => {
    if (detail?.recovery_codes) showCodes(detail.recovery_codes);
    else again(t("account.done"));
  });
}

// A name becomes an account, then that is blocked: the list holds accounts, which keep when names change.
place("block-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const name = form.elements.username.value.trim().replace(/^@/, "");
  showProblem(form, null);
  try {
    const { uuid } = await api("GET", `/user/@${encodeURIComponent(name)}`);
    await api("PATCH", `/user/${me}/blocked_users?add=${encodeURIComponent(uuid)}`);
    again(t("account.blocked_now"));
  } catch (problem) {
    showProblem(form, problem);
  }
});
