// The choice of light or dark, before the first paint (hence no module). Without a choice the system decides.
(function () {
  "use strict";
  var key = "jupyterhub-bs-theme";
  var chosen = null;
  try { chosen = localStorage.getItem(key); } catch (e) { /* storage may be off */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme-toggle");
    if (!button) return;
    button.hidden = false;
    function isDark() {
      return (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    }
    function label() {
      var text = isDark() ? button.dataset.light || "Light theme" : button.dataset.dark || "Dark theme";
      button.setAttribute("aria-label", text);
      button.title = text;
    }
    label();
    button.addEventListener("click", function () {
      var next = isDark() ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      try { localStorage.setItem(key, next); } catch (e) { /* stays for this page only */ }
      label();
    });
  });
})();
