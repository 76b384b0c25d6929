// What the views of the admin page share: dialogs with forms, pages of lists, and work on many things with a way back.
import { api } from "./api.js";
import { language, make, show, t } from "./ui.js";

/** How many requests of one job are under way at once. */
const AT_ONCE = 4;

export const number = (value) => value.toLocaleString(language);

let ids = 0;
/** A labelled field of a form; ``help`` is read out with it. */
export function field(label, input, help = "") {
  input.id ||= `field-${(ids += 1)}`;
  const parts = [make("label", { for: input.id, text: label }), input];
  if (help) {
    input.setAttribute("aria-describedby", `${input.id}-help`);
    parts.push(make("p", { class: "field-help", id: `${input.id}-help`, text: help }));
  }
  return make("div", { class: "field" }, ...parts);
}

/** A box with its text. */
export function check(label, input) {
  return make("label", { class: "check" }, input, make("span", { text: label }));
}

/** A text field that offers the names of groups as one types. */
export function groupInput(attributes = {}) {
  const list = make("datalist", { id: `groups-${(ids += 1)}` });
  const input = make("input", { class: "form-control", list: list.id, autocomplete: "off", maxlength: 255, ...attributes });
  let asked = null;
  const offer = async () => {
    if (asked === input.value) return;
    asked = input.value;
    try {
      const page = await api("GET", `groups?${new URLSearchParams({ include_users: 0, limit: 20, name_filter: asked })}`);
      list.replaceChildren(...page.items.map((group) => make("option", { value: group.name })));
    } catch { /* then the name has to be typed */ }
  };
  input.addEventListener("input", offer);
  input.addEventListener("focus", offer);
  return { input, list };
}

/** A form in a dialog. It stays open, and says why, until ``work`` has gone well; gives false if it was cancelled. */
export function formDialog({ title, body, yes, danger = false, large = false, work }) {
  const label = make("h2", { class: "modal-title", id: `dialog-${(ids += 1)}`, text: title });
  const problem = make("p", { class: "notice notice-error", role: "alert", hidden: true });
  const submit = make("button", { class: `button ${danger ? "button-danger" : "button-primary"}`, text: yes });
  const cancel = make("button", { class: "button", type: "button", text: t("Cancel"), autofocus: danger });
  const form = make(
    "form",
    { novalidate: true },
    label,
    make("div", { class: "modal-body" }, ...body, problem),
    make("div", { class: "modal-footer" }, cancel, submit),
  );
  const element = make("dialog", { class: large ? "modal modal-large" : "modal", "aria-labelledby": label.id }, form);
  let done = false;
  cancel.addEventListener("click", () => element.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    show(problem, "");
    try {
      await work(form);
      done = true;
      element.close();
    } catch (error) {
      show(problem, error.message);
    } finally {
      submit.disabled = false;
    }
  });
  document.body.append(element);
  element.showModal();
  return new Promise((resolve) => {
    element.addEventListener("close", () => {
      element.remove();
      resolve(done);
    });
  });
}

/** The buttons below a list. ``go(offset)`` shows another part of it. */
export function pager(go) {
  const button = (text, label) => make("button", { class: "button button-small", type: "button", "aria-label": label, text });
  const first = button("«", t("First page"));
  const previous = button("‹", t("Previous page"));
  const next = button("›", t("Next page"));
  const last = button("»", t("Last page"));
  const where = make("span", { role: "status" });
  let at = { offset: 0, limit: 1, total: 0 };
  first.addEventListener("click", () => go(0));
  previous.addEventListener("click", () => go(Math.max(0, at.offset - at.limit)));
  next.addEventListener("click", () => go(at.offset + at.limit));
  last.addEventListener("click", () => go(Math.floor((at.total - 1) / at.limit) * at.limit));
  const element = make("nav", { class: "pager", "aria-label": t("Pages") }, first, previous, where, next, last);
  return {
    element,
    show(pagination, shown) {
      at = pagination;
      const from = at.offset + 1;
      const text = shown ? t("{from}–{to} of {total}", { from: number(from), to: number(at.offset + shown), total: number(at.total) }) : "";
      if (where.textContent !== text) where.textContent = text;
      first.disabled = previous.disabled = at.offset === 0;
      next.disabled = last.disabled = at.offset + at.limit >= at.total;
    },
  };
}

