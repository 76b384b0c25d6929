// The admin page: its views. Each is a module of its own, loaded when it is first looked at; the address says which one.
import { show, t } from "./ui.js";

const VIEWS = {
  users: () => import("./admin-users.js"),
  groups: () => import("./admin-groups.js"),
  services: () => import("./admin-services.js"),
  hub: () => import("./admin-hub.js"),
  notices: () => import("./admin-notices.js"),
};

const place = document.getElementById("admin-view");
const problem = document.getElementById("admin-error");
const tabs = [...document.querySelectorAll("#admin-tabs a")];

/** The query of the address: what a view shows is in it, so that it can be kept, sent on, and gone back to. */
const address = {
  get: (name) => new URLSearchParams(window.location.search).get(name) || "",
  /** Change some of it; what is empty is left out. ``replace``: no new step to go back to. */
  set(changes, { replace = false } = {}) {
    const query = new URLSearchParams(window.location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const url = `?${query}`;
    if (url !== window.location.search) window.history[replace ? "replaceState" : "pushState"](null, "", url);
  },
};

let shown = "";
let view = null;

async function go() {
  // a view without a tab is not for this visitor
  const wanted = tabs.some((tab) => tab.dataset.view === address.get("view")) ? address.get("view") : "users";
  if (wanted === shown) {
    view?.show();
    return;
  }
  view?.close();
  view = null;
  shown = wanted;
  show(problem, "");
  for (const tab of tabs) {
    if (tab.dataset.view === wanted) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  try {
    const { mount } = await VIEWS[wanted]();
    if (shown !== wanted) return;
    place.replaceChildren();
    view = mount(place, { address, problem });
  } catch (error) {
    shown = "";
    show(problem, t("This part of the page could not be loaded: {error}", { error: error.message }));
  }
}

/** Go to another view, or the same one with another query, without loading the page anew. */
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='?view=']");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  window.history.pushState(null, "", link.getAttribute("href"));
  go();
});
window.addEventListener("popstate", go);
go();
