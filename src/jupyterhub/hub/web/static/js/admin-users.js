// The table of users and their servers: one page of it at a time, as the REST API gives it, looked at again every few
// seconds. What can be done with one user can be done with many.
import { api, escapeName, serverPath } from "./api.js";
import { everything, groupInput, job, keepLooking, number, pager, settled, tell } from "./admin-common.js";
import { confirmed, make, show, t, tellTimes } from "./ui.js";

const ME = window.jhdata.user;
const BASE = window.jhdata.base_url;
const FILTERS = ["name_filter", "state", "admin", "group"];
const userPath = (name) => `users/${escapeName(name)}`;
const dialogs = () => import("./admin-dialogs.js");

const running = (user) => Object.values(user.servers || {}).filter((server) => !server.stopped);
const label = (user, server) => (server.name ? `${user.name} / ${server.display_name || server.name}` : user.name);

// -- what can be done, with one or with many

const ACTIONS = {
  start: (users) => {
    const stopped = users.filter((user) => user.servers?.[""]?.stopped ?? true);
    return job({
      items: stopped,
      name: (user) => user.name,
      doing: (n) => t("Starting {n} servers…", { n }),
      done: (n) => t("{n} servers started.", { n }),
      work: (user) => api("POST", serverPath(user.name, "")),
    });
  },
  stop: async (users) => {
    const items = users.flatMap((user) => running(user).map((server) => [user, server]));
    if (!items.length) return tell(t("None of their servers is running."));
    const question = items.length === 1 ? t("Stop the server of {name}?", { name: label(...items[0]) }) : t("Stop {n} servers?", { n: number(items.length) });
    if (!(await confirmed(question, t("What is running in them ends. Files that are saved stay."), t("Stop")))) return null;
    return job({
      items,
      name: (item) => label(...item),
      doing: (n) => t("Stopping {n} servers…", { n }),
      done: (n) => t("{n} servers stopped.", { n }),
      work: ([user, server]) => api("DELETE", serverPath(user.name, server.name)),
    });
  },
  admin: (users) => setAdmin(users, true),
  unadmin: (users) => setAdmin(users, false),
  group: async (users) => (await dialogs()).addToGroup(users),
  ungroup: async (users) => (await dialogs()).removeFromGroup(users),
  delete: async (users) => {
    const items = users.filter((user) => user.name !== ME);
    if (!items.length) return tell(t("You cannot delete yourself."));
    const question = items.length === 1 ? t("Delete {name}?", { name: items[0].name }) : t("Delete {n} users?", { n: number(items.length) });
    const text = t("Their servers are stopped, their tokens and shares are gone. Files in their home are not touched. This cannot be undone.");
    if (!(await confirmed(question, text, t("Delete")))) return null;
    return job({
      items,
      name: (user) => user.name,
      doing: (n) => t("Deleting {n} users…", { n }),
      done: (n) => t("{n} users deleted.", { n }),
      work: (user) => api("DELETE", userPath(user.name)),
    });
  },
};

function setAdmin(users, admin) {
  const items = users.filter((user) => user.admin !== admin && user.name !== ME);
  if (!items.length) return tell(t("There is nothing to change."));
  return job({
    items,
    name: (user) => user.name,
    doing: (n) => (admin ? t("Making {n} users admins…", { n }) : t("Making {n} users ordinary users…", { n })),
    done: (n) => (admin ? t("{n} users made admins.", { n }) : t("{n} users are admins no longer.", { n })),
    work: (user) => api("PATCH", userPath(user.name), { admin }),
    undo: async (changed) => {
      await setAdmin(changed.map((user) => ({ ...user, admin })), !admin);
      document.dispatchEvent(new Event("admin-changed"));
    },
  });
}

// -- rows

const STATES = {
  spawn: () => ["starting", t("starting")],
  stop: () => ["stopping", t("stopping")],
  check: () => ["starting", t("being checked")],
};
const stateOf = (server) => STATES[server.pending]?.() || (server.ready ? ["running", t("running")] : ["stopped", t("stopped")]);

