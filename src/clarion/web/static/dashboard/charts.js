// Charts, drawn by hand as SVG in the width that there is.

import { h, s } from "./dom.js";
import { dayName } from "./words.js";

/** A chart that is drawn anew when its width changes: `draw(width)` gives an SVG. */
function fitted(className, draw) {
  const element = h("div", { class: className });
  let width = 0;
  new ResizeObserver(() => {
    if (element.clientWidth === width || !element.clientWidth) return;
    width = element.clientWidth;
    element.replaceChildren(draw(width));
  }).observe(element);
  return element;
}

/** How an axis may end, times a power of ten, and in how many parts it then falls. */
const AXES = [[1, 5], [1.5, 3], [2, 4], [3, 3], [4, 4], [5, 5], [6, 3], [8, 4], [10, 5]]; // prettier-ignore

/** The lines of an axis up to at least `most`: a handful, at round figures. */
function lines(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  const [top, parts] = AXES.find(([one]) => one * power >= most);
  return Array.from({ length: parts + 1 }, (_, i) => (i * top * power) / parts).filter(Number.isInteger);
}

const HEIGHT = 208;
const EDGE = { left: 38, right: 2, top: 10, bottom: 24 };

/**
 * Columns, one a day, stacked of `series`: [{ name, tone, values }]. Pointing at a day, or walking there with the arrow
 * keys, shows its figures; a table says the same to who can't see it.
 */
export function columns(days, series) {
  const totals = days.map((_, i) => series.reduce((sum, one) => sum + one.values[i], 0));
  const axis = lines(Math.max(...totals, 4));
  const readout = h("p", { class: "readout", "aria-live": "polite" });
  let chosen = null;

  const tell = (i) => {
    chosen = i;
    const shown = i ?? days.length - 1;
    readout.replaceChildren(
      h("strong", null, shown === days.length - 1 ? "Today" : dayName(days[shown])),
      ...series.map((one) =>
        h(
          "span",
          null,
          h("i", { class: `dot fill-${one.tone}` }),
          `${one.values[shown].toLocaleString("en")} ${one.name}`,
        ),
      ),
    );
    for (const group of chart.querySelectorAll("g.column"))
      group.classList.toggle("chosen", group.dataset.day === String(i));
  };

  const walk = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    tell(Math.min(days.length - 1, Math.max(0, (chosen ?? days.length - (step > 0 ? 1 : 0)) + step)));
  };

  const chart = fitted("chart", (width) => drawColumns(width, days, series, totals, axis, tell));
  chart.addEventListener("pointerleave", () => tell(null));
  const frame = h(
    "div",
    { tabindex: 0, role: "group", "aria-label": "Deliveries by day; arrow keys show a day's figures", onkeydown: walk },
    readout,
    chart,
  );
  frame.addEventListener("blur", () => tell(null));
  tell(null);
  return h("div", { class: "columns" }, frame, tableOf(days, series));
}

function drawColumns(width, days, series, totals, axis, tell) {
  const inner = { width: width - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const slot = inner.width / days.length;
  const bar = Math.min(34, slot * 0.62);
  const y = (value) => EDGE.top + inner.height * (1 - value / axis.at(-1));
  return s(
    "svg",
    { width, height: HEIGHT, "aria-hidden": "true" },
    axis.map((value) => [
      s("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
      s("text", { class: "tick", x: EDGE.left - 8, y: y(value) + 4, "text-anchor": "end" }, short(value)),
    ]),
    days.map((day, i) => {
      const left = EDGE.left + slot * i;
      const last = i === days.length - 1;
      const tight = last && slot < 40;
      const below = { x: tight ? width : left + slot / 2, "text-anchor": tight ? "end" : "middle" };
      const labelled = (days.length - 1 - i) % Math.ceil(44 / slot) === 0;
      return s(
        "g",
        { class: "column", "data-day": i, onpointerenter: () => tell(i) },
        s("rect", { class: "slot", x: left, y: EDGE.top, width: slot, height: inner.height, rx: 5 }),
        stacked(
          series.map((one) => [one.tone, one.values[i]]),
          totals[i],
          left + (slot - bar) / 2,
          bar,
          y,
        ),
        labelled &&
          s(
            "text",
            { class: "tick", y: HEIGHT - 6, ...below },
            last ? "Today" : dayName(day, { day: "numeric", month: slot > 60 ? "short" : undefined }),
          ),
      );
    }),
  );
}

/** The parts of one column, lowest first, its top rounded. */
function stacked(parts, total, x, width, y) {
  let below = 0;
  return parts
    .filter(([, value]) => value > 0)
    .map(([tone, value]) => {
      const [high, low] = [y(below + value), y(below)];
      below += value;
      // Nothing that happened is too little to be seen.
      const height = Math.max(low - high - (below < total ? 1 : 0), 1.5);
      const round = below === total ? Math.min(5, width / 2, height) : 0;
      const edge = `a${round} ${round} 0 0 1 `;
      const d =
        `M${x} ${low}V${low - height + round}${edge}${round} ${-round}` +
        `H${x + width - round}${edge}${round} ${round}V${low}Z`;
      return s("path", { class: `fill-${tone}`, d });
    });
}

function tableOf(days, series) {
  const row = (day, i) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, dayName(day)),
      series.map((one) => h("td", null, one.values[i])),
    );
  const head = ["Day", ...series.map((one) => one.name)].map((name) => h("th", { scope: "col" }, name));
  const table = h(
    "table",
    null,
    h("caption", null, "Deliveries by day (UTC)"),
    h("thead", null, h("tr", null, head)),
    h("tbody", null, days.map(row)),
  );
  return h("div", { class: "unseen" }, table);
}

/** 1200: "1.2k". */
function short(value) {
  return new Intl.NumberFormat("en", { notation: "compact" }).format(value).toLowerCase();
}

/** The shape of some weeks in a small line. */
export function sparkline(values, tone) {
  return fitted(`spark tone-${tone}`, (width) => {
    const height = 30;
    const top = Math.max(...values, 1);
    const points = values.map((value, i) => [
      1 + (i * (width - 2)) / (values.length - 1),
      height - 2 - ((height - 5) * value) / top,
    ]);
    const line = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    return s(
      "svg",
      { width, height, "aria-hidden": "true" },
      s("polygon", { class: "spark-area", points: `1,${height} ${line} ${width - 1},${height}` }),
      s("polyline", { class: "spark-line", points: line }),
    );
  });
}

/** Bars that lie, with names at their left and figures at their right: [{ name, parts: [[tone, value]], note }]. */
export function bars(rows) {
  const most = Math.max(1, ...rows.map((row) => total(row)));
  return h(
    "ul",
    { class: "bars" },
    rows.map((row) =>
      h(
        "li",
        { title: row.note },
        h("span", { class: "bars-name clip" }, row.name),
        h(
          "span",
          { class: "bars-track", "aria-hidden": "true" },
          h(
            "span",
            { class: "bar", style: { width: `${(100 * total(row)) / most}%` } },
            row.parts
              .filter(([, value]) => value > 0)
              .map(([tone, value]) => h("span", { class: `fill-${tone}`, style: { "flex-grow": value } })),
          ),
        ),
        h("span", { class: "bars-figure" }, total(row).toLocaleString("en")),
      ),
    ),
  );
}

const total = (row) => row.parts.reduce((sum, [, value]) => sum + value, 0);
