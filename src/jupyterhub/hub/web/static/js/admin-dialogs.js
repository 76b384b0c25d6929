// What the table of users asks for in dialogs: adding and editing users, groups of many, new servers, export.
import { api, escapeName, serverPath } from "./api.js";
import { check, everything, field, formDialog, groupInput, job, number, tell } from "./admin-common.js";
import { make, slug, t } from "./ui.js";

const userPath = (name) => `users/${escapeName(name)}`;
const groupPath = (name) => `groups/${escapeName(name)}`;
const looksNew = () => document.dispatchEvent(new Event("admin-changed"));
const text = (attributes) => make("input", { class: "form-control", autocomplete: "off", ...attributes });

function chunks(items, size) {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

// -- adding

/** Names as people paste them: a line each, a column of a table, a list of mail addresses. */
export const namesIn = (pasted) => [...new Set(pasted.split(/[\s,;]+/).map((name) => name.replace(/^["'<]+|["'>]+$/g, "")).filter(Boolean))];

export async function addUsers() {
  const names = make("textarea", { class: "form-control", rows: 8, spellcheck: "false", autocapitalize: "none" });
  const counted = make("p", { class: "field-help", role: "status" });
  const admin = make("input", { type: "checkbox" });
  const { input: group, list } = groupInput();
  names.addEventListener("input", () => {
    const n = namesIn(names.value).length;
    counted.textContent = n ? t("{n} names", { n: number(n) }) : "";
  });
  const made = [];
  let known = 0;
  const done = await formDialog({
    title: t("Add users"),
    body: [
      field(t("Names"), names, t("Paste a list: one per line, or with commas or spaces between them.")),
      counted,
      field(t("Group"), group, t("They become members of this group, too. It is made if there is none. May be empty.")),
      list,
      check(t("Make them admins"), admin),
    ],
    yes: t("Add"),
    async work() {
      const wanted = namesIn(names.value);
      if (!wanted.length) {
        names.focus();
        throw new Error(t("Give at least one name."));
      }
      for (const some of chunks(wanted, 500)) {
        try {
          const added = await api("POST", "users", { usernames: some, admin: admin.checked });
          made.push(...added.map((user) => user.name));
          known += some.length - added.length;
        } catch (error) {
          if (error.status !== 409) throw error;
          known += some.length; // all of them exist
        }
      }
      const name = group.value.trim();
      if (name) {
        await ensureGroup(name);
        for (const some of chunks(wanted, 500)) await api("POST", `${groupPath(name)}/users`, { users: some });
      }
    },
  });
  // what was added before something went wrong can be undone, too
  if (made.length || known) {
    const said = [t("{n} users added.", { n: number(made.length) })];
    if (known) said.push(t("{n} were there already.", { n: number(known) }));
    tell(said.join(" "), made.length ? () => undoAdding(made) : null);
  }
  return done || made.length > 0;
}

async function undoAdding(names) {
  await job({
    items: names,
    doing: (n) => t("Deleting {n} users…", { n }),
    done: (n) => t("{n} users deleted.", { n }),
    work: (name) => api("DELETE", userPath(name)),
  });
  looksNew();
}

async function ensureGroup(name) {
  try {
    await api("POST", groupPath(name));
  } catch (error) {
    if (error.status !== 409) throw error;
  }
}

// -- groups of many

const changeMembers = (method, group, names) => Promise.all(chunks(names, 500).map((users) => api(method, `${groupPath(group)}/users`, { users })));

async function undoMembers(method, group, names) {
  await changeMembers(method, group, names);
  const values = { n: number(names.length), group };
  tell(method === "POST" ? t("{n} users are in {group} again.", values) : t("{n} users are in {group} no longer.", values));
  looksNew();
}

export async function addToGroup(users) {
  const { input, list } = groupInput({ required: true });
  let others = [];
  const done = await formDialog({
    title: users.length === 1 ? t("Add {name} to a group", { name: users[0].name }) : t("Add {n} users to a group", { n: number(users.length) }),
    body: [field(t("Group"), input, t("It is made if there is none.")), list],
    yes: t("Add"),
    async work() {
      const group = input.value.trim();
      if (!group) throw new Error(t("Say which group."));
      others = users.filter((user) => !user.groups?.includes(group)).map((user) => user.name);
      await ensureGroup(group);
      await changeMembers("POST", group, others);
    },
  });
  if (done) {
    const group = input.value.trim();
    tell(t("{n} users added to {group}.", { n: number(others.length), group }), others.length ? () => undoMembers("DELETE", group, others) : null);
  }
  return done;
}

export async function removeFromGroup(users) {
  const numbers = new Map();
  for (const user of users) for (const group of user.groups || []) numbers.set(group, (numbers.get(group) || 0) + 1);
  if (!numbers.size) {
    tell(t("None of them is in a group."));
    return false;
  }
  const options = [...numbers].sort().map(([name, n]) => make("option", { value: name, text: t("{name} ({n} of them)", { name, n: number(n) }) }));
  const select = make("select", { class: "form-control" }, ...options);
  let members = [];
  const done = await formDialog({
    title: users.length === 1 ? t("Take {name} out of a group", { name: users[0].name }) : t("Take {n} users out of a group", { n: number(users.length) }),
    body: [field(t("Group"), select)],
    yes: t("Take out"),
    work() {
      members = users.filter((user) => user.groups?.includes(select.value)).map((user) => user.name);
      return changeMembers("DELETE", select.value, members);
    },
  });
  if (done) tell(t("{n} users taken out of {group}.", { n: number(members.length), group: select.value }), () => undoMembers("POST", select.value, members));
  return done;
}

// -- one user

export async function editUser(user) {
  const isMe = user.name === window.jhdata.user;
  const name = text({ value: user.name, required: true, maxlength: 255 });
  const admin = make("input", { type: "checkbox", checked: user.admin, disabled: isMe });
  const boxes = (user.groups || []).map((group) => make("input", { type: "checkbox", value: group, checked: true }));
  const { input: more, list } = groupInput();
  const groups = make(
    "fieldset",
    {},
    make("legend", { text: t("Groups") }),
    ...boxes.map((box) => check(box.value, box)),
    field(t("Add to"), more, t("It is made if there is none.")),
    list,
  );
  const undo = [];
  const done = await formDialog({
    title: t("Edit {name}", { name: user.name }),
    body: [field(t("Name"), name, t("Servers keep the old address until they are started again.")), check(t("Admin"), admin), groups],
    yes: t("Save"),
    async work() {
      const change = {};
      const wanted = name.value.trim();
      if (wanted !== user.name) change.name = wanted;
      if (admin.checked !== user.admin) change.admin = admin.checked;
      let now = user.name;
      if (Object.keys(change).length) {
        const changed = await api("PATCH", userPath(user.name), change);
        now = changed.name || wanted;
        const back = {};
        if ("name" in change) back.name = user.name;
        if ("admin" in change) back.admin = user.admin;
        undo.push(() => api("PATCH", userPath(now), back));
        // another try of this form, after something below has failed, begins from here
        user = { ...user, name: now, admin: admin.checked };
      }
      for (const box of boxes.filter((one) => !one.checked && user.groups.includes(one.value))) {
        await api("DELETE", `${groupPath(box.value)}/users`, { users: [now] });
        undo.unshift(() => api("POST", `${groupPath(box.value)}/users`, { users: [now] }));
        user = { ...user, groups: user.groups.filter((group) => group !== box.value) };
      }
      const added = more.value.trim();
      if (added && !user.groups?.includes(added)) {
        await ensureGroup(added);
        await api("POST", `${groupPath(added)}/users`, { users: [now] });
        undo.unshift(() => api("DELETE", `${groupPath(added)}/users`, { users: [now] }));
      }
    },
  });
  if (undo.length) {
    tell(t("{name} changed.", { name: user.name }), async () => {
      try {
        for (const step of undo) await step();
        tell(t("{name} is as before.", { name: user.name }));
      } catch (error) {
        tell(t("This could not be undone."), null, [[user.name, error.message]]);
      }
      looksNew();
    });
  }
  return done || undo.length > 0;
}

export async function newServer(user) {
  const name = text({ required: true, maxlength: 255 });
  const start = make("input", { type: "checkbox", checked: true });
  return formDialog({
    title: t("New server for {name}", { name: user.name }),
    body: [field(t("Name of the server"), name), check(t("Start it now"), start)],
    yes: t("Create"),
    async work() {
      const label = name.value.trim().replace(/\s+/g, " ");
      if (!label) throw new Error(t("Give the new server a name."));
      await api("PUT", serverPath(user.name, slug(label)), { display_name: label });
      // its row says how the start goes on
      if (start.checked) api("POST", serverPath(user.name, slug(label))).catch((error) => tell(t("The server did not start."), null, [[label, error.message]])).then(looksNew);
    },
  });
}

// -- export

const COLUMNS = {
  name: (user) => user.name,
  admin: (user) => (user.admin ? "yes" : "no"),
  groups: (user) => (user.groups || []).join(" "),
  roles: (user) => (user.roles || []).join(" "),
  created: (user) => user.created || "",
  last_activity: (user) => user.last_activity || "",
  running_servers: (user) => Object.values(user.servers || {}).filter((server) => !server.stopped).map((server) => server.name || "default").join(" "),
};

/** A cell of CSV (RFC 4180). Spreadsheets take what begins like a formula for one: an apostrophe keeps it text. */
export function cell(value) {
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const csv = (users) => [Object.keys(COLUMNS), ...users.map((user) => Object.values(COLUMNS).map((of) => cell(of(user))))].map((line) => `${line.join(",")}\r\n`).join("");

function save(name, type, content) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function exportUsers(query, total) {
  const format = make("select", { class: "form-control" }, make("option", { value: "csv", text: t("CSV, for spreadsheets") }), make("option", { value: "json", text: t("JSON, as the API gives it") }));
  const bar = make("progress", { max: Math.max(1, total), value: 0, hidden: true, "aria-label": t("Exporting…") });
  let left = false;
  const leave = () => { left = true; };
  return formDialog({
    title: t("Export users"),
    body: [make("p", { text: t("{n} users: those that the table shows now, on all of its pages.", { n: number(total) }) }), field(t("Format"), format), bar],
    yes: t("Export"),
    async work(form) {
      form.closest("dialog").addEventListener("close", leave);
      bar.hidden = false;
      const found = [];
      await everything("users", { ...query, sort: "id", include_stopped_servers: 1 }, (items, of) => {
        found.push(...items);
        bar.max = of;
        bar.value = found.length;
        return !left;
      });
      if (left) return;
      const day = new Date().toISOString().slice(0, 10);
      if (format.value === "csv") save(`users-${day}.csv`, "text/csv;charset=utf-8", `\uFEFF${csv(found)}`);
      else save(`users-${day}.json`, "application/json", JSON.stringify(found, null, 1));
      tell(t("{n} users exported.", { n: number(found.length) }));
    },
  });
}
