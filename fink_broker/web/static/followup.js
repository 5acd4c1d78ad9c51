// The form that asks for follow-up: it shows the request first; nothing is sent unless that button is pressed.
"use strict";

(async () => {
  const form = document.getElementById("followup"), said = document.getElementById("followup-said");
  const names = await (await fetch("/api/v1/followup")).json();
  form.elements.to.replaceChildren(...names.map((name) => new Option(name)));
  form.hidden = !names.length;
  if (!names.length) said.textContent = "No outlet of this broker asks for follow-up (docs/outlets.md).";
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await fetch("/api/v1/followup", {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${form.elements.token.value}` },
      body: JSON.stringify({ objectId: form.dataset.object, to: form.elements.to.value, send: event.submitter.value === "yes" }),
    });
    const found = await answer.json();
    said.textContent = answer.ok ? [...found.requests, found.sent ? "sent" : "nothing was sent"].join("\n") : found.error;
  });
})();
