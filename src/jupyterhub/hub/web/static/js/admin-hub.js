// The view of the hubs themselves: what runs, how starts go, what fails. Looked at again every few seconds.
import { keepLooking } from "./admin-common.js";
import { api } from "./api.js";
import { perMinute } from "./charts.js";
import { duration, language, make, relative, show, t } from "./ui.js";

const LOOK_EVERY_MS = 5000;
const MINUTES = 60;
const number = (value) => value.toLocaleString(language);
const byId = (id) => document.getElementById(id);
const brief = (seconds) => (seconds < 1 ? t("{ms} ms", { ms: Math.max(1, Math.round(seconds * 1000)) }) : seconds < 10 ? t("{s} s", { s: Number(seconds.toFixed(1)).toLocaleString(language) }) : duration(seconds));
const moment = (text) => make("time", { datetime: text, title: new Date(text).toLocaleString(language), text: relative(new Date(text)) });

const figure = (label, value, isBad = false) => make("div", { class: isBad ? "is-bad" : null }, make("dt", { text: label }), make("dd", { text: number(value) }));

/** All minutes of the last hour, with what ended in them. */
function minutesOf(status) {
  const known = new Map(status.starts.map((part) => [Date.parse(part.minute), part]));
  const last = Math.floor(Date.parse(status.at) / 60_000) * 60_000;
  return Array.from({ length: MINUTES }, (_, place) => {
    const at = last - (MINUTES - 1 - place) * 60_000;
    return { at: new Date(at), succeeded: 0, failed: 0, mean_s: null, longest_s: null, ...known.get(at) };
  });
}

function drawCharts(status) {
  const minutes = minutesOf(status);
  const sum = (key) => minutes.reduce((total, minute) => total + minute[key], 0);
  const [succeeded, failed] = [sum("succeeded"), sum("failed")];
  const longest = Math.max(0, ...minutes.map((minute) => minute.longest_s || 0));
  const width = Math.max(240, byId("chart-starts").clientWidth);
  byId("chart-starts").replaceChildren(...perMinute({
    width,
    minutes,
    parts: (m) => [["good", 0, m.succeeded], ["bad", m.succeeded, m.succeeded + m.failed]],
    say: (m) => (m.succeeded + m.failed ? t("{ok} started, {bad} failed", { ok: m.succeeded, bad: m.failed }) : ""),
    most: Math.max(...minutes.map((m) => m.succeeded + m.failed)),
    least: 4,
    summary: t("Starts per minute in the last hour: {ok} started, {bad} failed", { ok: succeeded, bad: failed }),
    legend: [["good", t("started")], ["bad", t("failed")]],
  }));
  byId("chart-durations").replaceChildren(...perMinute({
    width,
    minutes,
    parts: (m) => (m.succeeded ? [["range", m.mean_s, m.longest_s], ["good", 0, m.mean_s]] : []),
    say: (m) => (m.succeeded ? t("{mean} on the average, {longest} the slowest", { mean: brief(m.mean_s), longest: brief(m.longest_s) }) : ""),
    most: longest,
    least: 1,
    unit: t(" s"),
    summary: succeeded ? t("Durations of starts in the last hour: the slowest took {longest}", { longest: brief(longest) }) : t("No starts in the last hour"),
    legend: [["good", t("mean")], ["range", t("slowest")]],
  }));
  return { succeeded, failed };
}

