// Pages of what was found: objects, lists of them, the sky.

import { ask, byId, choices, element, family, link, plot, say, table } from "./fink.js";

const survey = JSON.parse(document.body.dataset.survey); // its columns: web/pages.py
const SHOWN = 12;
const ARCSEC = 3600;
const COLOURS = { u: "#7a5bb5", g: "#3a8f4d", r: "#c8442c", i: "#a8790a", z: "#5f6f82", y: "#2f7fb8" };
const UNIX_MJD = 40587, DAY_MS = 86400000;
const date = (row) => new Date((row[survey.time] - survey.mjd_zero - UNIX_MJD) * DAY_MS);
const is = (value) => value !== null && value !== undefined;

export async function latest() {
  Object.keys((await ask("counts")).class || {}).forEach((name) => byId("classes").append(element("option", "", { value: name })));
  await search("latests");
}

export async function cone() {
  await search("conesearch");
}

// A form whose fields are the parameters of the API; what they are at is kept in the address, so that it can be sent to others.
async function search(path) {
  const form = byId("search");
  const run = async () => {
    say(null);
    byId("found").setAttribute("aria-busy", "true");
    const given = Object.fromEntries(new FormData(form));
    window.history.replaceState(null, "", `?${new URLSearchParams(given)}`);
    try {
      objects(byId("found"), await ask(path, given));
    } finally {
      byId("found").removeAttribute("aria-busy");
    }
  };
  form.onsubmit = (event) => { event.preventDefault(); run().catch(say); };
  const given = [...new URLSearchParams(window.location.search)];
  given.forEach(([name, value]) => { if (form.elements[name]) form.elements[name].value = value; });
  if (given.length) await run();
}

// Objects or alerts: what says most, each with a way to the object's page.
function objects(place, rows) {
  const there = rows.length ? Object.keys(rows[0]).filter((name) => rows.some((row) => is(row[name]))) : [];
  const first = [survey.object, survey.separation, ...survey.first].filter((name) => there.includes(name));
  const columns = [...new Set([...first, ...there])].slice(0, SHOWN);
  const titles = columns.map((name) => name === survey.separation ? "arcsec" : name);
  table(place, titles, rows.map((row) => columns.map((name) => name === survey.object ? link(row[name])
    : name === survey.separation ? (row[name] * ARCSEC).toFixed(2) : is(row[name]) ? String(row[name]) : "")), "nothing was found");
}

export async function object() {
  const name = document.body.dataset.object;
  const rows = await ask(survey.light_curve, { [survey.by[0]]: name, withupperlim: true });
  if (!rows.length) throw new Error(`${name} is not known here`);
  rows.sort((one, other) => one[survey.time] - other[survey.time]);
  const alerts = rows.filter((row) => !is(row[survey.tag]) || row[survey.tag] === "valid");
  lightCurve(rows);
  const choice = byId("alert");
  choices(choice, alerts.map((row) => row[survey.alert]).reverse());
  [...choice.options].forEach((option, at) => { option.textContent = `${date(alerts.at(-1 - at)).toISOString().slice(0, 19).replace("T", " ")} UTC, ${option.value}`; });
  const pictures = () => cutouts(name, choice.value);
  const show = () => {
    values(alerts.find((row) => String(row[survey.alert]) === choice.value));
    pictures();
  };
  choice.onchange = show;
  byId("stretch").onchange = pictures;
  show();
  const [ra, dec] = survey.position.map((column) => alerts.at(-1)[column]);
  byId("position").textContent = `${ra.toFixed(5)} ${dec.toFixed(5)}, degrees, J2000; ${alerts.length} alerts`;
  const around = async () => {
    const found = await ask("conesearch", { ra, dec, radius: byId("radius").value });
    objects(byId("neighbours"), found.filter((row) => String(row[survey.object]) !== name));
  };
  byId("radius").onchange = () => around().catch(say);
  await Promise.all([around(), said(name)]);
}

// What people and follow-up say of it.
async function said(name) {
  const notes = await ask("annotations", { [survey.by[0]]: name });
  table(byId("annotations"), Object.keys(notes[0] || {}), notes.map((note) => Object.values(note).map((value) => is(value) ? String(value) : "")),
    "nobody has said anything yet: fink annotate");
}

function values(row) {
  const [added, given] = [byId("values"), byId("given")];
  const cells = Object.entries(row).filter(([column, value]) => is(value) && column !== survey.tag);
  const fink = family(survey.tag);
  const text = (value) => typeof value === "object" ? JSON.stringify(value) : String(value);
  table(added, ["what Fink says", "value"], cells.filter(([column]) => family(column) === fink).map(([column, value]) => [column, text(value)]));
  table(given, ["what the telescope says", "value"], cells.filter(([column]) => family(column) !== fink).map(([column, value]) => [column, text(value)]));
}

function cutouts(name, alert) {
  for (const image of document.querySelectorAll("img[data-kind]")) {
    const caption = image.nextElementSibling;
    const asked = new URLSearchParams({ [survey.by[0]]: name, kind: image.dataset.kind, [survey.by[1]]: alert, "output-format": "PNG" });
    if (byId("stretch").value) asked.set("stretch", byId("stretch").value);
    caption.textContent = image.dataset.kind;
    image.onerror = () => { caption.textContent = `${image.dataset.kind}: not among the files of its night`; };
    image.src = `/api/v1/cutouts?${asked}`;
  }
}

