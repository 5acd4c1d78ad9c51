// What the pages share: questions to the API, tables and plots.

export const byId = (id) => document.getElementById(id);
export const family = (column) => column.split(":")[0];
const text = (value) => value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);

// Ids are larger than what JavaScript's numbers hold: such a number stays the text that it is in the JSON.
export const exact = (body) => JSON.parse(body, (_, value, at) => Number.isInteger(value) && !Number.isSafeInteger(value) && at ? at.source : value);

export async function ask(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const address = (path.startsWith("/") ? path : `/api/v1/${path}`) + (given.length ? `?${new URLSearchParams(given)}` : "");
  let answer;
  try {
    answer = await fetch(address);
  } catch {
    throw new Error("the dashboard does not answer: fink start dashboard");
  }
  const found = exact(await answer.text());
  if (!answer.ok) throw new Error(found.error);
  return found;
}

export function say(problem) {
  const place = byId("problem");
  place.textContent = problem ? String(problem.message || problem) : "";
  place.hidden = !problem;
}

export function element(name, content = "", attributes = {}) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  made.append(content instanceof Node ? content : text(content));
  return made;
}

// Rows of cells: texts, numbers or nodes.
export function table(place, titles, rows, nothing = "nothing yet") {
  if (!rows.length) {
    place.replaceChildren(element("p", nothing, { className: "note" }));
    return;
  }
  const numeric = titles.map((_, at) => rows.every((cells) => typeof cells[at] === "number" || cells[at] === ""));
  const className = (at) => numeric[at] ? "number" : "";
  const head = document.createElement("tr");
  head.append(...titles.map((title, at) => element("th", title, { scope: "col", className: className(at) })));
  const lines = rows.map((cells) => {
    const line = document.createElement("tr");
    line.append(...cells.map((cell, at) => element("td", typeof cell === "number" ? cell.toLocaleString("en") : cell, { className: className(at) })));
    return line;
  });
  const [made, top, body] = ["table", "thead", "tbody"].map((name) => document.createElement(name));
  top.append(head);
  body.append(...lines);
  made.append(top, body);
  place.replaceChildren(made);
}

const narrow = () => window.innerWidth < 700;

// Plotly is large: it is fetched with the first plot, and what a page says in words does not wait for it.
let fetched;
function plotly() {
  fetched ??= new Promise((resolve, reject) => {
    const onerror = () => reject(new Error("plots are not there: the dashboard does not answer"));
    document.head.append(element("script", "", { src: "/static-plotly.js", onload: () => resolve(window.Plotly), onerror }));
  });
  return fetched;
}

export async function plot(id, traces, layout = {}) {
  const style = getComputedStyle(document.documentElement);
  const line = style.getPropertyValue("--line").trim();
  const axis = { gridcolor: line, zerolinecolor: line, automargin: true };
  const drawn = await plotly();
  return drawn.react(id, traces, {
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: style.getPropertyValue("--ink").trim() },
    bargap: 0.4, margin: { t: 20, r: 20, b: 50, l: narrow() ? 50 : 70 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, ...layout,
    xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  }, { responsive: true, displaylogo: false, displayModeBar: false });
}

// Counts as bars, the largest first, and as a table that says the same.
export function counted(id, title, counts, { rows = id + "-rows", sorted = true, most = 40 } = {}) {
  const found = Object.entries(counts).sort((one, other) => sorted ? other[1] - one[1] : one[0].localeCompare(other[0], "en", { numeric: true }));
  byId(id).hidden = !found.length;
  if (found.length) {
    const shown = found.slice(0, most);
    plot(id, [{ x: shown.map((one) => one[0] || "none"), y: shown.map((one) => one[1]), type: "bar" }],
      { xaxis: { type: "category" }, yaxis: { title: { text: "alerts" } } }).catch(say);
  }
  table(byId(rows), [title, "alerts"], found.map(([name, number]) => [name || "none", number]), "nothing was counted: fink start aggregation counts");
}

export const choices = (place, values) => place.append(...values.map((value) => element("option", value, { value })));

export const link = (object) => element("a", object, { href: `/object/${encodeURIComponent(object)}` });