function act(action, text, name, attributes = {}) {
  return make("button", { class: "button button-small", type: "button", text, "aria-label": `${text} ${name}`, ...attributes, dataset: { act: action, ...attributes.dataset } });
}

function serverLine(user, server) {
  const [kind, text] = stateOf(server);
  const name = label(user, server);
  const dataset = { server: server.name };
  const line = make("li", { class: "admin-server" });
  line.append(make("span", { class: `state state-${kind}`, text }));
  if (server.name) line.append(make("span", { class: "admin-server-name", text: server.display_name || server.name }));
  if (server.started) line.append(make("time", { class: "muted", datetime: server.started }));
  const actions = make("span", { class: "admin-server-actions" });
  if (server.stopped) actions.append(act("server-start", t("Start"), name, { dataset }));
  else if (server.pending !== "stop") actions.append(act("server-stop", t("Stop"), name, { dataset }));
  if (server.ready) actions.append(make("a", { class: "button button-small", href: server.url, text: t("Open"), "aria-label": t("Open {name}", { name }) }));
  if (server.pending === "spawn") {
    const path = [user.name, server.name].filter(Boolean).map(encodeURIComponent).join("/");
    actions.append(make("a", { class: "button button-small", href: `${BASE}spawn-pending/${path}`, text: t("Follow"), "aria-label": t("Follow the start of {name}", { name }) }));
  }
  if (server.name && server.stopped) actions.append(act("server-delete", t("Delete…"), name, { dataset }));
  line.append(actions);
  return line;
}

function menu(user, namedServers) {
  const item = (action, text, danger = false) => make("button", { type: "button", class: danger ? "button-danger" : null, text, dataset: { act: action } });
  const items = [item("edit", t("Edit…"))];
  if (namedServers) items.push(item("new-server", t("New server…")));
  if (user.name !== ME) {
    items.push(user.admin ? item("unadmin", t("Remove admin")) : item("admin", t("Make admin")));
    items.push(item("delete", t("Delete…"), true));
  }
  const summary = make("summary", { class: "button button-small", dataset: { act: "menu" } }, make("span", { "aria-hidden": "true", text: "⋯" }));
  summary.append(make("span", { class: "visually-hidden", text: t("More for {name}", { name: user.name }) }));
  return make("details", { class: "menu" }, summary, make("div", { class: "menu-items" }, ...items));
}

function draw(user, namedServers, isChosen) {
  const box = make("input", { type: "checkbox", "aria-label": t("Choose {name}", { name: user.name }), checked: isChosen, dataset: { act: "choose" } });
  const who = make("td", { class: "admin-user" }, make("span", { class: "admin-user-name", text: user.name }));
  if (user.admin) who.append(make("span", { class: "badge", text: t("admin") }));
  if (user.groups?.length) {
    const links = user.groups.slice(0, 6).map((group) => make("a", { href: `?view=users&group=${encodeURIComponent(group)}`, text: group }));
    if (user.groups.length > 6) links.push(t("{n} more", { n: user.groups.length - 6 }));
    who.append(make("span", { class: "admin-groups muted" }, ...links));
  }
  const servers = Object.values(user.servers || {}).sort((a, b) => a.name.localeCompare(b.name));
  const active = user.last_activity ? make("time", { datetime: user.last_activity }) : make("span", { class: "muted", text: t("never") });
  const row = make(
    "tr",
    { dataset: { user: user.name } },
    make("td", { class: "admin-choose" }, box),
    who,
    make("td", { dataset: { label: t("Servers") } }, make("ul", { class: "admin-servers" }, ...servers.map((server) => serverLine(user, server)))),
    make("td", { dataset: { label: t("Last activity") } }, active),
    make("td", { class: "admin-more" }, menu(user, namedServers)),
  );
  row.classList.toggle("admin-chosen", isChosen);
  tellTimes(row);
  return row;
}

// -- the view

