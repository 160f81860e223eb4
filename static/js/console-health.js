// Whether everything works: the parts, as the server says it.

import { api, Problem, t, when } from "./api.js";
import { element, place } from "./ui.js";
import { atRoot, badge, named } from "./console.js";

const KINDS = { ok: "good", degraded: "warn", unavailable: "bad" };

async function report() {
  // A server that is not ready says so with 503 and the same body.
  try {
    return await api("GET", atRoot("/health/ready"));
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 503 && problem.body.status) return problem.body;
    throw problem;
  }
}

async function show() {
  try {
    const [health, { version }] = await Promise.all([report(), api("GET", atRoot("/version"))]);
    place("overall").className = health.status === "ok" ? "flash" : health.status === "degraded" ? "flash note" : "problem";
    place("overall").textContent = t(`console.health.${health.status}`);
    place("version").textContent = t("console.health.version", { version });
    place("parts").replaceChildren(...Object.entries(health.parts ?? {}).map(([name, state]) => {
      const [word, ...rest] = state.split(": ");
      return element("div", { class: "tile" },
        element("div", { class: "row apart" }, element("strong", {}, named("console.part", name)), badge(named("console.condition", word), KINDS[word] ?? "")),
        rest.length ? element("p", { class: "small" }, rest.join(": ")) : null);
    }));
    place("looked").textContent = t("console.health.looked", { time: when(Date.now() / 1000) });
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    place("overall").className = "problem";
    place("overall").textContent = problem.message;
  }
}

place("again").addEventListener("click", show);
show();
setInterval(() => { if (!document.hidden) show(); }, 15000);
