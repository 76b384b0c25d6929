// The options form: one click starts one server.
const form = document.getElementById("spawn_form");
form?.addEventListener("submit", () => {
  for (const button of form.querySelectorAll("button[type=submit]")) {
    button.disabled = true;
    button.textContent = "Starting…";
  }
});
