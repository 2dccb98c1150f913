// The workbench: a message, a route's expressions, and the call that they make, tried anew with each change.
"use strict";

(() => {
  const form = document.getElementById("workbench");
  if (!form) return;
  const byId = (id) => document.getElementById(id);
  const routes = JSON.parse(byId("wb-routes").textContent);
  const mayEdit = form.dataset.mayEdit === "true";
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  const current = () => routes.find((route) => route.route === byId("wb-route").value) || { map: [], when: "always" };

  const addRow = (target, expression, isNew) => {
    const row = byId("wb-map").insertRow();
    const name = row.insertCell();
    if (isNew) {
      const input = make("input");
      input.placeholder = "Customer.Id";
      input.setAttribute("aria-label", "Element");
      input.className = "wb-target";
      name.append(input);
    } else {
      name.append(make("code", target));
    }
    const input = make("input");
    input.className = "wb-expression";
    input.value = expression;
    input.spellcheck = false;
    input.size = 48;
    input.readOnly = !mayEdit;
    input.setAttribute("aria-label", `Expression of ${target || "the new element"}`);
    row.insertCell().append(input, make("div", "", "problem"));
    row.dataset.target = target;
    row.dataset.was = expression;
    return row;
  };

  const show = () => {
    const route = current();
    byId("wb-map").replaceChildren();
    for (const [target, expression] of route.map) addRow(target, expression, false);
    byId("wb-when").value = route.when === "always" ? "" : route.when;
    byId("wb-when").dataset.was = byId("wb-when").value;
  };

  const rows = () => [...byId("wb-map").rows].map((row) => ({
    row,
    target: row.dataset.target || (row.querySelector(".wb-target") || { value: "" }).value.trim(),
    expression: row.querySelector(".wb-expression").value,
  }));

  const edit = () => {
    const map = rows().filter(({ row, target, expression }) => target && expression !== row.dataset.was)
      .map(({ target, expression }) => [target, expression]);
    const when = byId("wb-when").value.trim();
    const whenChanged = when !== byId("wb-when").dataset.was;
    if (!map.length && !whenChanged) return undefined;
    return { route: byId("wb-route").value, map, ...(whenChanged ? { when } : {}) };
  };

  // ---- The address: the route, the notification and what was edited. What is pasted is somebody's record, and never stands in it ----
  const ADDRESS_MAX = 3000;
  const address = () => {
    const query = new URLSearchParams({ route: byId("wb-route").value });
    const notification = byId("wb-notification").value.trim();
    if (notification) query.set("notification", notification);
    const short = `${location.pathname}?${query}`;
    const { map, when } = edit() || {};
    if (when !== undefined) query.set("when", when);
    if (map && map.length) query.set("map", JSON.stringify(map));
    const whole = `${location.pathname}?${query}`;
    return whole.length <= ADDRESS_MAX ? [whole, true] : [short, false];
  };
  // Another route or notification is a step that one goes back from; what is typed is none.
  const keep = (isStep) => {
    const [whole, fits] = address();
    byId("wb-address").textContent = fits ? "" : "What was edited is too long for an address: it is lost when this page is left or loaded again.";
    if (whole === location.pathname + location.search) return;
    if (isStep) history.pushState(null, "", whole); else history.replaceState(null, "", whole);
  };
  const pairsOf = (text) => {
    try {
      const pairs = JSON.parse(text);
      return Array.isArray(pairs) ? pairs.filter((pair) => Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === "string")) : [];
    } catch (error) { return []; }
  };
  const restore = () => {
    const query = new URLSearchParams(location.search);
    const route = query.get("route");
    if (routes.some((one) => one.route === route)) byId("wb-route").value = route;
    byId("wb-notification").value = query.get("notification") || "";
    show();
    if (!mayEdit || (route && route !== byId("wb-route").value)) return;
    if (query.has("when")) byId("wb-when").value = query.get("when");
    for (const [target, expression] of pairsOf(query.get("map") || "[]")) {
      const known = rows().find((one) => one.target === target);
      if (known) { known.row.querySelector(".wb-expression").value = expression; continue; }
      const row = addRow("", "", true);
      row.querySelector(".wb-target").value = target;
      row.querySelector(".wb-expression").value = expression;
    }
  };

  const pre = (text) => { const element = make("pre", text); element.tabIndex = 0; return element; };

  // What an edit makes other of the messages that came last.
  const overLast = async () => {
    const wanted = edit();
    if (!wanted) { byId("wb-error").textContent = "Edit an expression first."; return; }
    const button = byId("wb-last");
    button.disabled = true;
    // What was typed a moment ago is part of it; nothing else is to be shown in its place.
    clearTimeout(waiting);
    const turn = (last += 1);
    try {
      const found = await window.omgate.call("POST", "/api/v1/preview", { edit: wanted, last: 100 });
      if (turn !== last) return;
      problems(found.problems || []);
      if (found.compared) byId("wb-result").replaceChildren(...comparedCards(found.compared));
    } catch (error) {
      if (turn === last) byId("wb-error").textContent = error.message;
    } finally { button.disabled = false; }
  };

  const comparedCards = (compared) => {
    const { same, changed, failing, mended, still_failing: stillFailing, routed, not_routed: notRouted } = compared.counts;
    const counts = `${compared.looked_at} looked at: ${same} stay the same, ${changed} make other calls, ${failing} newly fail, ${mended} fail no more, ${stillFailing} fail as they do now, ${routed} newly routed, ${notRouted} routed no more.`;
    const cards = [make("h2", "Over the messages that came last"), make("p", counts, failing ? "problem" : "quiet")];
    if (!compared.complete) cards.push(make("p", "Not all was compared: it would have taken too long, or too much memory.", "warning"));
    for (const message of compared.messages) {
      const card = make("section", undefined, "card");
      const title = make("h3");
      const link = make("a", `${message.record_type} ${message.record_id}`);
      link.href = `/notifications/${message.row}`;
      title.append(link);
      card.append(title);
      for (const route of message.routes) {
        const table = make("table");
        for (const one of route.differences) {
          const row = table.insertRow();
          row.append(make("td", one.words), make("td", one.old === null ? "" : one.old, "removed"), make("td", one.new === null ? "" : one.new, "added"));
        }
        const wide = make("div", undefined, "wide");
        wide.append(table);
        card.append(make("p", `Route ${route.route}${route.more ? `, and ${route.more} more` : ""}`, "quiet"), wide);
      }
      cards.push(card);
    }
    return cards;
  };

  // The newest of the route's own source.
  const offer = async () => {
    const source = current().source;
    if (!source || source === byId("wb-newest").dataset.source) return;
    byId("wb-newest").dataset.source = source;
    try {
      const newest = await window.omgate.call("GET", `/api/v1/notifications?limit=5&kind=routed&source=${encodeURIComponent(source)}`);
      if (source !== current().source) return;
      byId("wb-newest").replaceChildren(...newest.map((one) => {
        const button = make("button", `${one.record_type} ${one.record_id}`);
        button.type = "button";
        button.dataset.notification = one.row;
        return button;
      }));
    } catch (error) { byId("wb-newest").replaceChildren(); }
  };

  const routeCard = (made, was) => {
    const card = make("section", undefined, "card");
    card.append(make("h3", `${made.route}${made.destination ? ` → ${made.destination}` : ""}`));
    if (!made.matches) { card.append(make("p", `Does not take it: ${made.because}`, "quiet")); return card; }
    card.append(make("p", made.lane ? `Lane ${made.lane}` : "No order to keep", "quiet"));
    if (made.dead) { card.append(make("p", `A dead letter: ${made.dead}`, "problem")); return card; }
    card.append(make("code", made.call.request_line));
    const list = make("dl");
    for (const [name, value] of made.call.headers) list.append(make("dt", name), make("dd", value));
    card.append(list);
    if (was && was.call && was.call.request !== made.call.request) {
      card.append(make("p", "Against what is in force:", "quiet"), window.omgate.compare(was.call.request_lines, made.call.request_lines));
    } else {
      card.append(pre(made.call.request_lines));
    }
    if (was && !was.call) card.append(make("p", `In force: ${was.dead ? `a dead letter: ${was.dead}` : `does not take it: ${was.because}`}`, "quiet"));
    return card;
  };

  const problems = (list) => {
    const left = [];
    for (const { row } of rows()) row.querySelector(".problem").textContent = "";
    for (const problem of list) {
      const text = problem.reason + (problem.suggestion ? ` Did you mean ${problem.suggestion}?` : "");
      const own = rows().find(({ target }) => target && problem.key.endsWith(`.map.${target}`));
      if (own) own.row.querySelector(".problem").textContent = text; else left.push(`${problem.key}: ${text}`);
    }
    byId("wb-error").textContent = left.join("\n");
  };

  let last = 0;
  const attempt = async () => {
    const turn = (last += 1);
    const envelope = byId("wb-envelope").value.trim();
    const notification = byId("wb-notification").value.trim();
    if (!envelope && !notification) { byId("wb-error").textContent = "Name a notification, or paste an envelope."; return; }
    const route = current();
    const body = notification ? { notification } : { envelope, source: route.source };
    const wanted = edit();
    if (wanted) body.edit = wanted;
    try {
      const found = await window.omgate.call("POST", "/api/v1/preview", body);
      if (turn !== last) return;
      problems(found.problems || []);
      if (found.problems && found.problems.length) return;
      const result = byId("wb-result");
      result.replaceChildren();
      for (const warning of found.warnings || []) result.append(make("p", warning, "warning"));
      for (const one of found.notifications) {
        if (one.unreadable) { result.append(make("p", `Unreadable: ${one.unreadable}`, "problem")); continue; }
        result.append(make("h2", `${one.record_type} ${one.record_id}`));
        if (one.made.refused) { result.append(make("p", one.made.refused, "problem")); continue; }
        const before = new Map(((one.was || {}).routes || []).map((was) => [was.route, was]));
        for (const made of one.made.routes) result.append(routeCard(made, before.get(made.route)));
      }
    } catch (error) {
      if (turn === last) byId("wb-error").textContent = error.message;
    }
  };

  let waiting;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(attempt, 400); };
  form.addEventListener("submit", (event) => { event.preventDefault(); attempt(); });
  form.addEventListener("input", (event) => {
    const isRoute = event.target.id === "wb-route";
    if (isRoute) { show(); offer(); }
    keep(isRoute);
    if (byId("wb-notification").value || byId("wb-envelope").value) soon();
  });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.notification) { byId("wb-notification").value = button.dataset.notification; keep(true); attempt(); }
    if (button.id === "wb-last") overLast();
    if (button.id === "wb-add") addRow("", "", true).querySelector("input").focus();
    if (button.id === "wb-toml") {
      const quoted = (text) => JSON.stringify(text);
      const key = (target) => target.split(".").map((part) => (/^[A-Za-z0-9_-]+$/.test(part) ? part : quoted(part))).join(".");
      const when = byId("wb-when").value.trim();
      const lines = rows().filter(({ target, expression }) => target && expression).map(({ target, expression }) => `${key(target)} = ${quoted(expression)}`);
      navigator.clipboard.writeText(`${when ? `when = ${quoted(when)}\n` : ""}[route.map]\n${lines.join("\n")}\n`)
        .then(() => window.omgate.toast("Copied."), () => window.omgate.toast("The browser does not let me copy."));
    }
  });
  const begin = () => {
    restore();
    byId("wb-result").replaceChildren();
    byId("wb-error").textContent = "";
    if (byId("wb-notification").value) attempt();
  };
  window.addEventListener("popstate", () => { begin(); offer(); });
  begin();
})();