// By band: what was measured with its errors, and how faint it could have been seen where it was not.
function lightCurve(rows) {
  const bands = new Set(rows.map((row) => row[survey.band]).filter(is));
  const traces = [...bands].sort().flatMap((value) => {
    const band = survey.bands[value] || String(value);
    const [color, here] = [COLOURS[band], rows.filter((row) => row[survey.band] === value)];
    const seen = here.filter((row) => is(row[survey.brightness]));
    const limits = here.filter((row) => !is(row[survey.brightness]) && is(row[survey.limit]));
    return [
      { x: seen.map(date), y: seen.map((row) => row[survey.brightness]), name: band, mode: "markers", marker: { color, size: 8 },
        error_y: { type: "data", array: seen.map((row) => row[survey.error]), color } },
      { x: limits.map(date), y: limits.map((row) => row[survey.limit]), name: `${band}, upper limit`, mode: "markers",
        marker: { color, size: 7, symbol: "triangle-down-open" } },
    ].filter((trace) => trace.x.length);
  });
  plot("curve", traces, { yaxis: { title: { text: survey.is_flux ? "difference flux, nJy" : "difference magnitude" }, autorange: survey.is_flux ? true : "reversed" } }).catch(say);
}

// Equal areas are equal (Mollweide's projection; Snyder, Map Projections, 1987, p. 251); right ascension grows to the left.
function mollweide(ra, dec) {
  const [lon, lat] = [((ra + 540) % 360 - 180) * Math.PI / 180, dec * Math.PI / 180];
  let angle = lat;
  for (let step = 0; step < 20 && Math.abs(Math.cos(angle)) > 1e-6; step += 1) {
    angle -= (2 * angle + Math.sin(2 * angle) - Math.PI * Math.sin(lat)) / (4 * Math.cos(angle) ** 2);
  }
  return [-2 * Math.SQRT2 / Math.PI * lon * Math.cos(angle), Math.SQRT2 * Math.sin(angle)];
}

const steps = (from, to, by) => Array.from({ length: Math.round((to - from) / by) + 1 }, (_, at) => from + at * by);

function graticule() {
  const lines = [...steps(-60, 60, 30).map((dec) => steps(-179.99, 179.99, 359.98 / 90).map((ra) => mollweide(ra, dec))),
    ...[-179.99, ...steps(-150, 150, 30), 179.99].map((ra) => steps(-90, 90, 3).map((dec) => mollweide(ra, dec)))];
  const points = lines.flatMap((line) => [...line, [null, null]]);
  const style = getComputedStyle(document.documentElement);
  const labels = [...steps(-120, 120, 60).map((ra) => [`${(ra + 360) % 360}°`, mollweide(ra, 0)]), ...[-60, -30, 30, 60].map((dec) => [`${dec}°`, mollweide(0, dec)])];
  return [
    { x: points.map((one) => one[0]), y: points.map((one) => one[1]), mode: "lines", line: { color: style.getPropertyValue("--line").trim(), width: 1 }, hoverinfo: "skip" },
    { x: labels.map((one) => one[1][0]), y: labels.map((one) => one[1][1]), text: labels.map((one) => one[0]), mode: "text", textfont: { size: 11 }, hoverinfo: "skip" },
  ];
}

export async function sky() {
  const nights = await ask("nights");
  const choice = byId("night");
  choices(choice, nights.map((one) => one.night));
  if (!nights.length) throw new Error("no night has alerts yet");
  const [grid, bare] = [graticule(), { visible: false, fixedrange: true }];
  const draw = async () => {
    const found = await ask("sky", { night: choice.value });
    const { science } = nights.find((one) => one.night === choice.value);
    const places = found.map((one) => mollweide(one.ra, one.dec));
    const label = (one) => `${one.object}<br>${one.ra.toFixed(4)} ${one.dec.toFixed(4)}`;
    byId("shown").textContent = found.length < science ? `${found.length.toLocaleString("en")} of ${science.toLocaleString("en")} alerts of the night` : `all ${science.toLocaleString("en")} alerts of the night`;
    table(byId("objects"), ["object", "alerts"], Object.entries(Object.groupBy(found, (one) => one.object)).map(([name, some]) => [link(name), some.length])
      .sort((one, other) => other[1] - one[1]).slice(0, 100));
    await plot("places", [...grid, { x: places.map((one) => one[0]), y: places.map((one) => one[1]), text: found.map(label), hoverinfo: "text", mode: "markers",
      marker: { size: 6, opacity: 0.5 } }], { showlegend: false, xaxis: bare, yaxis: { ...bare, scaleanchor: "x" }, margin: { t: 5, r: 5, b: 5, l: 5 } });
  };
  choice.onchange = () => draw().catch(say);
  await draw();
  byId("places").on("plotly_click", ({ points: [point] }) => { window.location = link(point.text.split("<br>")[0]).href; });
}
