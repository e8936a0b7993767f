// The button by which whoever is signed in wants to be told of tickets by this browser. `shell.js` tells.
"use strict";
const notify = document.querySelector("[data-notify]");

function showNotify() {
  const isOn = localStorage.getItem("aob-notify") === "on" && Notification.permission === "granted";
  notify.setAttribute("aria-pressed", String(isOn));
  notify.querySelector("span").textContent = isOn ? "Do not notify me here" : "Notify me in this browser";
}

if (notify && "Notification" in window) {
  notify.hidden = false;
  showNotify();
  notify.addEventListener("click", async () => {
    const wasOn = notify.getAttribute("aria-pressed") === "true";
    const isGranted = !wasOn && (await Notification.requestPermission()) === "granted";
    localStorage.setItem("aob-notify", isGranted ? "on" : "off");
    if (!wasOn && !isGranted) {
      notify.title = "This browser does not allow it; see the settings of this page in the browser.";
    }
    showNotify();
  });
}
