// The table of services: what there is beside people's servers, and where it runs.
import { api } from "./api.js";
import { keepLooking } from "./admin-common.js";
import { make, show, t } from "./ui.js";

export function mount(place, { problem }) {
  let drawn = "";
  const rows = make("tbody");
  const head = [t("Service"), t("Address"), t("Run by"), t("Roles")].map((text) => make("th", { scope: "col", text }));
  const table = make("table", { class: "stacked admin-table", "aria-label": t("Services") }, make("thead", {}, make("tr", {}, ...head)), rows);
  const empty = make("p", { class: "empty", text: t("There are no services. They are added in the configuration, or over the API."), hidden: true });

  function draw(service) {
    const who = make("td", { class: "admin-user" }, make("span", { class: "admin-user-name", text: service.name }));
    if (service.admin) who.append(make("span", { class: "badge", text: t("admin") }));
    const where = make("td", { dataset: { label: t("Address") } });
    if (service.prefix) where.append(make("a", { href: service.prefix, text: service.prefix }), make("span", { class: "muted admin-upstream", text: service.url }));
    else where.append(make("span", { class: "muted", text: t("none: it only asks the API") }));
    const run = make("td", { dataset: { label: t("Run by") } });
    if (service.command?.length) {
      run.append(service.pid ? t("the hub, as process {pid}", { pid: service.pid }) : make("span", { class: "state state-stopped", text: t("not running") }), make("code", { class: "admin-command", text: service.command.join(" ") }));
    } else run.append(make("span", { class: "muted", text: t("somebody else") }));
    return make("tr", {}, who, where, run, make("td", { dataset: { label: t("Roles") }, text: (service.roles || []).join(", ") || "–" }));
  }

  async function load() {
    try {
      const services = Object.values(await api("GET", "services")).sort((a, b) => a.name.localeCompare(b.name));
      const text = JSON.stringify(services);
      if (text !== drawn) rows.replaceChildren(...services.map(draw));
      drawn = text;
      table.hidden = !services.length;
      empty.hidden = Boolean(services.length);
      place.dataset.loaded = "1";
    } catch (error) {
      show(problem, error.message);
    }
  }

  place.append(make("section", { class: "card admin-card", "aria-label": t("Services") }, table, empty));
  load();
  const end = keepLooking(async () => {
    await load();
    return 10_000;
  });
  return { show: load, close: end };
}
