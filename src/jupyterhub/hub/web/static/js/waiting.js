// Pages that go on by themselves: a server that stops, a server that is about to be started.
import { t } from "./ui.js";

/** Look every two seconds, quietly, whether the server has stopped; only then is the page another one. */
async function untilStopped() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 2000));
    try {
      const answer = await fetch(window.location.href, { redirect: "manual" });
      if (answer.type === "opaqueredirect" || !(await answer.text()).includes('id="stopping"')) break;
    } catch { /* the hub is away for a moment */ }
  }
  window.location.reload();
}

function count(element) {
  let left = Math.ceil(Number(element.dataset.seconds));
  const stay = document.getElementById("stay");
  const tell = () => { element.textContent = t("It will be started in {s} s.", { s: left }); };
  const clock = setInterval(() => {
    left -= 1;
    if (left > 0) return tell();
    clearInterval(clock);
    window.location.href = element.dataset.url;
  }, 1000);
  stay.hidden = false;
  stay.addEventListener("click", () => {
    clearInterval(clock);
    stay.hidden = true;
    element.textContent = t("It will not be started unless you say so.");
    document.getElementById("start").focus();
  });
  tell();
}

if (document.getElementById("stopping")) untilStopped();
const countdown = document.getElementById("countdown");
if (countdown) count(countdown);
