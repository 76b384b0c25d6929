// The options form, whoever made it: one click starts one server; a refused form has what was typed, and says where it is wrong.
import { make } from "./ui.js";

const form = document.getElementById("spawn_form");
form.addEventListener("submit", () => {
  for (const button of form.querySelectorAll("button[type=submit]")) {
    button.disabled = true;
    button.textContent = button.dataset.busy || button.textContent;
  }
});
// Back in the history: the button works again.
window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });

function restore(field, values) {
  if (["file", "password", "hidden", "submit"].includes(field.type)) return;
  if (["checkbox", "radio"].includes(field.type)) field.checked = values.includes(field.value);
  else if (field.tagName === "SELECT") for (const option of field.options) option.selected = values.includes(option.value);
  else field.value = values.shift() ?? field.value;
  // Forms that show and hide fields listen to these.
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

function complain(field, text, id) {
  const line = make("p", { class: "field-error", id, text });
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", [field.getAttribute("aria-describedby"), id].filter(Boolean).join(" "));
  field.addEventListener("input", () => { field.removeAttribute("aria-invalid"); line.remove(); }, { once: true });
  if (["checkbox", "radio"].includes(field.type)) (field.closest("fieldset, label") || field).before(line);
  else field.after(line);
}

const submitted = document.getElementById("submitted");
if (submitted) {
  const { values, errors } = JSON.parse(submitted.textContent);
  // What is not sent was not checked, or nothing was chosen.
  for (const field of [...form.elements]) {
    if (field.name && field.name !== "_xsrf") restore(field, field.name in values ? values[field.name] : []);
  }
  let first = null;
  Object.entries(errors || {}).forEach(([name, text], number) => {
    const field = form.elements.namedItem(name);
    const at = field instanceof RadioNodeList ? field[0] : field;
    if (!at) return;
    complain(at, text, `field-error-${number}`);
    first ||= at;
  });
  if (first) first.focus();
  else document.getElementById("spawn-error")?.scrollIntoView({ block: "nearest" });
}
