// The home page: stop, add, delete and share servers without leaving it.
import { ApiError, api, escapeName, serverPath } from "./api.js";
import { confirmed, copy, during, show, slug, t } from "./ui.js";

const user = window.jhdata.user;
const message = document.getElementById("home-message");
const rows = [...document.querySelectorAll(".server[data-state]")];

/** The states of all servers as the page has written them, from the API: name → "True None". */
async function states() {
  const model = await api("GET", `users/${escapeName(user)}`);
  return new Map(Object.values(model.servers || {}).map((s) => [s.name, `${s.ready ? "True" : "False"} ${s.pending || "None"}`]));
}

/** Show the page anew once any server is in another state than on it. */
async function look() {
  try {
    const now = await states();
    if (rows.some((row) => (now.get(row.dataset.serverName) || "False None") !== row.dataset.state)) window.location.reload();
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) window.location.reload();
  }
}

const isPending = rows.some((row) => !row.dataset.state.endsWith(" None"));
setInterval(() => { if (!document.hidden) look(); }, isPending ? 2000 : 15_000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });

/** Ask until the server has stopped: the hub answers before a slow stop is over. */
async function untilStopped(name) {
  while ((await states()).has(name)) await new Promise((resolve) => setTimeout(resolve, 1000));
}

for (const row of rows) {
  const name = row.dataset.serverName;
  row.querySelector(".stop-server")?.addEventListener("click", (event) =>
    during(event.currentTarget, t("Stopping…"), async () => {
      await api("DELETE", serverPath(user, name));
      await untilStopped(name);
      window.location.reload();
    }, message),
  );
  row.querySelector(".copy-link")?.addEventListener("click", (event) => {
    copy(new URL(event.currentTarget.dataset.url, window.location.href).href, row.querySelector("summary"));
  });
  row.querySelector(".share-server")?.addEventListener("click", async () => {
    const { share } = await import("./share.js");
    share(user, name, row.querySelector("h2, h3").firstChild.textContent.trim());
  });
  row.querySelector(".delete-server")?.addEventListener("click", async (event) => {
    const button = event.currentTarget;
    if (!(await confirmed(t("Delete the server “{name}”?", { name }), t("Its files are not touched. This cannot be undone."), t("Delete")))) return;
    during(button, t("Deleting…"), async () => {
      await api("DELETE", serverPath(user, name), { remove: true });
      window.location.reload();
    }, message);
  });
}

for (const row of document.querySelectorAll(".shared-row")) {
  row.querySelector(".leave-share")?.addEventListener("click", async (event) => {
    const { owner, serverName } = row.dataset;
    const button = event.currentTarget;
    if (!(await confirmed(t("Give up {owner}’s server?", { owner }), t("You will need a new invitation to use it again."), t("Give up")))) return;
    during(button, t("Giving up…"), async () => {
      await api("DELETE", `users/${escapeName(user)}/shared/${escapeName(owner)}/${escapeName(serverName)}`);
      row.remove();
    }, message);
  });
}

const input = document.querySelector(".new-server-name");
const add = document.querySelector(".new-server-btn");
add?.addEventListener("click", () => {
  const label = input.value.trim().replace(/\s+/g, " ");
  if (!label) {
    show(message, t("Give the new server a name."));
    input.focus();
    return;
  }
  during(add, t("Adding…"), async () => {
    await api("PUT", serverPath(user, slug(label)), { display_name: label });
    window.location.href = `${window.jhdata.base_url}spawn/${escapeName(user)}/${slug(label)}`;
  }, message);
});
input?.addEventListener("keydown", (event) => {
  if (event.key === "Enter") add.click();
});
