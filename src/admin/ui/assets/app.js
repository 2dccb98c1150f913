// What the pages do beside links and forms: commands with their count first, times that people read, saved views, copying.
// It asks the API of this gateway alone, as a command line would.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);

  // ---- Moments: the reader's own time, how long ago as a title ----
  const ago = (ms) => {
    const s = Math.round(ms / 1000);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s / 60) % 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s / 3600) % 24)} h`;
  };
  const times = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const past = Date.now() - at.getTime();
      const iso = at.toISOString();
      const plain = `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
      time.textContent = time.classList.contains("age") ? ago(Math.max(past, 0)) : plain;
      time.title = `${plain}, ${past >= 0 ? `${ago(past)} ago` : `in ${ago(-past)}`}, here ${at.toLocaleString()}`;
    }
  };

  // ---- The API ----
  const { alive } = window.omgate;
  const call = async (method, address, body) => {
    const init = { method, headers: { Accept: "application/json" } };
    if (body !== undefined) {
      init.headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(body);
      init.headers["Idempotency-Key"] = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2);
    }
    let response;
    try {
      response = await fetch(address, init);
    } catch (error) {
      throw new Error("The gateway does not answer. Is it running?");
    }
    const text = await response.text();
    let document = null;
    try { document = text ? JSON.parse(text) : null; } catch (error) { /* not JSON */ }
    if (response.status === 401) {
      alive.ended();
      const error = new Error("You are not logged in any more: log in again, and do it then.");
      error.status = response.status;
      throw error;
    }
    alive.answered();
    if (!response.ok) {
      const lines = document && (document.problems || []).join("\n");
      const error = new Error(`${(document && document.detail) || text || response.statusText}${lines ? `\n${lines}` : ""}`);
      error.status = response.status;
      throw error;
    }
    return document;
  };

  let toasting;
  const toast = (text) => {
    byId("toast").textContent = text;
    clearTimeout(toasting);
    toasting = setTimeout(() => { byId("toast").textContent = ""; }, 8000);
  };

  // ---- Commands: a button says what it does in data-…; the dialog shows the count and asks for the reason ----
  const dialog = byId("command");
  let pending = null;

  // What is picked stays picked while the list is drawn anew: a button never takes more than was picked.
  const picked = new Set();
  const selected = () => [...picked];
  const isAsked = () => {
    // Whether the filters in the form are those that the list was asked for.
    const form = document.querySelector("form.filters");
    if (!form) return true;
    const plain = (pairs) => JSON.stringify([...pairs].filter(([name, value]) => value !== "" && !["live", "before", "limit"].includes(name)).sort());
    return plain(new FormData(form)) === plain(new URLSearchParams(location.search));
  };
  const label = () => {
    const fits = isAsked();
    for (const span of document.querySelectorAll("[data-selected]")) {
      const group = span.closest(".actions");
      const choice = group.querySelector("[data-choose]");
      const nothing = choice && choice.dataset.choose === "{}";
      let text = span.dataset.selected;
      if (picked.size) text = `${picked.size} selected`;
      else if (!fits) text = "The filters were changed: press Show first";
      else if (nothing) text = "Set a filter, or tick rows";
      span.textContent = text;
      for (const button of group.querySelectorAll("[data-choose]")) button.disabled = !picked.size && (!fits || nothing);
    }
  };
  const redraw = () => {
    for (const box of document.querySelectorAll("input[name=pick]")) box.checked = picked.has(Number(box.value));
    label();
  };

  const bodyOf = (button) => {
    const body = JSON.parse(button.dataset.body || "{}");
    if (button.dataset.choose) {
      const ids = selected();
      body.choose = ids.length && !button.hasAttribute("data-all") ? { ids } : JSON.parse(button.dataset.choose);
    }
    return body;
  };

  // When a pause ends, as the field for a local time takes it.
  const PRESETS = {
    "1h": () => new Date(Date.now() + 3600e3),
    "4h": () => new Date(Date.now() + 4 * 3600e3),
    morning: () => { const at = new Date(); at.setDate(at.getDate() + 1); at.setHours(6, 0, 0, 0); return at; },
    resumed: () => null,
  };
  const UNTIL = { "1h": "for 1 hour", "4h": "for 4 hours", morning: "until tomorrow 06:00", resumed: "until resumed" };
  // The button says which: nobody stops a system for good who meant an hour.
  const untilTold = () => {
    if (!pending || !pending.button.hasAttribute("data-until")) return;
    const pressed = document.querySelector("[data-preset][aria-pressed=true]");
    const typed = byId("command-until").value;
    const until = pressed ? UNTIL[pressed.dataset.preset] : typed ? `until ${typed.replace("T", " ")}` : UNTIL.resumed;
    byId("command-yes").textContent = `Pause ${until}`;
  };
  const press = (button) => {
    for (const other of document.querySelectorAll("[data-preset]")) other.setAttribute("aria-pressed", String(other === button));
    untilTold();
  };
  const preset = (button) => {
    const at = PRESETS[button.dataset.preset]();
    // A part of a minute more: the field has no seconds.
    const local = at && new Date(Math.ceil(at.getTime() / 60e3) * 60e3 - at.getTimezoneOffset() * 60e3);
    byId("command-until").value = local ? local.toISOString().slice(0, 16) : "";
    press(button);
  };

  const wants = (id, yes) => { byId(`${id}-label`).hidden = !yes; };

  const sampleOf = (found) => {
    const holder = byId("command-sample");
    holder.replaceChildren();
    const rows = found && found.sample ? found.sample : [];
    if (!rows.length) return;
    const table = document.createElement("table");
    for (const row of rows.slice(0, 8)) {
      const line = table.insertRow();
      for (const key of ["delivery_id", "record_id", "destination", "state", "reason"]) {
        line.insertCell().textContent = row[key] === null || row[key] === undefined ? "" : String(row[key]);
      }
    }
    const wide = document.createElement("div");
    wide.className = "wide";
    wide.append(table);
    holder.append(wide);
  };

  // ---- What a reload would do, and what is let go would wait for ----
  const tell = (lines) => {
    byId("command-told").hidden = !lines.length;
    byId("command-told").replaceChildren(...lines.map(([text, className]) => {
      const item = document.createElement("li");
      item.textContent = text;
      if (className) item.className = className;
      return item;
    }));
  };

  const many = (count) => `${count.toLocaleString()} ${count === 1 ? "delivery" : "deliveries"}`;
  const orphansOf = (found) => (found.orphans || []).reduce((sum, orphan) => sum + orphan.count, 0);

  const reloadTold = (found) => {
    const lines = [];
    const list = (key, what, className) => { for (const one of found[key] || []) lines.push([`${what}: ${one}`, className]); };
    list("files", "changed file");
    list("added", "added");
    list("altered", "says something else");
    list("removed", "removed", "bad");
    list("systems_changed", "other limits");
    list("needs_restart", "from the next start only");
    for (const orphan of found.orphans || []) lines.push([`${many(orphan.count)} of route ${orphan.route} to ${orphan.destination} would lose their way`, "bad"]);
    if (found.orphans_before) lines.push([`${many(found.orphans_before)} have had no way since before`]);
    list("warnings", "check says");
    tell(lines);
    wants("command-orphans", orphansOf(found) > 0);
    return found.changed ? `The configuration is right and would be taken; version ${found.version} stays in force until then.`
      : `Nothing changed: version ${found.version} stays in force.`;
  };

  // What a pause holds back, and a resume lets go.
  const steerTold = ({ waiting, blocked }) => {
    if (waiting === null) return "How much waits cannot be counted now.";
    if (!waiting && !blocked) return "Nothing waits.";
    return `${many(waiting)} ${waiting === 1 ? "waits" : "wait"}${blocked ? `, ${blocked.toLocaleString()} more ${blocked === 1 ? "is" : "are"} blocked behind ${waiting === 1 ? "it" : "them"}` : ""}.`;
  };

  const waitsTold = (own, found) => {
    const waits = found.waits || [];
    tell(waits.map((wait) => [`${wait.text}: ${wait.advice}`, "warning"]));
    own.resume = dialog.dataset.mayOperate === "true" ? waits.filter((wait) => wait.can_resume).map((wait) => wait.system) : [];
    byId("command-resume-text").textContent = `resume ${own.resume.join(", ")} too`;
    wants("command-resume", own.resume.length > 0);
  };

  // Another tab, or somebody else, may have been faster: then there is a link to how it stands now.
  const fail = (error, own) => {
    byId("command-error").textContent = error.message;
    const one = /\/deliveries\/(\d+)\//.exec(own.command);
    byId("command-now").hidden = ![401, 404, 409].includes(error.status);
    const link = byId("command-now").firstChild;
    if (error.status === 401) {
      link.href = alive.login();
      link.textContent = "Log in again, and come back here";
      return;
    }
    link.href = one ? `/deliveries/${one[1]}` : location.href;
    link.textContent = one ? `It changed meanwhile? See how delivery ${one[1]} stands now` : "See how it stands now";
  };

  const open = async (button) => {
    const { command, verb } = button.dataset;
    const body = bodyOf(button);
    const own = { button, command, body };
    pending = own;
    byId("command-title").textContent = verb;
    byId("command-error").textContent = "";
    byId("command-reason").value = "";
    byId("command-rate").value = "";
    byId("command-until").value = "";
    byId("command-newer").checked = false;
    byId("command-failing").checked = false;
    wants("command-failing", false);
    byId("command-sample").replaceChildren();
    byId("command-orphans").value = "";
    byId("command-resume").checked = false;
    byId("command-now").hidden = true;
    tell([]);
    wants("command-reason", !button.hasAttribute("data-without-reason"));
    wants("command-orphans", false);
    wants("command-resume", false);
    byId("command-text").textContent = button.dataset.text || "";
    byId("command-yes").textContent = verb;
    const { ids, ...filters } = body.choose || {};
    const words = Object.entries(filters).map(([name, value]) => `${name.replace("_", " ")}: ${value}`);
    byId("command-choice").textContent = ids ? `${ids.length} picked` : words.join(", ");
    // What is counted first is done when the count was seen.
    byId("command-yes").disabled = button.hasAttribute("data-dry");
    wants("command-rate", Boolean(body.choose) || button.hasAttribute("data-rate"));
    wants("command-until", button.hasAttribute("data-until"));
    wants("command-presets", button.hasAttribute("data-until"));
    press(document.querySelector("[data-preset=resumed]"));
    wants("command-newer", button.hasAttribute("data-newer"));
    dialog.showModal();
    byId("command-reason").focus();
    if (!button.hasAttribute("data-dry")) return;
    byId("command-text").textContent = "Counting…";
    try {
      const found = await call("POST", command, { ...body, dry_run: true });
      if (pending !== own) return;
      byId("command-yes").disabled = false;
      let text = button.dataset.text || "";
      if (found && typeof found.count === "number") {
        text = `${many(found.count)}.`;
        const others = ids ? ids.length - found.count - (found.missing || 0) : 0;
        if (others > 0) text += ` ${others} of those picked ${others === 1 ? "is" : "are"} in another state by now.`;
        if (found.hint) text += ` ${found.hint}.`;
        waitsTold(own, found);
        if (found.missing) text += ` ${found.missing} of those named are gone.`;
        if (found.outdated && found.outdated.length) {
          text += ` Of the first ${found.sample.length}, ${found.outdated.length} would be refused: a newer state of the record was already delivered.`;
        }
        const failing = found.failing || [];
        for (const one of failing) text += ` Of delivery ${one.delivery_id} no call can be made: ${one.reason}.`;
        if (failing.length && failing.length === found.tried) {
          text += ` All ${found.tried} that were tried would fail again: mend the configuration first.`;
          wants("command-failing", true);
        }
        byId("command-yes").disabled = found.count === 0;
        sampleOf(found);
      } else if (found && "blocked" in found) {
        text = `${steerTold(found)} ${text}`;
      } else if (found && found.files) {
        own.orphans = orphansOf(found);
        text = reloadTold(found);
      } else if (found && found.replay && found.replay.error) {
        text = `It would die again at once, for no call can be made: ${found.replay.error}. Mend that first.`;
        wants("command-failing", true);
      } else if (found && found.replay && found.replay.call) {
        text = `It would call: ${found.replay.call.request_line}`;
        waitsTold(own, found);
      }
      byId("command-text").textContent = text;
    } catch (error) {
      if (pending !== own) return;
      byId("command-text").textContent = "";
      fail(error, own);
    }
  };

  // What was found stays in the dialog, a line each.
  const told = (answer) => {
    const list = document.createElement("ul");
    for (const one of answer.findings || []) {
      const item = document.createElement("li");
      item.textContent = `${one.level}: ${one.check}: ${one.found}${one.advice ? ` — ${one.advice}` : ""}`;
      if (one.level === "failed") item.className = "bad";
      list.append(item);
    }
    byId("command-text").textContent = answer.ok ? "It is well." : "Something is in the way.";
    byId("command-sample").replaceChildren(list);
    byId("command-yes").disabled = false;
  };

  // What could not be done stays in the dialog, a line each; the rest is done.
  const failedTold = (failed) => {
    const list = document.createElement("ul");
    for (const one of failed.slice(0, 100)) {
      const item = document.createElement("li");
      item.textContent = `${one.notification_id}: ${one.reason}`;
      item.className = "bad";
      list.append(item);
    }
    byId("command-text").textContent = `${failed.length.toLocaleString()} could not be done; the rest is.`;
    byId("command-sample").replaceChildren(list);
  };

  const confirm = async () => {
    if (byId("command-yes").disabled) return;
    const own = pending;
    const { button, command, body } = own;
    const reason = byId("command-reason").value.trim();
    const orphans = own.orphans ? byId("command-orphans").value : "";
    if (own.orphans && !orphans) {
      byId("command-error").textContent = `Say what becomes of the ${many(own.orphans)}.`;
      byId("command-orphans").focus();
      return;
    }
    if ((button.hasAttribute("data-needs-reason") || orphans === "discard") && !reason) {
      byId("command-error").textContent = orphans === "discard" ? `Say why ${many(own.orphans)} are discarded: the reason stands in the audit log.`
        : "Say why: the reason stands in the audit log.";
      byId("command-reason").focus();
      return;
    }
    const order = { ...body };
    if (!button.hasAttribute("data-without-reason")) order.reason = reason;
    if (byId("command-rate").value) order.rate = Number(byId("command-rate").value);
    if (byId("command-newer").checked) order.even_if_newer = true;
    if (byId("command-failing").checked) order.even_if_failing = true;
    if (byId("command-until").value) order.until = new Date(byId("command-until").value).toISOString();
    if (orphans) order.orphans = orphans;
    byId("command-yes").disabled = true;
    byId("command-error").textContent = "";
    try {
      let answer = await call("POST", command, order);
      // What is done in parts says where the next begins.
      const failed = [...((answer && answer.failed) || [])];
      while (answer && typeof answer.next === "number") {
        toast(`${button.dataset.verb}: on the way…`);
        answer = await call("POST", command, { ...order, after: answer.next });
        failed.push(...((answer && answer.failed) || []));
      }
      if (byId("command-resume").checked) {
        for (const system of own.resume || []) await call("POST", `/api/v1/systems/${encodeURIComponent(system)}/resume`, { reason });
        if (answer) answer.waits = [];
      }
      if (button.hasAttribute("data-result")) { told(answer); return; }
      if (failed.length) { failedTold(failed); return; }
      dialog.close();
      if (answer && answer.id !== undefined && answer.total !== undefined) {
        follow(answer);
      } else {
        const is_nothing = answer && answer.count === 0;
        sessionStorage.setItem("toast", `${button.dataset.verb}: ${is_nothing ? `nothing to do${answer.hint ? `; ${answer.hint}` : ""}` : answer && answer.aside ? `taken, but ${answer.aside.text}. ${answer.aside.advice}` : "done"}.`);
        location.href = button.dataset.then && answer ? button.dataset.then.replace("{id}", answer.delivery_id || answer.id) : location.href;
        location.reload();
      }
    } catch (error) {
      byId("command-yes").disabled = false;
      fail(error, own);
    }
  };

  // ---- A job: how far it is, until it ended ----
  const follow = async (job) => {
    for (;;) {
      toast(`${job.verb}: ${job.changed} of ${job.total} done${job.refused ? `, ${job.refused} refused` : ""} (${job.state}).${(job.waits || []).map((wait) => ` ${wait.text}.`).join("")}`);
      if (job.ended_at) break;
      await new Promise((done) => { setTimeout(done, 700); });
      try { job = await call("GET", `/api/v1/jobs/${job.id}`); } catch (error) { break; }
    }
    sessionStorage.setItem("toast", byId("toast").textContent);
    location.reload();
  };

  // ---- Saved views: names for what a list is asked, kept by the gateway for all who work here ----
  const saveView = async (button) => {
    const name = byId("view-name").value.trim();
    if (!name) { byId("view-name").focus(); return; }
    const asked = [...new URLSearchParams(location.search)];
    const query = new URLSearchParams(asked.filter(([key, value]) => value && !["before", "after"].includes(key)));
    try {
      await call("POST", "/api/v1/views", { list: button.dataset.saveView, name, query: query.toString() });
      sessionStorage.setItem("toast", `The view ${name} is saved for all.`);
      location.reload();
    } catch (error) { toast(error.message); }
  };

  // ---- A form whose state stands in the address: what was typed is there after a reload, and what is made of it follows ----
  let following;
  const followTyping = async () => {
    let text;
    try {
      // As a part of the page, so that the login is not taken for it.
      const answer = await fetch(location.href, { headers: { "HX-Request": "true" } });
      if (answer.status === 401) alive.ended();
      if (!answer.ok) return;
      text = await answer.text();
    } catch (error) { return; }
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const part of document.querySelectorAll("[data-follows]")) {
      const now = fresh.getElementById(part.id);
      if (now) part.replaceWith(now);
    }
  };
  const keepInAddress = (form) => {
    history.replaceState(null, "", `?${new URLSearchParams(new FormData(form))}${location.hash}`);
    clearTimeout(following);
    following = setTimeout(followTyping, 400);
  };

  // ---- Lines of two texts, side by side in one: what is gone, what is new ----
  const LINES_MAX = 4e6;
  const compare = (before, after) => {
    const box = document.createElement("pre");
    box.tabIndex = 0;
    const [old, now] = [before.split("\n"), after.split("\n")];
    const line = (text, className) => {
      const span = document.createElement("span");
      span.textContent = `${text}\n`;
      if (className) span.className = className;
      box.append(span);
    };
    if (old.length * now.length > LINES_MAX) {
      for (const text of old) line(`- ${text}`, "removed");
      for (const text of now) line(`+ ${text}`, "added");
      return box;
    }
    // The longest common lines.
    const table = Array.from({ length: old.length + 1 }, () => new Uint32Array(now.length + 1));
    for (let i = old.length - 1; i >= 0; i -= 1) {
      for (let j = now.length - 1; j >= 0; j -= 1) {
        table[i][j] = old[i] === now[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
      }
    }
    let [i, j] = [0, 0];
    while (i < old.length || j < now.length) {
      if (i < old.length && j < now.length && old[i] === now[j]) { line(`  ${now[j]}`); i += 1; j += 1; }
      else if (j < now.length && (i >= old.length || table[i][j + 1] >= table[i + 1][j])) { line(`+ ${now[j]}`, "added"); j += 1; }
      else { line(`- ${old[i]}`, "removed"); i += 1; }
    }
    return box;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.command) { event.preventDefault(); open(button); }
    if (button.dataset.preset) preset(button);
    if (button.id === "command-yes") confirm();
    if (button.dataset.saveView) saveView(button);
    if (button.dataset.copy) {
      const text = byId(button.dataset.copy).textContent;
      navigator.clipboard.writeText(text).then(() => toast("Copied."), () => toast("The browser does not let me copy."));
    }
    if (button.dataset.download) {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([byId(button.dataset.download).textContent], { type: "text/plain" }));
      link.download = button.dataset.name || "omgate.txt";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.closest("#command") && event.target.tagName === "INPUT") {
      event.preventDefault();
      confirm();
    }
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
      const first = document.querySelector("form.find input");
      if (first) { event.preventDefault(); first.focus(); }
    }
  });
  document.addEventListener("change", (event) => {
    const pick = (box) => { if (box.checked) picked.add(Number(box.value)); else picked.delete(Number(box.value)); };
    if (event.target.id === "pick-all") {
      for (const box of document.querySelectorAll("input[name=pick]")) { box.checked = event.target.checked; pick(box); }
    }
    if (event.target.name === "pick") pick(event.target);
    label();
  });
  document.addEventListener("input", (event) => {
    label();
    if (event.target.id === "command-until") press(event.target.value ? null : document.querySelector("[data-preset=resumed]"));
    const form = event.target.closest("form[data-in-address]");
    if (form) keepInAddress(form);
  });
  document.addEventListener("htmx:afterSettle", (event) => { times(event.target.parentElement || document); redraw(); });
  document.addEventListener("htmx:beforeRequest", (event) => { if (document.hidden) event.preventDefault(); });

  // Who comes back finds the page as it stands in the address.
  window.addEventListener("pageshow", () => {
    picked.clear();
    redraw();
    const here = document.querySelector("nav a[aria-current]");
    if (here) here.scrollIntoView({ block: "nearest", inline: "center" });
  });
  // On a small screen the filters are folded, so that what is looked for is on it.
  const small = window.matchMedia("(max-width: 40rem)");
  const fold = () => { for (const filters of document.querySelectorAll("details.fold")) filters.open = !small.matches; };
  small.addEventListener("change", fold);
  fold();
  times(document);
  redraw();
  setInterval(() => times(document), 10000);
  const left = sessionStorage.getItem("toast");
  if (left) { sessionStorage.removeItem("toast"); toast(left); }
  Object.assign(window.omgate, { call, compare, toast });
})();
