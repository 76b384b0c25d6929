// The start of a server, live: events as they come, time passed, cancel; goes on by itself when the server is ready.
// The stream gives all events from the first one whenever it is opened, so a lost connection loses nothing.
import { api } from "./api.js";
import { duration, show, t } from "./ui.js";

const byId = (id) => document.getElementById(id);
const card = byId("progress");
const bar = byId("progress-bar");
const message = byId("progress-message");
const log = byId("progress-log");
const stop = byId("stop");
const problem = byId("progress-error");
const connection = byId("progress-connection");
const began = Date.now() - 1000 * Number(card.dataset.elapsed);
let isCancelled = false;
let lost = 0;

const tick = () => { byId("progress-time").textContent = duration((Date.now() - began) / 1000); };
const clock = setInterval(tick, 1000);
tick();

// The page's title without its first part: a deployment may call its hub otherwise.
const site = document.title.split(" – ").pop();

function title(text) {
  document.title = `${text} – ${site}`;
}

/** Replace the heading, unless a deployment's own template has another. */
function head(text, hint) {
  const heading = byId("progress-title");
  if (heading) heading.textContent = text;
  const line = byId("progress-hint");
  if (line) line.textContent = hint;
}

function tell(event) {
  if (event.progress !== undefined) bar.value = event.progress;
  if (!event.message && !event.html_message) return;
  const line = document.createElement("li");
  for (const place of [line, message]) {
    // html_message is what the deployment's spawner wrote for this place
    if (event.html_message) place.innerHTML = event.html_message;
    else place.textContent = event.message;
  }
  log.append(line);
  log.scrollTop = log.scrollHeight;
}

function failed() {
  clearInterval(clock);
  bar.value = 0;
  bar.classList.add("failed");
  stop.hidden = true;
  const retry = byId("retry");
  retry.hidden = false;
  if (isCancelled) {
    title(t("Cancelled"));
    head(t("The start was cancelled."), "");
    message.textContent = "";
  } else {
    title(t("Start failed"));
    head(t("Your server did not start."), t("Try again. If it fails again, choose other options if there are any, or tell whoever runs this hub what is said here."));
    message.classList.add("notice", "notice-error");
  }
  retry.focus();
}

function follow() {
  const source = new EventSource(card.dataset.url);
  let isFirst = true;
  source.addEventListener("open", () => {
    lost = 0;
    show(connection, "");
  });
  source.addEventListener("message", (raw) => {
    if (isFirst) log.replaceChildren();
    isFirst = false;
    const event = JSON.parse(raw.data);
    tell(event);
    if (event.ready) {
      source.close();
      title(t("Ready"));
      // This page's address leads on: to "next" if there is one, to the server otherwise.
      window.location.reload();
    } else if (event.failed) {
      source.close();
      failed();
    } else {
      title(event.progress === undefined ? t("Starting…") : t("{n} % – starting", { n: event.progress }));
    }
  });
  source.addEventListener("error", () => {
    source.close();
    lost += 1;
    if (lost > 1) {
      show(connection, t("The hub cannot be reached. Your server goes on starting; this page looks again by itself."));
      title(t("Waiting for the hub"));
    }
    setTimeout(lookAgain, Math.min(10_000, 500 * 2 ** lost));
  });
}

/** The stream ended or could not be had: the hub is away, or the start is over and the page itself says how. */
async function lookAgain() {
  try {
    const answer = await fetch(window.location.href, { redirect: "manual" });
    const text = answer.type === "opaqueredirect" ? "" : await answer.text();
    const hubIsAway = [502, 503, 504].includes(answer.status) && !text.includes('id="start"');
    if (!hubIsAway && !text.includes('id="progress"')) return window.location.reload();
  } catch { /* no connection: the next try tells */ }
  follow();
}

stop.addEventListener("click", async () => {
  stop.disabled = true;
  isCancelled = true;
  message.textContent = t("Cancelling…");
  show(problem, "");
  try {
    await api("DELETE", card.dataset.serverUrl);
  } catch (error) {
    isCancelled = false;
    stop.disabled = false;
    show(problem, error.message);
  }
});

title(t("Starting…"));
follow();
