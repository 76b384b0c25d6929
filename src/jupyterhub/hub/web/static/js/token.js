// The token page: create, show once, revoke.
import { api, escapeName, show } from "./api.js";

const user = escapeName(window.jhdata.user);
const problem = document.getElementById("token-error");

document.getElementById("request-token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  show(problem, "");
  const note = document.getElementById("token-note").value;
  const seconds = document.getElementById("token-expiration-seconds").value;
  const scopes = document.getElementById("token-scopes").value.split(/[\s,]+/).filter(Boolean);
  const body = { note: note || "Requested via token page", expires_in: seconds ? Number(seconds) : null };
  if (scopes.length) body.scopes = scopes;
  try {
    const token = await api("POST", `users/${user}/tokens`, body);
    document.getElementById("token-result").textContent = token.token;
    document.getElementById("token-area").hidden = false;
  } catch (error) {
    show(problem, error.message);
  }
});

for (const row of document.querySelectorAll(".token-row")) {
  row.querySelector(".revoke-token-btn")?.addEventListener("click", async (event) => {
    event.currentTarget.disabled = true;
    try {
      await api("DELETE", `users/${user}/tokens/${row.dataset.tokenId}`);
      row.remove();
    } catch (error) {
      event.target.disabled = false;
      show(problem, error.message);
    }
  });
}
