// Small charts as inline SVG: attributes and classes only, so that no policy against inline styles is in their way.
import { language, t } from "./ui.js";

const NS = "http://www.w3.org/2000/svg";
const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [136, 38, 4, 8, 20];

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The next "round" number that is not less: 1, 2, 5, 10, 20 … */
function roundUp(value, least) {
  let size = 10 ** Math.floor(Math.log10(Math.max(value, least)));
  for (const step of [1, 2, 5, 10]) if (size * step >= value) return Math.max(size * step, least);
  return value;
}

const clock = (date) => date.toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });

/**
 * A chart, ``width`` pixels wide, with a place for each minute. ``parts(minute)`` gives what stands there as [class, from, to], and
 * ``say(minute)`` the same in words, shown when one points at it; ``summary`` is for those who do not see it.
 */
export function perMinute({ width, minutes, parts, say, most, least, unit = "", summary, legend }) {
  const top = roundUp(most, least);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(value, top) / top);
  const step = (width - LEFT - RIGHT) / minutes.length;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": summary });
  for (const value of [top, top / 2]) {
    chart.append(
      svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, `${Number(value.toPrecision(3)).toLocaleString(language)}${unit}`),
    );
  }
  minutes.forEach((minute, place) => {
    const x = LEFT + place * step;
    for (const [kind, from, to] of parts(minute)) {
      const height = Math.max(y(from) - y(to), to > from ? 1.5 : 0);
      chart.append(svg("rect", { class: kind, x: x + step * 0.12, width: step * 0.76, y: y(from) - height, height, rx: 1 }));
    }
    const words = say(minute);
    if (words) chart.append(svg("rect", { class: "hit", x, width: step, y: TOP, height: HEIGHT - TOP - BOTTOM }, svg("title", {}, `${clock(minute.at)} – ${words}`)));
  });
  chart.append(svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(0), y2: y(0) }));
  for (const [place, anchor] of [[0, "start"], [Math.floor(minutes.length / 2), "middle"], [minutes.length - 1, "end"]]) {
    const x = anchor === "end" ? width - RIGHT : LEFT + place * step;
    chart.append(svg("text", { x, y: HEIGHT - 4, "text-anchor": anchor }, anchor === "end" ? t("now") : clock(minutes[place].at)));
  }
  const list = document.createElement("ul");
  list.className = "legend";
  for (const [kind, words] of legend) {
    const item = document.createElement("li");
    item.append(svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { class: kind, width: 10, height: 10, rx: 2 })), words);
    list.append(item);
  }
  return [chart, list];
}
