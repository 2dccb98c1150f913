// Edited content before it is sent again: first what would be sent against what was, then the command.
"use strict";

(() => {
  const form = document.getElementById("edit");
  if (!form) return;
  const byId = (id) => document.getElementById(id);
  const xml = byId("edit-xml");
  const xmlWas = xml.value;
  const edits = () => {
    if (xml.value !== xmlWas) return { xml: xml.value };
    const fields = {};
    for (const input of form.querySelectorAll("[data-field]")) {
      if (input.value !== input.dataset.was) fields[input.dataset.field] = input.value;
    }
    return Object.keys(fields).length ? { fields } : null;
  };
  const order = (dryRun) => ({
    reason: byId("edit-reason").value.trim(), dry_run: dryRun, edit: edits(), state: form.dataset.state,
  });
  const fail = (error) => { byId("edit-error").textContent = error.message; };
  const address = `/api/v1/deliveries/${form.dataset.delivery}/replay`;

  const spread = (text) => (text.trim().startsWith("<") ? text.replace(/>\s*</g, ">\n<") : text.replace(/([{,])"/g, "$1\n\""));
  const compare = (before, after) => window.omgate.compare(spread(before), spread(after));

  form.addEventListener("input", () => { byId("edit-send").disabled = true; });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    byId("edit-error").textContent = "";
    if (!edits()) { fail(new Error("Nothing was edited yet.")); return; }
    try {
      const found = await window.omgate.call("POST", address, order(true));
      const replay = found.replay || {};
      const call = replay.call || {};
      const result = byId("edit-result");
      result.replaceChildren();
      if (replay.error) throw new Error(replay.error);
      const title = document.createElement("h2");
      title.textContent = `It would be sent: ${call.request_line || ""}`;
      result.append(title, compare((replay.last_attempt && replay.last_attempt.request) || "", call.request || ""));
      byId("edit-send").disabled = false;
    } catch (error) { fail(error); }
  });
  byId("edit-send").addEventListener("click", async () => {
    try {
      const sent = await window.omgate.call("POST", address, order(false));
      if (sent.proposal) {
        sessionStorage.setItem("toast", "It waits for a second person to approve it.");
        location.href = "/dead";
        return;
      }
      location.href = `/deliveries/${sent.delivery_id}`;
    } catch (error) { fail(error); }
  });
})();