/** Ask for all items of a list, page by page. ``each(items, total)`` may return false to end it. */
export async function everything(path, query, each) {
  for (let offset = 0, total = 1; offset < total; ) {
    const page = await api("GET", `${path}?${new URLSearchParams({ ...query, offset, limit: 200 })}`);
    total = page._pagination.total;
    if (!page.items.length || each(page.items, total) === false) return;
    offset += page._pagination.limit;
  }
}

const jobs = document.getElementById("admin-jobs");

/** Say what has been done, with a button to undo it if there is a way back. */
export function tell(text, undo = null, failures = []) {
  const close = make("button", { class: "button button-small button-quiet", type: "button", "aria-label": t("Dismiss"), text: "✕" });
  const note = make("div", { class: failures.length ? "job job-failed" : "job" }, make("p", { text }));
  if (failures.length) {
    const list = make("ul", {}, ...failures.slice(0, 50).map(([what, why]) => make("li", { text: `${what}: ${why}` })));
    note.append(make("details", {}, make("summary", { text: t("What went wrong") }), list));
  }
  const actions = make("div", { class: "actions" });
  if (undo) {
    const back = make("button", { class: "button button-small", type: "button", text: t("Undo") });
    back.addEventListener("click", () => {
      note.remove();
      undo();
    });
    actions.append(back);
  }
  actions.append(close);
  close.addEventListener("click", () => note.remove());
  note.append(actions);
  // What went well and cannot be undone need not stay; what failed does.
  if (!failures.length) setTimeout(() => note.remove(), undo ? 30_000 : 6000);
  while (jobs.childElementCount > 2) jobs.firstElementChild.remove();
  jobs.append(note);
}

/** Do something for each of many, a few at once, with progress and a way to end it; then tell.

    ``doing`` and ``done`` make texts of how many; ``undo(items)`` is offered for those that went well. */
export async function job({ items, name = String, doing, done, work, undo = null }) {
  const bar = make("progress", { max: items.length, value: 0, "aria-label": doing(number(items.length)) });
  const stop = make("button", { class: "button button-small", type: "button", text: t("Stop here") });
  const note = make("div", { class: "job" }, make("p", { text: doing(number(items.length)) }), bar, make("div", { class: "actions" }, stop));
  let ended = false;
  stop.addEventListener("click", () => { ended = true; });
  // what is over at once needs no bar
  const shown = setTimeout(() => jobs.append(note), 300);
  const waiting = [...items];
  const well = [];
  const failures = [];
  const hand = async () => {
    while (waiting.length && !ended) {
      const item = waiting.shift();
      try {
        await work(item);
        well.push(item);
      } catch (error) {
        failures.push([name(item), error.message]);
      }
      bar.value = well.length + failures.length;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, hand));
  clearTimeout(shown);
  note.remove();
  const text = failures.length ? t("{text} {failed} failed.", { text: done(number(well.length)), failed: number(failures.length) }) : done(number(well.length));
  tell(text, undo && well.length ? () => undo(well) : null, failures);
  return well;
}

/** Look again and again while the page is seen; ``look`` gives after how many milliseconds the next time is. */
export function keepLooking(look) {
  let timer = 0;
  let over = false;
  const round = async () => {
    clearTimeout(timer);
    const pause = document.hidden ? 60_000 : await look();
    if (!over) timer = setTimeout(round, pause);
  };
  const seen = () => { if (!document.hidden) round(); };
  document.addEventListener("visibilitychange", seen);
  timer = setTimeout(round, 3000);
  return () => {
    over = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
}

/** Call something once when nothing has happened for a moment. */
export function settled(work, pause = 200) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, pause);
  };
}
