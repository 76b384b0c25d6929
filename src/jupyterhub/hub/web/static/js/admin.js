// The admin page: a table of users, paged, searched and changed through the public REST API.
import { api, escapeName, serverPath, show } from "./api.js";

const section = document.getElementById("admin-users");
const rows = document.getElementById("user-rows");
const filter = document.getElementById("user-filter");
const problem = document.getElementById("admin-error");
const limit = Number(section.dataset.pageLimit) || 50;
const view = new URLSearchParams(window.location.search);
let offset = Number(view.get("offset")) || 0;
filter.value = view.get("name_filter") || "";

function button(label, work) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button";
  made.textContent = label;
  made.addEventListener("click", async () => {
    made.disabled = true;
    show(problem, "");
    try {
      await work();
      await load();
    } catch (error) {
      made.disabled = false;
      show(problem, error.message);
    }
  });
  return made;
}

function cell(row, ...children) {
  const made = row.insertCell();
  made.append(...children);
  return made;
}

function draw(user) {
  const row = rows.insertRow();
  row.dataset.user = user.name;
  cell(row, user.name);
  cell(row, user.admin ? "yes" : "no");
  const servers = Object.values(user.servers || {});
  cell(row, servers.map((s) => `${s.display_name || s.name || "default"}: ${s.pending || (s.ready ? "running" : "stopped")}`).join(", ") || "–");
  cell(row, user.last_activity ? new Date(user.last_activity).toLocaleString() : "never");
  const actions = cell(row);
  actions.className = "actions";
  if (servers.length === 0) actions.append(button("Start", () => api("POST", serverPath(user.name, ""))));
  for (const server of servers) {
    actions.append(button(`Stop ${server.name || "server"}`, () => api("DELETE", serverPath(user.name, server.name))));
  }
  actions.append(button(user.admin ? "Remove admin" : "Make admin", () => api("PATCH", `users/${escapeName(user.name)}`, { admin: !user.admin })));
  if (user.name !== window.jhdata.user) {
    actions.append(button("Delete", async () => {
      if (window.confirm(`Delete ${user.name}? Their servers are stopped; their files are not touched.`)) {
        await api("DELETE", `users/${escapeName(user.name)}`);
      }
    }));
  }
}

async function load() {
  const query = new URLSearchParams({ offset, limit });
  if (filter.value) query.set("name_filter", filter.value);
  window.history.replaceState(null, "", `?${query}`);
  const page = await api("GET", `users?${query}`);
  rows.replaceChildren();
  page.items.forEach(draw);
  const { total, next } = page._pagination;
  document.getElementById("page-of").textContent = total ? `${offset + 1}–${offset + page.items.length} of ${total}` : "none";
  document.getElementById("previous-page").disabled = offset === 0;
  document.getElementById("next-page").disabled = !next;
}

const reload = () => load().catch((error) => show(problem, error.message));
let typing;
filter.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { offset = 0; reload(); }, 200);
});
document.getElementById("previous-page").addEventListener("click", () => { offset = Math.max(0, offset - limit); reload(); });
document.getElementById("next-page").addEventListener("click", () => { offset += limit; reload(); });
document.getElementById("add-users").addEventListener("click", async () => {
  const field = document.getElementById("new-users");
  const usernames = field.value.split(/[\s,]+/).filter(Boolean);
  if (!usernames.length) return;
  show(problem, "");
  try {
    await api("POST", "users", { usernames });
    field.value = "";
    await load();
  } catch (error) {
    show(problem, error.message);
  }
});
reload();
