// The table of groups: how many are in them, and what is said about them.
import { api, escapeName } from "./api.js";
import { field, formDialog, keepLooking, number, pager, settled, tell } from "./admin-common.js";
import { confirmed, make, show, t } from "./ui.js";

const path = (name) => `groups/${escapeName(name)}`;

export function mount(place, { address, problem }) {
  let asked = 0;
  let drawn = "";
  const rows = make("tbody");
  const head = [t("Group"), t("Members"), t("Properties")].map((text) => make("th", { scope: "col", text }));
  head.push(make("th", { scope: "col" }, make("span", { class: "visually-hidden", text: t("Actions") })));
  const table = make("table", { class: "stacked admin-table", "aria-label": t("Groups") }, make("thead", {}, make("tr", {}, ...head)), rows);
  const empty = make("p", { class: "empty", hidden: true });
  const pages = pager((offset) => {
    address.set({ offset: offset || "" });
    load();
  });
  const search = make("input", { class: "form-control", type: "search", placeholder: t("Part of a name"), "aria-label": t("Find groups"), autocomplete: "off" });
  search.addEventListener("input", settled(() => {
    address.set({ name_filter: search.value.trim(), offset: "" }, { replace: true });
    load();
  }));
  const add = make("button", { class: "button button-primary", type: "button", text: t("New group…") });
  add.addEventListener("click", makeGroup);

  async function makeGroup() {
    const name = make("input", { class: "form-control", maxlength: 255, autocomplete: "off" });
    const members = make("textarea", { class: "form-control", rows: 5, spellcheck: "false", autocapitalize: "none" });
    const done = await formDialog({
      title: t("New group"),
      body: [field(t("Name"), name), field(t("Members"), members, t("Names of users, with spaces, commas or lines between them. May be empty."))],
      yes: t("Create"),
      work() {
        if (!name.value.trim()) throw new Error(t("Give the group a name."));
        return api("POST", path(name.value.trim()), { users: members.value.split(/[\s,;]+/).filter(Boolean) });
      },
    });
    if (!done) return;
    const made = name.value.trim();
    tell(t("The group {name} was made.", { name: made }), () => attempt(() => api("DELETE", path(made))));
    load();
  }

  /** Do something outside of a dialog; say what went wrong, and show what has become of it. */
  async function attempt(work) {
    show(problem, "");
    try {
      await work();
    } catch (error) {
      show(problem, error.message);
    }
    load();
  }

  async function edit(group) {
    const text = make("textarea", { class: "form-control admin-json", rows: 10, spellcheck: "false" });
    text.value = JSON.stringify(group.properties || {}, null, 2);
    const done = await formDialog({
      title: t("Properties of {name}", { name: group.name }),
      body: [field(t("A JSON object"), text, t("Spawners and authenticators may read them: limits, images, whatever the deployment means by them."))],
      yes: t("Save"),
      large: true,
      work() {
        let properties;
        try {
          properties = JSON.parse(text.value || "{}");
        } catch (error) {
          text.focus();
          throw new Error(t("This is not JSON: {error}", { error: error.message }));
        }
        return api("PUT", `${path(group.name)}/properties`, properties);
      },
    });
    if (!done) return;
    tell(t("Properties of {name} changed.", { name: group.name }), () => attempt(() => api("PUT", `${path(group.name)}/properties`, group.properties || {})));
    load();
  }

  async function remove(group) {
    const text = t("Its {n} members stay, without what they may do as members. This cannot be undone.", { n: number(group.user_count || 0) });
    if (await confirmed(t("Delete the group {name}?", { name: group.name }), text, t("Delete"))) attempt(() => api("DELETE", path(group.name)));
  }

  function draw(group) {
    const properties = Object.entries(group.properties || {}).map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(", ");
    const button = (text, work, more = "") => {
      const made = make("button", { class: `button button-small${more}`, type: "button", text, "aria-label": `${text} ${group.name}`, dataset: { key: `${text} ${group.name}` } });
      made.addEventListener("click", work);
      return made;
    };
    const members = make("a", { href: `?view=users&group=${encodeURIComponent(group.name)}`, text: number(group.user_count ?? 0), "aria-label": t("{n} members of {name}", { n: number(group.user_count ?? 0), name: group.name }) });
    return make(
      "tr",
      {},
      make("td", { class: "admin-user" }, make("span", { class: "admin-user-name", text: group.name })),
      make("td", { dataset: { label: t("Members") } }, members),
      make("td", { class: "admin-properties", dataset: { label: t("Properties") }, text: properties || "–" }),
      make("td", { class: "actions" }, button(t("Properties…"), () => edit(group)), button(t("Delete…"), () => remove(group))),
    );
  }

  async function load({ quiet = false } = {}) {
    asked += 1;
    const mine = asked;
    if (document.activeElement !== search) search.value = address.get("name_filter");
    const limit = Number(place.dataset.pageLimit) || 50;
    const asks = new URLSearchParams({ include_users: 0, name_filter: address.get("name_filter"), offset: Number(address.get("offset")) || 0, limit });
    try {
      const page = await api("GET", `groups?${asks}`);
      if (mine !== asked) return;
      const text = JSON.stringify(page.items);
      if (text !== drawn) {
        const key = rows.contains(document.activeElement) ? document.activeElement.dataset.key : null;
        rows.replaceChildren(...page.items.map(draw));
        if (key) rows.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
        drawn = text;
      }
      table.hidden = !page.items.length;
      empty.hidden = Boolean(page.items.length);
      empty.textContent = address.get("name_filter") ? t("No group like that.") : t("There are no groups yet.");
      pages.element.hidden = !page.items.length;
      pages.show(page._pagination, page.items.length);
      if (!quiet) show(problem, "");
      place.dataset.loaded = String(mine);
    } catch (error) {
      if (mine === asked) show(problem, error.message);
    }
  }

  place.append(make("section", { class: "card admin-card", "aria-label": t("Groups") }, make("div", { class: "admin-tools" }, search, make("div", { class: "admin-tools-right" }, add)), table, empty, make("div", { class: "admin-below" }, pages.element)));
  load();
  const end = keepLooking(async () => {
    await load({ quiet: true });
    return 10_000;
  });
  return {
    show: () => load(),
    close() {
      end();
      asked += 1;
    },
  };
}
