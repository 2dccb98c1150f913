// The last 24 hours: in, out, waiting and dead, and how fast envelopes are acknowledged. They are asked for anew each minute.
"use strict";

(() => {
  const holder = document.querySelector("[data-series]");
  if (!holder || !window.uPlot) return;
  const EACH = 60e3;
  const AFTER_FAILURE = 10e3;
  const ink = getComputedStyle(document.documentElement).color;
  const grid = "rgba(128,128,128,.25)";
  const colours = ["#2f7ed8", "#d9822b", "#3c9f63", "#b0413e", "#7a5cc0", "#8a8f98"];

  const total = (group, key, length) => {
    const lists = Object.values(group || {}).map((one) => one[key]).filter(Array.isArray);
    return Array.from({ length }, (_, at) => {
      const known = lists.map((list) => list[at]).filter((value) => value !== null && value !== undefined);
      return known.length ? known.reduce((left, right) => left + right, 0) : null;
    });
  };

  // What there is to draw: title, lines, unit.
  const pictures = (series, length) => {
    const all = [
      ["In and out, each 5 minutes", [["received", total(series.sources, "received", length)], ["delivered", total(series.destinations, "delivered", length)]]],
      ["Waiting and dead", [["waiting", total(series.destinations, "waiting", length)], ["dead", total(series.destinations, "dead", length)]]],
    ];
    const each = Object.entries(series.destinations || {}).slice(0, 6);
    if (each.length > 1) all.push(["Waiting, by destination", each.map(([name, one]) => [name, one.waiting])]);
    if (series.ack_p99_ms) all.push(["Acknowledged within (p99)", [["p99", series.ack_p99_ms]], " ms"]);
    return all;
  };

  const HEIGHT = 220;
  const size = (box) => ({ width: Math.max(box.clientWidth, 260), height: HEIGHT });
  const draw = (box, at, [title, lines, unit]) => {
    const axis = { stroke: ink, grid: { stroke: grid }, ticks: { stroke: grid } };
    return new window.uPlot({
      title,
      ...size(box),
      cursor: { y: false },
      tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      // In UTC, as all moments on the pages.
      axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1e3).toISOString().slice(11, 16)) }, { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => `${tick}${unit || ""}`) }],
      series: [{}, ...lines.map(([label], index) => ({
        label, stroke: colours[index % colours.length], width: 2, spanGaps: false,
        // A line needs two moments that are known, side by side.
        points: { show: (chart, line) => chart.data[line].filter((value) => value !== null).length < 12 },
      }))],
    }, [at, ...lines.map(([, values]) => values)], box);
  };

  let [charts, drawn] = [[], ""];
  // A box is as wide as the page leaves it room: when it is laid out, and when the window becomes another.
  const watcher = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const chart = charts.find((one) => one.root.parentElement === target);
      if (chart && chart.width !== size(target).width) requestAnimationFrame(() => chart.setSize(size(target)));
    }
  });

  const show = (series) => {
    const at = series.at.map((moment) => Date.parse(moment) / 1000);
    if (at.length < 2) {
      holder.textContent = "The first points come within ten minutes.";
      return;
    }
    const wanted = pictures(series, at.length);
    const kind = JSON.stringify(wanted.map(([title, lines]) => [title, lines.map(([label]) => label)]));
    if (kind === drawn) {
      wanted.forEach(([, lines], index) => charts[index].setData([at, ...lines.map(([, values]) => values)]));
      return;
    }
    watcher.disconnect();
    // All boxes first: the room of one depends on how many there are.
    const boxes = wanted.map(() => {
      const box = document.createElement("div");
      box.className = "chart";
      return box;
    });
    holder.replaceChildren(...boxes);
    charts = wanted.map((picture, index) => draw(boxes[index], at, picture));
    drawn = kind;
    boxes.forEach((box) => watcher.observe(box));
  };

  let looked = 0;
  let next;
  const look = async () => {
    clearTimeout(next);
    looked = Date.now();
    let wait = EACH;
    try {
      show(await window.omgate.call("GET", holder.dataset.series));
      holder.classList.remove("stale");
    } catch (error) {
      if (drawn) holder.classList.add("stale"); else holder.textContent = error.message;
      wait = AFTER_FAILURE;
    }
    next = setTimeout(() => { if (!document.hidden) look(); }, wait);
  };
  // Nobody looks at a page in the background; who comes back to it sees what is.
  document.addEventListener("visibilitychange", () => { if (!document.hidden && Date.now() - looked >= EACH) look(); });
  look();
})();
