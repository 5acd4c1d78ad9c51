"use strict";
// What the pages share: questions to the API, tables and plots.

const byId = (id) => document.getElementById(id);
const text = (value) => value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
const number = (value) => typeof value === "number" ? value.toLocaleString("en") : text(value);

// Ids are larger than what JavaScript's numbers hold: in the JSON they become texts before they are parsed.
async function ask(path) {
  const answer = await fetch(path);
  const body = await answer.text();
  const exact = body.replace(/([:\[,]\s*)(-?\d{16,})(?=\s*[,}\]])/g, '$1"$2"');
  const found = body ? JSON.parse(exact) : null;
  if (!answer.ok) throw new Error(found && (found.error || JSON.stringify(found.detail)) || answer.statusText);
  return found;
}

function say(problem) {
  const place = byId("problem");
  place.textContent = problem ? String(problem.message || problem) : "";
  place.hidden = !problem;
}

function element(name, content, attributes = {}) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  if (content instanceof Node) made.append(content); else made.textContent = text(content);
  return made;
}

// Rows of cells: texts, numbers or nodes.
function table(place, titles, rows) {
  const head = element("tr", "");
  const isNumber = titles.map((_, place) => rows.length > 0 && rows.every((cells) => typeof cells[place] === "number" || cells[place] === ""));
  titles.forEach((title, place) => head.append(element("th", title, { scope: "col", className: isNumber[place] ? "number" : "" })));
  const body = document.createElement("tbody");
  rows.forEach((cells) => {
    const row = document.createElement("tr");
    cells.forEach((cell) => row.append(element("td", cell instanceof Node ? cell : typeof cell === "number" ? number(cell) : cell,
      { className: typeof cell === "number" ? "number" : "" })));
    body.append(row);
  });
  const made = document.createElement("table");
  const top = document.createElement("thead");
  top.append(head);
  made.append(top, body);
  place.replaceChildren(rows.length ? made : element("p", "nothing yet", { className: "note" }));
}

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return { ink: style.getPropertyValue("--ink").trim(), line: style.getPropertyValue("--line").trim() };
};

function plot(id, traces, layout = {}) {
  const { ink, line } = colours();
  const axis = { gridcolor: line, zerolinecolor: line };
  return Plotly.react(id, traces, {
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: ink }, margin: { t: 20, r: 20 }, ...layout,
    xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  }, { responsive: true, displaylogo: false, displayModeBar: false });
}

const link = (object) => element("a", object, { href: `/object/${encodeURIComponent(object)}` });

const dropped = (service) => ["rejected", "cut", "duplicate"].reduce((sum, key) => {
  const value = service[key] || 0;
  return sum + (typeof value === "object" ? Object.values(value).reduce((a, b) => a + b, 0) : value);
}, 0);

function showServices(state) {
  byId("verdict").textContent = state.ok ? "all is well: sums meet" : "something is wrong";
  byId("verdict").className = state.ok ? "running" : "bad";
  table(byId("services"), ["service", "state", "in", "out", "dropped", "lag", "alerts/s", "p50 s", "p99 s"],
    Object.entries(state.services).map(([name, one]) => [
      name, element("span", one.state + (one.ok ? "" : ", sums do not meet"), { className: one.ok ? one.state : "bad", title: one.failure ? one.failure.reason : "" }),
      one.in, one.out, dropped(one), one.lag === null ? "?" : one.lag, one.rate === null ? "" : one.rate,
      one.latency_s ? one.latency_s.p50 : "", one.latency_s ? one.latency_s.p99 : ""]));
}

