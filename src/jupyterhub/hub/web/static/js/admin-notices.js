// The view of notices: an announcement on all pages, and maintenance. Each change has a way back.
import { tell } from "./admin-common.js";
import { api } from "./api.js";
import { during, show, t } from "./ui.js";

const byId = (id) => document.getElementById(id);
const names = (text) => text.split(",").map((name) => name.trim()).filter(Boolean);

const WORDS = {
  announcement: { on: t("is up"), off: t("none"), begin: t("Put up"), begun: t("The announcement is up."), over: t("The announcement is taken down.") },
  maintenance: { on: t("going on"), off: t("off"), begin: t("Begin maintenance"), begun: t("Maintenance has begun: no servers start."), over: t("Maintenance is over.") },
};

/** A moment as an input for local time takes it. */
function local(text) {
  if (!text) return "";
  const date = new Date(text);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

const fieldsOf = (form) => [...form.elements].filter((field) => field.name);

function typed(form) {
  return Object.fromEntries(fieldsOf(form).map(({ name, value }) => {
    if (name === "until") return [name, value ? new Date(value).toISOString() : null];
    return [name, name === "users" || name === "groups" ? names(value) : value];
  }));
}

/** What is sent to put up again what was up before. */
function again(notice) {
  if (!notice) return null;
  const { since, by, ...rest } = notice;
  return rest;
}

/** Show what all pages show now on this one too. */
async function renewBanners() {
  const page = new DOMParser().parseFromString(await (await fetch(window.location.href)).text(), "text/html");
  document.querySelectorAll("body > .posted").forEach((banner) => banner.remove());
  byId("main").before(...[...page.querySelectorAll("body > .posted")].map((banner) => document.adoptNode(banner)));
}

export function mount(place) {
  place.replaceChildren(byId("view-notices").content.cloneNode(true));
  const forms = { announcement: byId("announcement-form"), maintenance: byId("maintenance-form") };
  const problem = byId("notices-problem");
  let posted = { announcement: null, maintenance: null };

  function say(kind) {
    const [form, notice] = [forms[kind], posted[kind]];
    const state = form.querySelector("[data-state]");
    state.textContent = notice ? WORDS[kind].on : WORDS[kind].off;
    state.className = `state ${!notice ? "state-stopped" : kind === "maintenance" ? "state-failed" : "state-running"}`;
    form.querySelector("[data-end]").hidden = !notice;
    form.querySelector("[data-put]").textContent = notice ? t("Save changes") : WORDS[kind].begin;
  }

  function fill(kind) {
    say(kind);
    if (!posted[kind]) return;
    for (const field of fieldsOf(forms[kind])) {
      const value = posted[kind][field.name];
      field.value = field.name === "until" ? local(value) : Array.isArray(value) ? value.join(", ") : value;
    }
  }

  async function change(kind, notice, words, undoable = true) {
    show(problem, "");
    const before = again(posted[kind]);
    posted = await api("PATCH", "notices", { [kind]: notice });
    fill(kind);
    const undo = () => change(kind, before, t("It is as it was."), false).catch((error) => show(problem, error.message));
    tell(words, undoable ? undo : null);
    await renewBanners();
  }

  for (const [kind, form] of Object.entries(forms)) {
    // ``during`` puts the old text back on the button, hence ``say`` after it
    const press = (button, notice, words) => during(button, t("Saving…"), () => change(kind, notice, words), problem).then(() => say(kind));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      press(form.querySelector("[data-put]"), typed(form), posted[kind] ? t("The changes are saved.") : WORDS[kind].begun);
    });
    const end = form.querySelector("[data-end]");
    end.addEventListener("click", () => press(end, null, WORDS[kind].over));
  }

  async function load() {
    try {
      posted = await api("GET", "notices");
      Object.keys(forms).forEach(fill);
      place.dataset.loaded = "1";
    } catch (error) {
      show(problem, error.message);
    }
  }
  load();
  return { show() {}, close() {} };
}
