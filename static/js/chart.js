// A chart of bars: a picture for who sees it, a table for who hears it. Drawn as SVG, without a library.

import { t } from "./api.js";
import { element } from "./ui.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [640, 240, 48, 28, 26];
/** As many labels fit below. */
const LABELS = 6;

function draw(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The least round number that is not below `most`, so that the lines stand at whole numbers. */
function roundUp(most) {
  if (most <= 4) return 4;
  const step = 10 ** Math.floor(Math.log10(most));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * step).find((value) => value >= most);
}

/** A figure of `bars` (`{label, count}`), their sum, and the same numbers as a table that is heard, not seen. */
export function chart(title, heading, bars, hasSum = true) {
  const language = document.documentElement.lang;
  const compact = new Intl.NumberFormat(language, { notation: "compact" });
  const top = roundUp(Math.max(0, ...bars.map(({ count }) => count)));
  const ground = HEIGHT - BOTTOM;
  const height = (count) => ((ground - TOP) * count) / top;
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", focusable: "false" });
  for (const line of [0, top / 2, top]) {
    const y = ground - height(line);
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y, y2: y }), draw("text", { x: LEFT - 6, y: y + 5, "text-anchor": "end" }, compact.format(line)));
  }
  const width = (WIDTH - LEFT) / bars.length;
  const every = Math.ceil(bars.length / LABELS);
  bars.forEach(({ label, count }, at) => {
    const bar = Math.min(width * 0.74, 90);
    const middle = LEFT + (at + 0.5) * width;
    const words = `${label}: ${count.toLocaleString(language)}`;
    svg.append(draw("rect", { class: "bar", x: middle - bar / 2, y: ground - height(count), width: bar, height: height(count), rx: 2 }, draw("title", {}, words)));
    if (bars.length <= LABELS) svg.append(draw("text", { x: middle, y: ground - height(count) - 7, "text-anchor": "middle" }, count.toLocaleString(language)));
    if ((bars.length - 1 - at) % every === 0) svg.append(draw("text", { x: middle, y: HEIGHT - 5, "text-anchor": at === bars.length - 1 && bars.length > LABELS ? "end" : "middle" }, label));
  });
  const sum = bars.reduce((all, { count }) => all + count, 0);
  const rows = bars.map(({ label, count }) => element("tr", {}, element("th", { scope: "row" }, label), element("td", {}, String(count))));
  const heads = [heading, t("console.number")].map((words) => element("th", { scope: "col" }, words));
  return element("figure", { class: "chart card" },
    element("figcaption", {}, element("span", {}, title), hasSum ? element("span", { class: "soft" }, sum.toLocaleString(language)) : null), svg,
    element("div", { class: "unseen" }, element("table", {}, element("caption", {}, title), element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows))));
}