const pages = {
  async index() {
    showServices(await ask("/api/v1/status"));
    const failed = Object.entries((await ask("/api/v1/status")).services).filter(([, one]) => one.failure);
    if (failed.length) say(failed.map(([name, one]) => `${name} failed: ${one.failure.reason}`).join("; "));
  },

  live() {
    const points = {};
    const events = new EventSource("/events");
    events.onmessage = (message) => {
      say(null);
      const state = JSON.parse(message.data);
      showServices(state);
      const now = new Date();
      Object.entries(state.services).forEach(([name, one]) => {
        if (one.rate === null) return;
        points[name] = points[name] || { x: [], y: [], name, mode: "lines+markers" };
        points[name].x.push(now); points[name].y.push(one.rate);
        if (points[name].x.length > 300) { points[name].x.shift(); points[name].y.shift(); }
      });
      byId("moved").textContent = now.toISOString().slice(11, 19) + " UTC";
      plot("rates", Object.values(points), { yaxis: { title: { text: "alerts/s" }, rangemode: "tozero" } });
    };
    events.onerror = () => say("the dashboard does not answer; trying again");
  },

  async history() {
    const draw = async () => {
      const seconds = byId("range").value;
      const found = await ask("/api/v1/history" + (seconds ? `?seconds=${seconds}` : ""));
      plot("history", ["raw", "rejected", "science"].map((name) => ({ x: found.times, y: found[name], name, type: "bar" })),
        { barmode: "group", yaxis: { title: { text: `alerts in ${found.step_s} s` } } });
    };
    byId("range").onchange = () => draw().catch(say);
    await draw();
  },

  async aggregation() {
    const nights = await ask("/api/v1/nights");
    table(byId("nights"), ["night", "in raw", "rejected", "in science"], nights.map((one) => [one.night, one.raw, one.rejected, one.science]));
    const counted = await ask("/api/v1/counts");
    table(byId("topics"), ["topic", "alerts selected"], Object.entries(counted.filter || {}));
    table(byId("fields"), ["band", "alerts in science"], Object.entries(counted.band || {}));
    plot("by-night", ["raw", "science"].map((name) => ({ x: nights.map((one) => one.night), y: nights.map((one) => one[name]), name, type: "bar" })),
      { xaxis: { type: "category" }, yaxis: { title: { text: "alerts" } } });
  },

  async classification() {
    const rows = (await ask("/api/v1/counts")).class || {};
    const sorted = Object.entries(rows).sort((one, other) => other[1] - one[1]);
    table(byId("classes"), ["class", "alerts in science"], sorted);
    plot("by-class", [{ x: sorted.map((one) => one[0]), y: sorted.map((one) => one[1]), type: "bar" }], { yaxis: { title: { text: "alerts" } } });
  },

  async sky() {
    const nights = await ask("/api/v1/nights");
    const choice = byId("night");
    choice.replaceChildren(...nights.map((one) => element("option", one.night)));
    const draw = async () => {
      if (!choice.value) return;
      const found = await ask(`/api/v1/sky?night=${choice.value}`);
      plot("places", [{ type: "scattergeo", lon: found.map((one) => -one.ra), lat: found.map((one) => one.dec), text: found.map((one) => one.object), mode: "markers", marker: { size: 4 } }], {
        height: 600, geo: { projection: { type: "mollweide" }, visible: false, bgcolor: "transparent", lonaxis: { showgrid: true }, lataxis: { showgrid: true } } });
    };
    choice.onchange = () => draw().catch(say);
    await draw();
  },

  async filters() {
    const [tags, state] = [await ask("/api/v1/tags"), await ask("/api/v1/status")];
    const found = (state.services.distribution || {}).filters || {};
    table(byId("filters"), ["filter", "what it selects", "CPU ms an alert", "no answer for", "state"], Object.entries(tags).map(([name, one]) => {
      const seen = found[name] || {};
      return [name, one.description, seen.cpu_ms === undefined ? "" : seen.cpu_ms, seen.failures || 0, seen.off ? `off: ${seen.off.reason}` : "on"];
    }));
  },

  async rejected() {
    const state = await ask("/api/v1/status");
    const rows = Object.entries(state.services).flatMap(([name, one]) => [
      ...Object.entries(one.rejected).map(([reason, count]) => [name, "rejected: " + reason, count]),
      ...Object.entries(one.cuts || {}).map(([cut, count]) => [name, "cut: " + cut, count]),
    ]);
    table(byId("rejected"), ["service", "why", "alerts"], rows.filter((row) => row[2]));
  },

  latest() {
    search("latests", (form) => `class=${encodeURIComponent(form.get("class"))}&n=${form.get("n")}`);
  },

  cone() {
    search("conesearch", (form) => ["ra", "dec", "radius"].map((name) => `${name}=${encodeURIComponent(form.get(name))}`).join("&"));
  },

  async object() {
    const name = document.body.dataset.object;
    const rows = await ask(`/api/v1/objects?objectId=${encodeURIComponent(name)}&withupperlim=true`);
    if (!rows.length) throw new Error(`${name} is not known here`);
    lightCurve(rows);
    const valid = rows.filter((row) => row["d:tag"] === "valid");
    const last = (valid.length ? valid : rows)[0];
    table(byId("values"), ["column", "value of the last alert"],
      Object.keys(last).filter((column) => column.startsWith("d:") && last[column] !== null).map((column) => [column, text(last[column])]));
    for (const image of document.querySelectorAll(".cutouts img")) {
      image.onerror = () => { image.alt = "not there"; };
      image.src = `/api/v1/cutouts?objectId=${encodeURIComponent(name)}&kind=${image.dataset.kind}&output-format=PNG`;
    }
  },
};

function search(path, parameters) {
  const form = byId("search");
  const run = async () => {
    say(null);
    const rows = await ask(`/api/v1/${path}?${parameters(new FormData(form))}`);
    const columns = rows.length ? Object.keys(rows[0]).filter((name) => rows.some((row) => row[name] !== null)).slice(0, 12) : [];
    table(byId("found"), columns, rows.map((row) => columns.map((name) => name === "i:objectId" ? link(row[name]) : text(row[name]))));
  };
  form.onsubmit = (event) => { event.preventDefault(); run().catch(say); };
}

const BANDS = { 1: ["g", "#3a8f4d"], 2: ["r", "#c8442c"], 3: ["i", "#8a5a00"] };

function lightCurve(rows) {
  const days = (row) => new Date((row["i:jd"] - 2440587.5) * 86400000);
  const traces = Object.entries(BANDS).flatMap(([fid, [band, color]]) => {
    const here = rows.filter((row) => String(row["i:fid"]) === fid);
    const seen = here.filter((row) => row["i:magpsf"] !== null && row["i:magpsf"] !== undefined);
    const limits = here.filter((row) => row["d:tag"] === "upperlim");
    return [
      { x: seen.map(days), y: seen.map((row) => row["i:magpsf"]), name: band, mode: "markers", marker: { color, size: 8 },
        error_y: { type: "data", array: seen.map((row) => row["i:sigmapsf"]), color } },
      { x: limits.map(days), y: limits.map((row) => row["i:diffmaglim"]), name: `${band}, upper limits`, mode: "markers",
        marker: { color, size: 7, symbol: "triangle-down-open" } },
    ].filter((trace) => trace.x.length);
  });
  plot("curve", traces, { yaxis: { title: { text: "difference magnitude" }, autorange: "reversed" } });
}

document.addEventListener("DOMContentLoaded", () => {
  const page = document.body.dataset.page;
  Promise.resolve(pages[page] && pages[page]()).catch(say);
});