export function mount(place, { address, problem }) {
  const namedServers = Boolean(place.dataset.namedServers);
  /** by name: who is chosen, on whatever page; who is on this one, and how it was drawn */
  const chosen = new Map();
  let users = new Map();
  let drawn = new Map();
  let total = 0;
  let asked = 0;

  const rows = make("tbody");
  const all = make("input", { type: "checkbox", "aria-label": t("Choose all on this page") });
  const sorts = {};
  const sortable = (order, text) => {
    const button = make("button", { class: "sort", type: "button", text });
    button.addEventListener("click", () => {
      address.set({ sort: currentSort() === order ? `-${order}` : order, offset: "" });
      load();
    });
    sorts[order] = make("th", { scope: "col" }, button);
    return sorts[order];
  };
  const head = make(
    "tr",
    {},
    make("th", { scope: "col", class: "admin-choose" }, all),
    sortable("name", t("User")),
    make("th", { scope: "col", text: t("Servers") }),
    sortable("last_activity", t("Last activity")),
    make("th", { scope: "col" }, make("span", { class: "visually-hidden", text: t("More") })),
  );
  const table = make("table", { class: "stacked admin-table", "aria-label": t("Users") }, make("thead", {}, head), rows);
  const empty = make("p", { class: "empty", hidden: true });
  const pages = pager((offset) => {
    address.set({ offset: offset || "" });
    load();
    table.scrollIntoView({ block: "nearest" });
  });

  // what is looked for
  const search = make("input", { class: "form-control", type: "search", placeholder: t("Part of a name"), "aria-label": t("Find users"), autocomplete: "off" });
  const select = (name, text, options) => {
    const made = make("select", { class: "form-control", "aria-label": text }, ...options.map(([value, shown]) => make("option", { value, text: shown })));
    made.addEventListener("change", () => filter({ [name]: made.value }));
    return made;
  };
  const state = select("state", t("Servers"), [["", t("Any servers")], ["active", t("Running or changing")], ["ready", t("Running")], ["inactive", t("Nothing running")]]);
  const admin = select("admin", t("Admins"), [["", t("Admins and others")], ["1", t("Admins only")], ["0", t("No admins")]]);
  const { input: group, list: groups } = groupInput({ placeholder: t("Any group"), "aria-label": t("Group") });
  const size = make("select", { class: "form-control", "aria-label": t("Users per page") }, ...[25, 50, 100, 200].map((n) => make("option", { value: n, text: t("{n} per page", { n }) })));
  const clear = make("button", { class: "button button-quiet button-small", type: "button", text: t("Show all"), hidden: true });
  const add = make("button", { class: "button button-primary", type: "button", text: t("Add users…") });
  const exporter = make("button", { class: "button", type: "button", text: t("Export…") });
  const filter = (changes, options) => {
    address.set({ ...changes, offset: "" }, options);
    load();
  };
  search.addEventListener("input", settled(() => filter({ name_filter: search.value.trim() }, { replace: true })));
  group.addEventListener("change", () => filter({ group: group.value.trim() }));
  size.addEventListener("change", () => filter({ limit: size.value }));
  clear.addEventListener("click", () => {
    filter(Object.fromEntries(FILTERS.map((name) => [name, ""])));
    search.focus();
  });
  add.addEventListener("click", async () => changed(await (await dialogs()).addUsers()));
  exporter.addEventListener("click", async () => (await dialogs()).exportUsers(query(), total));

  // what is chosen
  const count = make("span", { class: "admin-count", role: "status" });
  const allOfThem = make("button", { class: "button button-small button-quiet", type: "button", hidden: true });
  const many = (action, text, danger = false) => {
    const button = make("button", { class: `button button-small${danger ? " button-danger" : ""}`, type: "button", text });
    button.addEventListener("click", async () => changed(await ACTIONS[action]([...chosen.values()]), action));
    return button;
  };
  const none = make("button", { class: "button button-small button-quiet", type: "button", text: t("Clear") });
  const bar = make(
    "section",
    { class: "admin-bar", "aria-label": t("Chosen users"), hidden: true },
    count, allOfThem,
    many("start", t("Start")), many("stop", t("Stop…"), true), many("admin", t("Make admin")), many("unadmin", t("Remove admin")),
    many("group", t("Add to group…")), many("ungroup", t("Remove from group…")), many("delete", t("Delete…"), true), none,
  );
  none.addEventListener("click", () => {
    chosen.clear();
    showChosen();
    all.focus();
  });
  all.addEventListener("change", () => choose([...users.values()], !all.checked));
  allOfThem.addEventListener("click", async () => {
    allOfThem.disabled = true;
    try {
      await everything("users", { ...query(), include_stopped_servers: 1 }, (items, of) => {
        for (const user of items) chosen.set(user.name, user);
        count.textContent = t("Choosing… {n} of {total}", { n: number(chosen.size), total: number(of) });
      });
    } catch (error) {
      show(problem, error.message);
    }
    allOfThem.disabled = false;
    showChosen();
  });

  /** Choose users; ``not``: choose them no longer. */
  function choose(which, not = false) {
    for (const user of which) {
      if (not) chosen.delete(user.name);
      else chosen.set(user.name, user);
    }
    showChosen();
  }

  function showChosen() {
    for (const row of rows.children) {
      const is = chosen.has(row.dataset.user);
      row.classList.toggle("admin-chosen", is);
      row.querySelector("[data-act=choose]").checked = is;
    }
    const here = [...users.keys()].filter((name) => chosen.has(name)).length;
    all.checked = here > 0 && here === users.size;
    all.indeterminate = here > 0 && here < users.size;
    bar.hidden = !chosen.size;
    const text = chosen.size === 1 ? t("1 user chosen") : t("{n} users chosen", { n: number(chosen.size) });
    if (count.textContent !== text) count.textContent = text;
    allOfThem.hidden = !(all.checked && total > chosen.size);
    allOfThem.textContent = t("Choose all {total}", { total: number(total) });
  }

  // -- what the hub says

  const currentSort = () => address.get("sort") || "name";
  const limit = () => Number(address.get("limit")) || Number(place.dataset.pageLimit) || 50;
  function query() {
    const asks = { sort: currentSort() };
    for (const name of FILTERS) if (address.get(name)) asks[name] = address.get(name);
    return asks;
  }

  function showQuery() {
    if (document.activeElement !== search) search.value = address.get("name_filter");
    state.value = address.get("state");
    admin.value = address.get("admin");
    if (document.activeElement !== group) group.value = address.get("group");
    size.value = String(limit());
    clear.hidden = !FILTERS.some((name) => address.get(name));
    for (const [order, cell] of Object.entries(sorts)) {
      const is = currentSort().replace("-", "") === order;
      if (is) cell.setAttribute("aria-sort", currentSort().startsWith("-") ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  }

  /** Draw what is other than before, and keep the focus where it was. */
  function drawAll(items) {
    const before = drawn;
    drawn = new Map();
    users = new Map(items.map((user) => [user.name, user]));
    const focus = rows.contains(document.activeElement) ? document.activeElement : null;
    const key = focus && { user: focus.closest("tr").dataset.user, act: focus.dataset.act, server: focus.dataset.server };
    const wanted = items.map((user) => {
      if (chosen.has(user.name)) chosen.set(user.name, user);
      const text = JSON.stringify(user);
      const old = before.get(user.name);
      // an open menu stays as it is until it is closed
      const row = old && (old.text === text || old.row.querySelector("details[open]")) ? old.row : draw(user, namedServers, chosen.has(user.name));
      drawn.set(user.name, { row, text: row === old?.row ? old.text : text });
      return row;
    });
    if (wanted.length !== rows.childElementCount || wanted.some((row, i) => rows.children[i] !== row)) rows.replaceChildren(...wanted);
    if (focus && document.activeElement !== focus) {
      const row = drawn.get(key.user)?.row;
      const again = row && [...row.querySelectorAll("[data-act]")].find((one) => one.dataset.act === key.act && one.dataset.server === key.server);
      // the button for the same server has become another one, such as Stop in place of Start
      (again || row?.querySelector(`[data-server="${CSS.escape(key.server || "")}"]`) || row?.querySelector("summary"))?.focus({ preventScroll: true });
    }
    table.hidden = !items.length;
    empty.hidden = Boolean(items.length);
    empty.textContent = FILTERS.some((name) => address.get(name)) ? t("Nobody like that.") : t("There are no users yet. Add some, or let people log in.");
  }

  async function load({ quiet = false } = {}) {
    asked += 1;
    const mine = asked;
    if (!quiet) showQuery();
    const asks = new URLSearchParams({ ...query(), offset: Number(address.get("offset")) || 0, limit: limit(), include_stopped_servers: 1 });
    try {
      const page = await api("GET", `users?${asks}`);
      if (mine !== asked) return;
      total = page._pagination.total;
      if (!page.items.length && page._pagination.offset && total) {
        // the last page has gone meanwhile
        address.set({ offset: "" }, { replace: true });
        load();
        return;
      }
      drawAll(page.items);
      pages.show(page._pagination, page.items.length);
      pages.element.hidden = !page.items.length;
      showChosen();
      show(problem, "");
      place.dataset.loaded = String(mine);
    } catch (error) {
      if (mine === asked) show(problem, error.message);
    }
  }

  /** After something was done: see what has become of it. ``null`` means that it was not. */
  async function changed(done, action) {
    if (!done) return;
    if (action === "delete") choose(done, true);
    await load({ quiet: true });
  }

  async function one(action, user, server) {
    const name = label(user, { name: server, display_name: user.servers?.[server]?.display_name });
    switch (action) {
      case "server-start":
        return api("POST", serverPath(user.name, server)).then(() => true);
      case "server-stop":
        return ACTIONS.stop([{ ...user, servers: { [server]: user.servers[server] } }]);
      case "server-delete":
        if (!(await confirmed(t("Delete the server “{name}”?", { name }), t("Its files are not touched. This cannot be undone."), t("Delete")))) return null;
        return api("DELETE", serverPath(user.name, server), { remove: true }).then(() => true);
      case "edit":
        return (await dialogs()).editUser(user);
      case "new-server":
        return (await dialogs()).newServer(user);
      default:
        return ACTIONS[action]([user]);
    }
  }

  let lastChosen = null;
  rows.addEventListener("click", async (event) => {
    const target = event.target.closest("[data-act]");
    const user = target && users.get(target.closest("tr").dataset.user);
    if (!user || target.dataset.act === "menu") return;
    if (target.dataset.act === "choose") {
      // with Shift, all between the last one and this one
      const names = [...users.keys()];
      const [from, to] = [names.indexOf(event.shiftKey && lastChosen ? lastChosen : user.name), names.indexOf(user.name)];
      choose(names.slice(Math.min(from, to), Math.max(from, to) + 1).map((name) => users.get(name)), !target.checked);
      lastChosen = user.name;
      return;
    }
    show(problem, "");
    target.disabled = true;
    try {
      const work = one(target.dataset.act, user, target.dataset.server || "");
      // a start is seen at once, not when it is over
      if (target.dataset.act === "server-start") setTimeout(() => load({ quiet: true }), 150);
      await changed(await work, target.dataset.act);
    } catch (error) {
      show(problem, `${user.name}: ${error.message}`);
      load({ quiet: true });
    } finally {
      target.disabled = false;
    }
  });

  const onChange = () => load({ quiet: true });
  document.addEventListener("admin-changed", onChange);
  place.append(
    make(
      "section",
      { class: "card admin-card", "aria-label": t("Users") },
      make("div", { class: "admin-tools" }, search, state, admin, group, groups, clear, make("div", { class: "admin-tools-right" }, exporter, add)),
      bar,
      table,
      empty,
      make("div", { class: "admin-below" }, pages.element, size),
    ),
  );
  load();
  const end = keepLooking(async () => {
    if (document.querySelector("dialog[open]")) return 2000;
    await load({ quiet: true });
    return [...users.values()].some((user) => running(user).some((server) => server.pending)) ? 1500 : 5000;
  });
  return {
    show: () => load(),
    close() {
      end();
      asked += 1;
      document.removeEventListener("admin-changed", onChange);
    },
  };
}

