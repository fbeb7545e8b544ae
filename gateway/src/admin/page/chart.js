// Small charts as inline SVG. The shapes scale with the page; labels are HTML, so that they stay
// readable on a phone.

import { el, svg } from "./dom.js";
import { clock, count, outcomeText } from "./format.js";

const WIDTH = 900;
const HEIGHT = 140;

/** Returns the next round number above a value. */
function roundUp(value) {
  if (value <= 0) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * size).find((step) => step >= value);
}

function frame(label, shapes, top, slots) {
  const lines = [0.25, 0.5, 0.75].map((part) => svg("line", {
    x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part, class: "grid",
  }));
  const picture = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label,
  }, ...lines, ...shapes);
  return el("div", { class: "chart" }, el("span", { class: "chart-top" }, top), picture,
    el("div", { class: "chart-times" }, el("span", {}, slots.first), el("span", {}, slots.last)));
}

function slotsOf(rates, capacity) {
  const seconds = (rates[0]?.seconds ?? 10) * capacity;
  return { first: `${Math.round(seconds / 60)} minutes ago`, last: "now" };
}

/** Draws stacked bars of deliveries a second, one bar for each interval. */
export function rateChart(rates, outcomes, capacity, label) {
  const perSecond = (rate, outcome) => (rate.outcomes?.[outcome] ?? 0) / (rate.seconds || 10);
  const totals = rates.map((rate) => outcomes.reduce((sum, name) => sum + perSecond(rate, name), 0));
  const top = roundUp(Math.max(...totals, 0.1));
  const step = WIDTH / capacity;
  const shapes = rates.map((rate, index) => {
    const x = WIDTH - (rates.length - index) * step;
    let y = HEIGHT;
    const bars = [];
    for (const name of outcomes) {
      const height = (perSecond(rate, name) / top) * HEIGHT;
      if (height <= 0) continue;
      y -= height;
      bars.push(svg("rect", { x: x + step * 0.1, y, width: step * 0.8, height, class: `fill-${name}` }));
    }
    return svg("g", {}, svg("title", {}, rateTitle(rate, outcomes)), ...bars,
      svg("rect", { x, y: 0, width: step, height: HEIGHT, class: "target" }));
  });
  return frame(label, shapes, `${top} a second`, slotsOf(rates, capacity));
}

function rateTitle(rate, outcomes) {
  const parts = outcomes.filter((name) => rate.outcomes?.[name])
    .map((name) => `${count(rate.outcomes[name])} ${outcomeText(name)}`);
  return `${clock(rate.time)}: ${parts.join(", ") || "no deliveries"}`;
}

/** Draws lines for each name of `series`, whose values are read with `value(rate, name)`. */
export function lineChart(rates, series, value, capacity, label, unit) {
  const all = rates.flatMap((rate) => series.map((name) => value(rate, name))).filter(Number.isFinite);
  const top = roundUp(Math.max(...all, 0.1));
  const step = WIDTH / capacity;
  const x = (index) => WIDTH - (rates.length - index - 0.5) * step;
  const shapes = series.map((name) => {
    let path = "";
    let isDown = false;
    rates.forEach((rate, index) => {
      const now = value(rate, name);
      if (!Number.isFinite(now)) { isDown = false; return; }
      const y = HEIGHT - (now / top) * (HEIGHT - 4);
      // A single point needs a length to be visible.
      path += isDown ? `L${x(index)} ${y}` : `M${x(index) - step * 0.4} ${y}H${x(index)}`;
      isDown = true;
    });
    return svg("path", { d: path, class: `line line-${name}`, "vector-effect": "non-scaling-stroke" });
  });
  return frame(label, shapes, `${top} ${unit}`, slotsOf(rates, capacity));
}

/** Draws how full a store is. A store that makes room by itself has the level "calm". */
export function fillBar(part, whole, label, fixed = null) {
  const share = whole > 0 ? Math.min(part / whole, 1) : 0;
  const level = fixed ?? (share >= 0.9 ? "bad" : share >= 0.75 ? "warn" : "good");
  return svg("svg", {
    class: "gauge", viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": label,
  }, svg("rect", { width: 100, height: 6, class: "track" }),
  svg("rect", { width: share * 100, height: 6, class: `level-${level}` }));
}
