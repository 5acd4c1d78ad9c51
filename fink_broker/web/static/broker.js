// Pages of what the broker does: services, rates, nights, counts.

import { ask, byId, choices, counted, element, exact, plot, say, table } from "./fink.js";

const sum = (value) => typeof value === "object" && value ? Object.values(value).reduce((one, other) => one + other, 0) : value || 0;
const dropped = (service) => ["rejected", "cut", "duplicate"].reduce((all, key) => all + sum(service[key]), 0);
const known = (value) => value === null || value === undefined ? "" : value;

function state(one) {
  return element("span", one.state + (one.ok ? "" : ", sums do not meet"), { className: one.ok ? one.state : "bad" });
}

function showServices({ ok, services }) {
  const all = Object.entries(services);
  const resting = all.filter(([, one]) => one.state === "stopped").map(([name]) => name);
  const failed = all.filter(([, one]) => one.failure);
  const verdict = (ok ? "all is well: sums meet" : "something is wrong") + (resting.length ? `; stopped: ${resting.join(", ")}` : "");
  if (byId("verdict").textContent !== verdict) byId("verdict").textContent = verdict; // so that it is read out once
  byId("verdict").className = ok ? "running" : "bad";
  say(failed.map(([name, one]) => `${name} failed: ${one.failure.reason}`).join("\n"));
  table(byId("services"), ["service", "state", "in", "out", "dropped", "lag", "alerts/s", "p50 s", "p99 s"], all.map(([name, one]) => [
    name, state(one), one.in, one.out, dropped(one), one.lag === null ? "?" : one.lag, known(one.rate),
    one.latency_s ? one.latency_s.p50 : "", one.latency_s ? one.latency_s.p99 : ""]));
}

export async function index() {
  showServices(await ask("status"));
  const found = await ask("/servers");
  table(byId("servers"), ["server", "state", ""], found.map(({ what, ok, text }) =>
    [what, element("span", ok ? "answers" : "does not answer", { className: ok ? "running" : "bad" }), ok ? "" : text]), "none is needed");
}

const MOST_POINTS = 300;

export function live() {
  const rates = {}, latencies = {};
  const add = (lines, name, time, value) => {
    if (value === null || value === undefined) return;
    lines[name] = lines[name] || { x: [], y: [], name, mode: "lines+markers" };
    for (const [axis, what] of [["x", time], ["y", value]]) {
      lines[name][axis] = [...lines[name][axis], what].slice(-MOST_POINTS); // new arrays: by them the plot knows that there is more
    }
  };
  const events = new EventSource("/events");
  const draw = (message) => {
    const found = exact(message.data), now = new Date();
    showServices(found);
    Object.entries(found.services).forEach(([name, one]) => {
      add(rates, name, now, one.rate);
      add(latencies, name, now, one.latency_s && one.latency_s.p50);
    });
    byId("moved").textContent = now.toISOString().slice(11, 19) + " UTC";
    byId("moved").dateTime = now.toISOString();
    plot("rates", Object.values(rates), { yaxis: { title: { text: "alerts/s" }, rangemode: "tozero" } }).catch(say);
    plot("latencies", Object.values(latencies), { yaxis: { title: { text: "latency, s" }, rangemode: "tozero" } }).catch(say);
  };
  return new Promise((resolve) => {
    events.onmessage = (message) => { draw(message); resolve(); };
    events.onerror = () => { say("the dashboard does not answer: fink start dashboard; trying again"); resolve(); };
  });
}

export async function history() {
  const draw = async () => {
    const found = await ask("history", { seconds: byId("range").value });
    const kinds = ["raw", "rejected", "science"];
    table(byId("sums"), ["in this range", "alerts"], kinds.map((name) => [name, sum(found[name])]));
    await plot("history", kinds.map((name) => ({ x: found.times.map((time) => new Date(time)), y: found[name], name, type: "bar" })),
      { barmode: "group", yaxis: { title: { text: `alerts in ${found.step_s} s` } } });
  };
  byId("range").onchange = () => draw().catch(say);
  await draw();
}

export async function aggregation() {
  const nights = await ask("nights");
  table(byId("nights"), ["night", "in raw", "rejected", "in science"], nights.map((one) => [one.night, one.raw, one.rejected, one.science]));
  if (nights.length) {
    plot("by-night", ["raw", "science"].map((name) => ({ x: nights.map((one) => one.night), y: nights.map((one) => one[name]), name, type: "bar" })),
      { barmode: "group", xaxis: { type: "category" }, yaxis: { title: { text: "alerts" } } }).catch(say);
  }
  await ofNights(nights, (counts) => {
    for (const [id, title] of [["filter", "topic"], ["class", "class"], ["band", "band"]]) counted(id, title, counts[id] || {});
    for (const [id, title] of [["hour", "hour, UTC"], ["field", "field"]]) counted(id, title, counts[id] || {}, { sorted: false });
  });
}

export async function classification() {
  await ofNights(await ask("nights"), (counts) => counted("class", "class", counts.class || {}));
}

// Counts of the night that is chosen, or of all.
async function ofNights(nights, show) {
  const choice = byId("night");
  choices(choice, nights.map((one) => one.night));
  const draw = async () => show(await ask("counts", { night: choice.value }));
  choice.onchange = () => draw().catch(say);
  await draw();
}

export async function filters() {
  const [tags, found, counts] = await Promise.all(["tags", "status", "counts"].map((path) => ask(path)));
  const { filters: seen = {}, broken = {}, state: service } = found.services.distribution || {};
  const chosen = (name) => counts.filter ? counts.filter[document.body.dataset.topic.replace("{}", name)] || 0 : "";
  if (service !== "running") say(`distribution is ${service || "not known"}: fink start distribution`);
  table(byId("filters"), ["filter", "what it selects", "alerts selected", "CPU ms an alert", "no answer for", "state"], Object.entries(tags).map(([name, { description }]) => {
    const { cpu_ms: cost, failures = 0, off } = seen[name] || {};
    return [name, description, chosen(name), known(cost), failures, off ? `off: ${off.reason}` : "on"];
  }));
  table(byId("broken"), ["file", "what is wrong with it"], Object.entries(broken), "none is broken");
}

export async function rejected() {
  const { services } = await ask("status");
  table(byId("rejected"), ["service", "why", "alerts"], Object.entries(services).flatMap(([name, one]) => [
    ...Object.entries(one.rejected).map(([reason, count]) => [name, `rejected: ${reason}`, count]),
    ...Object.entries(one.cuts || {}).map(([cut, count]) => [name, `cut: ${cut}`, count]),
    [name, "sent again (duplicate)", one.duplicate || 0],
  ]).filter((row) => row[2]), "everything was taken");
}
