// What our pages share: texts, times, questions, messages. Everything that is shown goes through t().
const texts = JSON.parse(document.getElementById("texts")?.textContent || "{}");
export const language = document.documentElement.lang || "en";

/** A text in the visitor's language, with {names} filled in. */
export function t(text, values = {}) {
  return (texts[text] || text).replace(/\{(\w+)\}/g, (all, name) => (name in values ? values[name] : all));
}

/** Show a message in an element that is hidden without one. */
export function show(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

/** An element: its attributes (class, text, dataset are special), its children. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key === "dataset") Object.assign(element.dataset, value);
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A server name from the label that somebody typed: lower-case letters, digits, single hyphens. */
export function slug(label) {
  const plain = label.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^[^a-z]+/, "");
  return plain.slice(0, 30).replace(/-+$/, "") || "server";
}

const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

/** A moment as people say it: "5 minutes ago", "in 3 days". */
export function relative(date, now = Date.now()) {
  const seconds = (date.getTime() - now) / 1000;
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return words.format(Math.round(seconds / size), unit);
  }
  return seconds > 0 ? t("in a moment") : t("just now");
}

/** Say all times of the page in words; the exact one, in the visitor's own time zone, is the title. */
export function tellTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    element.textContent = relative(date);
    element.title = date.toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
  }
}

/** How long something takes: "42 s", "3 min 20 s". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return t("{s} s", { s: whole });
  if (whole < 3600) return t("{m} min {s} s", { m: Math.floor(whole / 60), s: whole % 60 });
  return t("{h} h {m} min", { h: Math.floor(whole / 3600), m: Math.floor((whole % 3600) / 60) });
}

/** Open a dialog; resolves with the value of the button that closed it, "" for Escape. It is removed afterwards. */
export function dialog({ title, body = [], buttons, large = false }) {
  const label = make("h2", { class: "modal-title", id: `dialog-${Math.random().toString(36).slice(2)}`, text: title });
  const footer = make("div", { class: "modal-footer" }, ...buttons);
  const form = make("form", { method: "dialog" }, label, make("div", { class: "modal-body" }, ...body), footer);
  const element = make("dialog", { class: large ? "modal modal-large" : "modal", "aria-labelledby": label.id }, form);
  // from a menu, which is closed by then, the focus goes back to its button
  const opener = document.activeElement?.closest("details.menu")?.querySelector("summary") || document.activeElement;
  document.body.append(element);
  element.showModal();
  return new Promise((resolve) => {
    element.addEventListener("close", () => {
      element.remove();
      opener?.focus();
      resolve(element.returnValue);
    });
  });
}

/** Ask before something that cannot be undone. */
export async function confirmed(title, text, yes) {
  const answer = await dialog({
    title,
    body: [make("p", { text })],
    buttons: [
      make("button", { class: "button", value: "", autofocus: true, text: t("Cancel") }),
      make("button", { class: "button button-danger", value: "ok", text: yes }),
    ],
  });
  return answer === "ok";
}

/** Do something slow for a button: it says so, cannot be pressed again, and is as before if that fails. */
export async function during(button, label, work, problem) {
  const before = [...button.childNodes];
  button.disabled = true;
  button.replaceChildren(make("span", { class: "spinner", "aria-hidden": "true" }), ` ${label}`);
  if (problem) show(problem, "");
  try {
    return await work();
  } catch (error) {
    if (problem) show(problem, error.message);
    return undefined;
  } finally {
    if (button.isConnected) {
      button.disabled = false;
      button.replaceChildren(...before);
    }
  }
}

/** Copy to the clipboard; the button says that it is done. Without access to the clipboard the text is selected. */
export async function copy(text, button, field) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    field?.select?.();
    if (!document.execCommand("copy")) return;
  }
  const before = button.textContent;
  button.textContent = t("Copied");
  setTimeout(() => { button.textContent = before; }, 2000);
}

// Menus close when one goes elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    const isChosen = event.target.closest(".menu-items");
    if (menu.contains(event.target) && !isChosen) continue;
    if (isChosen && menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.activeElement?.closest("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.addEventListener("focusout", (event) => {
  const menu = event.target.closest("details.menu[open]");
  if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});

tellTimes();
setInterval(tellTimes, 60_000);
