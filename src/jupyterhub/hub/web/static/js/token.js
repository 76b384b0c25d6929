// The token page: create with the scopes that are chosen, show once, revoke, end other sessions.
import { api, escapeName } from "./api.js";
import { confirmed, copy, during, show, t, tellTimes } from "./ui.js";

const user = escapeName(window.jhdata.user);
const byId = (id) => document.getElementById(id);
const problem = byId("token-error");
const form = byId("request-token-form");

/** What the form asks for; null: all that the user may do. */
function chosenScopes() {
  const written = byId("token-scopes").value.split(/[\s,]+/).filter(Boolean);
  const ticked = [...form.querySelectorAll("input[name=scope]:checked")].map((box) => box.value);
  const all = form.querySelector("input[name=permissions][value=all]");
  return all?.checked && !written.length ? null : [...new Set([...ticked, ...written])];
}

/** The lists as the hub has them now; the rest of the page, with a token that is shown only once, stays. */
async function refresh() {
  const answer = await fetch(window.location.href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const lists = page.getElementById("token-lists");
  if (!lists) return;
  byId("token-lists").replaceWith(lists);
  tellTimes(lists);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const scopes = chosenScopes();
  byId("token-area").hidden = true;
  if (scopes && !scopes.length) {
    show(problem, t("Choose at least one permission."));
    form.querySelector("input[name=scope]")?.focus();
    return;
  }
  const seconds = byId("token-expiration-seconds").value;
  const body = { note: byId("token-note").value || t("Requested via token page"), expires_in: seconds ? Number(seconds) : null };
  if (scopes) body.scopes = scopes;
  during(form.querySelector("[type=submit]"), t("Requesting…"), async () => {
    const token = await api("POST", `users/${user}/tokens`, body);
    byId("token-result").textContent = token.token;
    byId("token-area").hidden = false;
    byId("token-area").focus();
    await refresh();
  }, problem);
});

form.addEventListener("change", (event) => {
  if (event.target.name === "scope" && event.target.checked) byId("some-permissions").checked = true;
});
byId("copy-token")?.addEventListener("click", (event) => copy(byId("token-result").textContent, event.currentTarget));

document.addEventListener("click", async (event) => {
  const button = event.target.closest(".revoke-token-btn");
  const row = button?.closest(".token-row");
  if (!row) return;
  const text = t("Programs that use it stop working. This cannot be undone.");
  if (!(await confirmed(t("Revoke “{name}”?", { name: row.dataset.name || "" }), text, t("Revoke")))) return;
  during(button, t("Revoking…"), async () => {
    await api("DELETE", `users/${user}/tokens/${row.dataset.tokenId}`);
    row.remove();
    await refresh();
  }, problem);
});

const ending = byId("end-sessions-form");
ending?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = t("You stay logged in here; everywhere else you have to log in again.");
  if (await confirmed(t("End all other sessions?"), text, t("End them"))) ending.submit();
});
if (new URLSearchParams(window.location.search).get("sessions") === "ended") {
  byId("sessions-ended").hidden = false;
  window.history.replaceState(null, "", window.location.pathname);
}