function drawHubs(status) {
  byId("hub-list").replaceChildren(...status.hubs.map((hub) => make("li", {},
    // after the host's name stands what tells it from others of the same name, if anything does
    make("span", { title: hub.id, text: t("{host}, process {pid}", { host: hub.host.split(" ")[0], pid: hub.pid }) }),
    hub.leads && make("span", { class: "badge", text: t("leads") }) || "",
    hub.answers && status.hubs.length > 1 && make("span", { class: "badge", text: t("answers this page") }) || "",
    make("span", { class: "muted" }, t("started"), " ", moment(hub.started), " · ", t("heartbeat"), " ", moment(hub.heartbeat)),
  )));
  const { database, proxy } = status;
  byId("hub-parts").replaceChildren(
    make("li", {},
      make("span", { text: { sqlite: "SQLite", postgresql: "PostgreSQL", mysql: "MySQL", mariadb: "MariaDB" }[database.engine] || database.engine }),
      make("span", { class: "state state-running", text: t("answers") }),
      make("span", { class: "muted", text: t("within {time}", { time: brief(database.took_s) }) })),
    make("li", {},
      make("span", { text: proxy.name }),
      make("span", { class: proxy.problem ? "state state-failed" : "state state-running", text: proxy.problem ? t("does not answer") : t("answers") }),
      make("span", { class: "muted", text: proxy.problem || t("{n} routes, within {time}", { n: number(proxy.routes), time: brief(proxy.took_s) }) })));
}

/** Failures by reason, the latest first; which are open stays so. */
function drawFailures(failures) {
  const place = byId("hub-failures");
  const open = new Set([...place.querySelectorAll("details[open]")].map((details) => details.dataset.reason));
  const focused = document.activeElement?.closest?.("#hub-failures details")?.dataset.reason;
  const reasons = Map.groupBy ? Map.groupBy(failures, (f) => f.reason) : failures.reduce((all, f) => all.set(f.reason, [...(all.get(f.reason) || []), f]), new Map());
  if (!failures.length) {
    place.replaceChildren(make("p", { class: "empty", text: t("None.") }));
    return;
  }
  const items = [...reasons].map(([reason, those]) => make("li", {}, make("details", { open: open.has(reason), dataset: { reason } },
    make("summary", {}, make("span", { class: "reason", text: reason || t("No reason is known.") }), make("span", { class: "muted" }, `${number(those.length)} × · `, moment(those[0].minute))),
    make("table", { class: "stacked" },
      make("thead", {}, make("tr", {}, ...[t("Server"), t("When"), t("After")].map((text) => make("th", { scope: "col", text })))),
      make("tbody", {}, ...those.map((f) => make("tr", {},
        make("td", { "data-label": t("Server"), text: f.server ? `${f.user} / ${f.server}` : f.user }),
        make("td", { "data-label": t("When") }, moment(f.minute)),
        make("td", { "data-label": t("After"), text: brief(f.took_s) })))))),
  ));
  place.replaceChildren(make("ul", { class: "reasons", "aria-labelledby": "hub-failures-heading" }, ...items));
  if (focused !== undefined) [...place.querySelectorAll("details")].find((d) => d.dataset.reason === focused)?.querySelector("summary").focus();
}

let drawn = "";
let last = null;
function draw(status) {
  last = status;
  byId("hub-status-at").textContent = t("as of {time}", { time: new Date(status.at).toLocaleTimeString(language) });
  byId("hub-status-body").hidden = false;
  const now = JSON.stringify(status);
  if (now === drawn) return;
  drawn = now;
  const { succeeded, failed } = drawCharts(status);
  const { servers } = status;
  byId("hub-figures").replaceChildren(
    figure(t("Servers running"), servers.ready + servers.checking),
    figure(t("Starting"), servers.starting),
    figure(t("Stopping"), servers.stopping),
    figure(t("Users"), status.database.users),
    figure(t("Starts, last hour"), succeeded + failed),
    figure(t("Failed of these"), failed, failed > 0),
  );
  drawHubs(status);
  drawFailures(status.failures);
}

export function mount(place, { problem }) {
  place.replaceChildren(byId("view-hub").content.cloneNode(true));
  drawn = "";
  last = null;
  const resized = new ResizeObserver(() => last && drawCharts(last));
  resized.observe(byId("chart-starts"));
  async function look() {
    try {
      draw(await api("GET", "status"));
      show(problem, "");
      place.dataset.loaded = "1";
    } catch (error) {
      show(problem, error.message);
    }
  }
  look();
  const end = keepLooking(async () => {
    await look();
    return LOOK_EVERY_MS;
  });
  return {
    show: look,
    close() {
      end();
      resized.disconnect();
    },
  };
}
