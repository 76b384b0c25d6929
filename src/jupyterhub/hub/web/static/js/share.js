// The dialog in which an owner shares a server: with a user, a group, or whoever has a link; and takes it back.
import { api, escapeName } from "./api.js";
import { copy, dialog, during, make, relative, show, t } from "./ui.js";

const DAY = 86_400;
const EXPIRY = [[3600, "1 hour"], [DAY, "1 day"], [7 * DAY, "1 week"], [30 * DAY, "1 month"], ["", "never"]];

/** All entries of a paged list. */
async function all(path) {
  const found = [];
  for (;;) {
    const page = await api("GET", `${path}?offset=${found.length}&limit=200`);
    found.push(...page.items);
    if (!page._pagination.next) return found;
  }
}

function field(label, control, help) {
  const children = [make("label", { for: control.id, text: label }), control];
  if (help) children.push(make("p", { class: "field-help", text: help }));
  return make("div", { class: "field" }, ...children);
}

export async function share(owner, server, shown) {
  const where = `${escapeName(owner)}/${escapeName(server)}`;
  const problem = make("p", { class: "notice notice-error", role: "alert", hidden: true });
  const list = make("ul", { class: "share-list" });
  const listTitle = make("h3", { text: t("Who may use it") });
  const link = make("input", { class: "form-control", readonly: true, id: "share-link" });
  const copyLink = make("button", { class: "button", type: "button", text: t("Copy link"), onclick: () => copy(link.value, copyLink, link) });
  const made = make("div", { class: "notice notice-ok", role: "status", hidden: true },
    field(t("The link, shown only now:"), link), copyLink);

  const kind = make("select", { class: "form-control", id: "share-kind" },
    make("option", { value: "user", text: t("a user") }),
    make("option", { value: "group", text: t("a group") }),
    make("option", { value: "link", text: t("whoever has a link") }));
  const name = make("input", { class: "form-control", id: "share-name", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  const nameField = field(t("User name"), name);
  const expiry = make("select", { class: "form-control", id: "share-expiry" },
    ...EXPIRY.map(([seconds, text]) => make("option", { value: seconds, text: t(text), selected: seconds === DAY })));
  const expiryField = field(t("The link can be used for"), expiry, t("Who has used it keeps the access until you take it back."));
  const grant = make("button", { class: "button button-primary", type: "button", text: t("Share") });
  const adapt = () => {
    nameField.hidden = kind.value === "link";
    expiryField.hidden = kind.value !== "link";
    nameField.querySelector("label").textContent = kind.value === "group" ? t("Group name") : t("User name");
    grant.textContent = kind.value === "link" ? t("Make a link") : t("Share");
  };
  kind.addEventListener("change", adapt);
  adapt();

  function row(title, details, work) {
    const revoke = make("button", { class: "button button-small button-danger", type: "button", text: t("Revoke"), "aria-label": t("Revoke {name}", { name: title }) });
    revoke.addEventListener("click", () => during(revoke, t("Revoking…"), async () => { await work(); await load(); }, problem));
    return make("li", {}, make("div", {}, make("strong", { text: title }), make("span", { class: "muted", text: ` ${details}` })), revoke);
  }

  async function load() {
    const [shares, codes] = await Promise.all([all(`shares/${where}`), all(`share-codes/${where}`)]);
    const scopes = (entry) => entry.scopes.map((scope) => scope.split("!")[0]).join(", ");
    list.replaceChildren(
      ...shares.map((entry) => {
        const to = entry.user ? { user: entry.user.name } : { group: entry.group.name };
        const title = to.user || t("group {name}", { name: to.group });
        return row(title, `${scopes(entry)} · ${relative(new Date(entry.created_at))}`, () => api("PATCH", `shares/${where}`, to));
      }),
      ...codes.map((entry) => row(
        t("Link"),
        [
          entry.expires_at ? t("expires {when}", { when: relative(new Date(entry.expires_at)) }) : t("never expires"),
          t("used {n} times", { n: entry.exchange_count }),
        ].join(" · "),
        () => api("DELETE", `share-codes/${where}?id=${encodeURIComponent(entry.id)}`),
      )),
    );
    if (!list.children.length) list.append(make("li", { class: "muted", text: t("Nobody but you.") }));
  }

  grant.addEventListener("click", () => during(grant, t("Sharing…"), async () => {
    made.hidden = true;
    if (kind.value === "link") {
      const code = await api("POST", `share-codes/${where}`, expiry.value ? { expires_in: Number(expiry.value) } : {});
      link.value = new URL(code.full_accept_url || code.accept_url, window.location.href).href;
      made.hidden = false;
    } else {
      if (!name.value.trim()) throw new Error(t("Say with whom."));
      await api("POST", `shares/${where}`, { [kind.value]: name.value.trim() });
      name.value = "";
    }
    await load();
  }, problem));
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    grant.click();
  });

  const closed = dialog({
    title: server ? t("Share {name}", { name: shown }) : t("Share your server"),
    large: true,
    body: [
      make("p", { class: "muted", text: t("Others can open the server and do there all that you can, with your files.") }),
      problem,
      make("div", { class: "columns-2" }, field(t("Share with"), kind), nameField, expiryField),
      grant,
      made,
      listTitle,
      list,
    ],
    buttons: [make("button", { class: "button", value: "", text: t("Close") })],
  });
  try {
    await load();
  } catch (error) {
    show(problem, error.message);
  }
  await closed;
}
