// The last 24 hours: in, out, waiting and dead, and how fast envelopes are acknowledged.
"use strict";

(() => {
  const holder = document.querySelector("[data-series]");
  if (!holder || !window.uPlot) return;
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

  const draw = (title, at, lines, unit) => {
    const box = document.createElement("div");
    box.className = "chart";
    holder.append(box);
    const axis = { stroke: ink, grid: { stroke: grid }, ticks: { stroke: grid } };
    const chart = new window.uPlot({
      title,
      width: Math.max(box.clientWidth, 260),
      height: 220,
      cursor: { y: false },
      tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      // In UTC, as all moments on the pages.
      axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1e3).toISOString().slice(11, 16)) }, { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => `${tick}${unit || ""}`) }],
      series: [{}, ...lines.map(([label], index) => ({
        label, stroke: colours[index % colours.length], width: 2, spanGaps: false,
        // A line needs two moments that are known, side by side.
        points: { show: lines[index][1].filter((value) => value !== null).length < 12 },
      }))],
    }, [at, ...lines.map(([, values]) => values)], box);
    window.addEventListener("resize", () => chart.setSize({ width: Math.max(box.clientWidth, 260), height: 220 }));
  };

  window.omgate.call("GET", holder.dataset.series).then((series) => {
    holder.replaceChildren();
    const at = series.at.map((moment) => Date.parse(moment) / 1000);
    if (at.length < 2) {
      holder.textContent = "The first points come within ten minutes.";
      return;
    }
    draw("In and out, each 5 minutes", at, [
      ["received", total(series.sources, "received", at.length)],
      ["delivered", total(series.destinations, "delivered", at.length)],
    ]);
    draw("Waiting and dead", at, [
      ["waiting", total(series.destinations, "waiting", at.length)],
      ["dead", total(series.destinations, "dead", at.length)],
    ]);
    const each = Object.entries(series.destinations || {}).slice(0, 6);
    if (each.length > 1) draw("Waiting, by destination", at, each.map(([name, one]) => [name, one.waiting]));
    if (series.ack_p99_ms) draw("Acknowledged within (p99)", at, [["p99", series.ack_p99_ms]], " ms");
  }).catch((error) => { holder.textContent = error.message; });
})();
