// The login page: warn where a password would travel unencrypted, and keep impatient people from sending it twice.
const warning = document.getElementById("insecure-login-warning");
if (warning && !window.isSecureContext) warning.hidden = false;
const form = document.querySelector("#login-main form");
form?.addEventListener("submit", () => {
  const button = document.getElementById("login_submit");
  if (button) {
    button.disabled = true;
    button.textContent = button.dataset.busy || button.textContent;
  }
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});
