// The start of a server, live: events as they come, time passed, cancel; goes on by itself when the server is ready.
// The stream gives all events from the first one whenever it is opened, so a lost connection loses nothing.
import { api } from "./api.js";

const card = document.getElementById("progress");
const bar = document.getElementById("progress-bar");
const message = document.getElementById("progress-message");
const log = document.getElementById("progress-log");
const time = document.getElementById("progress-time");
const stop = document.getElementById("stop");
const began = Date.now();
let over = false;

const clock = setInterval(() => {
  const seconds = Math.round((Date.now() - began) / 1000);
  time.textContent = seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}, 1000);

function state(text) {
  document.title = `${text} – JupyterHub`;
}

function tell(event) {
  const line = document.createElement("li");
  // html_message is what the deployment's spawner wrote for this place
  if (event.html_message) {
    line.innerHTML = event.html_message;
    message.innerHTML = event.html_message;
  } else if (event.message) {
    line.textContent = event.message;
    message.textContent = event.message;
  }
  if (event.progress !== undefined) bar.value = event.progress;
  if (event.message || event.html_message) log.append(line);
}

function failed() {
  over = true;
  clearInterval(clock);
  bar.removeAttribute("value");
  bar.value = 0;
  stop.hidden = true;
  document.getElementById("retry").hidden = false;
  state("Start failed");
}

function follow() {
  const source = new EventSource(card.dataset.url);
  source.addEventListener("open", () => log.replaceChildren());
  source.addEventListener("message", (raw) => {
    const event = JSON.parse(raw.data);
    tell(event);
    if (event.ready) {
      over = true;
      source.close();
      state("Ready");
      // This page's address leads on: to "next" if there is one, to the server otherwise.
      window.location.reload();
    } else if (event.failed) {
      source.close();
      failed();
    } else {
      state(event.progress === undefined ? "Starting…" : `${event.progress} % – starting`);
    }
  });
  source.addEventListener("error", () => {
    if (over) return;
    source.close();
    message.textContent = "The connection to the hub was lost. Trying again…";
    setTimeout(async () => {
      // The stream may be refused for good, because the start is over: the page itself says how it ended.
      try {
        const answer = await fetch(window.location.href, { redirect: "manual" });
        if (answer.type === "opaqueredirect" || answer.status !== 200) return window.location.reload();
      } catch { /* the hub is away: the next try tells */ }
      follow();
    }, 1500);
  });
}

stop.addEventListener("click", async () => {
  stop.disabled = true;
  message.textContent = "Cancelling…";
  try {
    await api("DELETE", card.dataset.serverUrl);
  } catch (error) {
    message.textContent = error.message;
    stop.disabled = false;
  }
});

state("Starting…");
follow();
