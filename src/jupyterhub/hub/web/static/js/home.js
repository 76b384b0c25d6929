// The home page: stop, add and delete servers without leaving it.
import { api, serverPath, show } from "./api.js";

const user = window.jhdata.user;
const message = document.getElementById("home-message");

async function during(button, label, work) {
  const before = button.textContent;
  button.disabled = true;
  button.textContent = label;
  show(message, "");
  try {
    await work();
  } catch (error) {
    button.disabled = false;
    button.textContent = before;
    show(message, error.message);
  }
}

/** Ask until the server has stopped: the hub answers before a slow stop is over. */
async function untilStopped(name) {
  for (;;) {
    const model = await api("GET", `users/${encodeURIComponent(user)}`);
    if (!model.servers || !(name in model.servers)) return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

document.getElementById("stop")?.addEventListener("click", (event) =>
  during(event.currentTarget, "Stopping…", async () => {
    await api("DELETE", serverPath(user, ""));
    await untilStopped("");
    window.location.reload();
  }),
);

for (const row of document.querySelectorAll(".home-server-row[data-server-name]")) {
  const name = row.dataset.serverName;
  row.querySelector(".stop-server")?.addEventListener("click", (event) =>
    during(event.currentTarget, "Stopping…", async () => {
      await api("DELETE", serverPath(user, name));
      await untilStopped(name);
      window.location.reload();
    }),
  );
  row.querySelector(".delete-server")?.addEventListener("click", (event) => {
    if (!window.confirm(`Delete the server “${name}”? Its files are not touched.`)) return;
    during(event.currentTarget, "Deleting…", async () => {
      await api("DELETE", serverPath(user, name), { remove: true });
      row.remove();
    });
  });
}

/** A server name from the label that somebody typed: lower-case letters, digits, single hyphens. */
function slug(label) {
  const plain = label.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^[^a-z]+/, "");
  return plain.slice(0, 30).replace(/-+$/, "") || "server";
}

const input = document.querySelector(".new-server-name");
const add = document.querySelector(".new-server-btn");
add?.addEventListener("click", () => {
  const label = input.value.trim().replace(/\s+/g, " ");
  if (!label) {
    show(message, "Give the new server a name.");
    input.focus();
    return;
  }
  during(add, "Adding…", async () => {
    await api("PUT", serverPath(user, slug(label)), { display_name: label });
    window.location.href = `${window.jhdata.base_url}spawn/${encodeURIComponent(user)}/${slug(label)}`;
  });
});
input?.addEventListener("keydown", (event) => {
  if (event.key === "Enter") add.click();
});
