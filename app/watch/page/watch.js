// Asks for the facts every second and shows them. Whatever comes from the database becomes a text node, never markup.
"use strict";

const EVERY = 1000; // milliseconds
const FEW = 3; // reasons that are shown unasked
const STAGES = ["off", "dualwrite", "shadow", "live", "rampdown", "complete"];
const LABEL = { supabase: "Supabase", postgres: "PostgreSQL" };
const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);

let facts = null; // the newest
let csrf = null; // null: the page moves nothing
let lost = null; // why there are no newer ones
let moving = false;
let announced = "";

// --- elements ---------------------------------------------------------------------------------------------------

function make(name, attributes = {}, ...children) {
  const svg = ["svg", "polyline", "line"].includes(name);
  const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

// Changes only what differs, so that the focus and what a person has marked stay.
function patch(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return undefined;
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name); // a person opens and closes
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  return fill(old, [...fresh.childNodes]);
}

function fill(parent, children) {
  const there = [...parent.childNodes];
  const wanted = children.flat().filter((child) => child !== null);
  wanted.forEach((child, place) => {
    const fresh = typeof child === "string" ? document.createTextNode(child) : child;
    if (place < there.length) patch(there[place], fresh);
    else parent.append(fresh);
  });
  there.slice(wanted.length).forEach((node) => node.remove());
}

// --- words ------------------------------------------------------------------------------------------------------

const count = (number) => (number === null ? "–" : number.toLocaleString("en"));
const rows = (number) => `${count(number)} ${number === 1 ? "row" : "rows"}`;
// In UTC, as the commands tell it.
const clock = (moment) => `${new Date(moment).toLocaleTimeString("en-GB", { timeZone: "UTC" })} UTC`;
const day = (moment) => new Date(moment).toLocaleDateString("en-GB", { dateStyle: "medium", timeZone: "UTC" });

function span(seconds) {
  if (seconds === null || Number.isNaN(seconds)) return "–";
  for (const [size, unit] of [[86400, "days"], [3600, "h"], [60, "min"]]) {
    if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  }
  return `${Math.round(Math.max(0, seconds))} s`;
}

const milliseconds = (seconds) => (seconds === null ? "–" : `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`);

// A remedy is mostly a command, and may say more: the commands in it end at a semicolon, or at a comma and a space.
function remedy(text) {
  const parts = text.split(/(botdata [a-z](?:[^,;]|,(?! ))*)/);
  return make("span", {}, parts.map((part, place) => (place % 2 ? make("code", {}, part) : part)));
}

function reasons(list) {
  const items = list.map((one) =>
    make("li", {}, make("div", {}, one.what), make("div", {}, "→ ", remedy(one.remedy))));
  return make("ul", { class: "reasons" }, items);
}

// Columns: heading, a row's text or element, and whether it is a number.
function table(caption, columns, list, isBad = () => false) {
  const cells = (one) => columns.map(([heading, value, number]) =>
    make("td", { "data-label": heading, class: number ? "number" : null }, value(one)));
  const heads = columns.map(([heading, , number]) =>
    make("th", { scope: "col", class: number ? "number" : null }, heading));
  const body = list.map((one) => make("tr", { class: isBad(one) ? "bad" : null }, cells(one)));
  return make("table", { "aria-label": caption }, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, body));
}

// --- sections ---------------------------------------------------------------------------------------------------

function nextStep() {
  const { cutover, status } = facts;
  if (cutover === null) return status === null ? null : status.next;
  return cutover.objections === null && cutover.troubles.length === 0 ? null : cutover.next;
}

function showAttention() {
  const section = at("attention");
  const troubles = facts.cutover ? facts.cutover.troubles : [];
  const warnings = facts.cutover ? facts.cutover.warnings : [];
  const mayBeLost = warnings.length ? reasons(warnings) : null;
  const next = nextStep();
  const after = next === null ? null : make("p", {}, "Next: ", remedy(next));
  const away = lost ?? facts.trouble;
  if (away !== null) {
    const later = lost ? "." : "; the page goes on by itself when it can.";
    const since = facts.seen_at ? `What is below is of ${clock(facts.seen_at)}${later}` : null;
    const reading = facts.seen_at ? "The target cannot be read" : "The target was not read yet";
    fill(section, [make("h2", {}, lost ? "botdata watch does not answer" : reading),
      make("p", {}, away), since && make("p", {}, since)]);
  } else if (troubles.length) {
    fill(section, [make("h2", {}, `Needs attention: ${troubles.length}`), reasons(troubles), mayBeLost, after]);
  } else {
    const against = facts.cutover?.objections?.length;
    const open = against ? `; to do before ${facts.cutover.next_stage}: ${against}` : "";
    fill(section, [make("h2", {}, `Nothing is wrong${open}`), mayBeLost, after]);
  }
  section.className = away !== null || troubles.length ? "bad" : "good";
}

function showStage(cutover) {
  const here = STAGES.indexOf(cutover.stage);
  const items = STAGES.map((name, place) =>
    make("li", { class: place < here ? "past" : null, "aria-current": place === here ? "step" : null }, name));
  const since = cutover.moved_at ? `, since ${day(cutover.moved_at)}, ${clock(cutover.moved_at)}` : "";
  fill(at("stage"), [
    make("ol", { class: "stages", "aria-label": "Stages" }, items),
    make("p", {}, `${LABEL[cutover.authority]} is written first and answers${since}.`),
    cutover.finished_at && make("p", {}, "The way back was ended."),
    cutover.move && make("p", { class: "bad-text" }, `Under way: ${cutover.move.move}, by ${cutover.move.done_by}`),
  ]);
}

// Both stay in their places, so that the focus stays at the one that was pressed.
function showButtons(cutover) {
  const here = STAGES.indexOf(cutover.stage);
  const off = moving || lost || facts.trouble ? "true" : null;
  const button = (kind, words, to) => make("button", { type: "button", id: kind, "data-to": to, hidden: to ? null : "",
    class: kind === "advance" ? "strong" : null, "aria-disabled": off }, `${words} ${to}`);
  fill(at("buttons"), csrf === null ? [] : [make("div", { class: "row" },
    button("back", "Back to", STAGES[here - 1]), button("advance", "Advance to", STAGES[here + 1]))]);
}

function showGate(cutover) {
  const to = cutover.next_stage;
  if (to === null) return fill(at("gate"), [make("p", {}, "This is the last stage.")]);
  const asked = facts.gate_asked_at ? `asked at ${clock(facts.gate_asked_at)}` : "being asked …";
  const when = make("span", { class: "soft" }, ` ${asked}`);
  if (cutover.objections === null) {
    const why = facts.gate_asked_at ? `: it could not be asked. ${cutover.gate_error}` : "";
    return fill(at("gate"), [make("p", {}, `The gate to ${to},`, when, why)]);
  }
  const all = cutover.objections;
  if (all.length === 0) {
    return fill(at("gate"), [make("p", { class: "good-text" }, `Nothing stands against ${to},`, when)]);
  }
  const words = all.length === 1 ? `One thing stands against ${to},` : `${all.length} things stand against ${to},`;
  return fill(at("gate"), [make("details", { open: all.length > FEW ? null : "" },
    make("summary", {}, words, when), reasons(all))]);
}

function showProcesses(cutover) {
  const none = "No process of the bot reports itself: start the bot with CUTOVER_STAGE=database and DATABASE_URL.";
  fill(at("processes"), [make("h2", {}, "Processes"), cutover.processes.length === 0 ? make("p", {}, none) : table(
    "Processes",
    [
      ["process", (one) => one.process],
      ["stage", (one) => one.stage],
      ["heartbeat", (one) => `${span(one.age)} ago`],
      ["in flight", (one) => count(one.in_flight), true],
      ["mirrors", (one) => count(one.pending_mirrors), true],
      ["in its spool", (one) => count(one.spooled), true],
    ],
    cutover.processes,
    (one) => one.age > 5 || one.problem !== null || one.spooled > 0,
  ), ...cutover.processes.filter((one) => one.reads !== null).map((one) => standbysOf(one))]);
}

function standbysOf(process) {
  const { by_standbys: own, by_primary: others, standbys } = process.reads;
  const share = (100 * own / Math.max(1, own + others)).toFixed(1);
  const told = standbys.map((one) => `${one.standby} ${one.state}` +
    (one.lag_bytes === null ? "" : `, ${count(one.lag_bytes)} bytes behind`) +
    (one.lag_seconds ? ` (${one.lag_seconds} s)` : ""));
  return make("p", {}, `${process.process}: standbys answered ${share} % of ${count(own + others)} reads; ${told.join("; ")}`);
}

function showWaiting(cutover) {
  const kinds = [["journal", cutover.notes], ["outbox", cutover.outbox]];
  const all = kinds.flatMap(([kind, list]) => list.map((one) => ({ kind, ...one })));
  const empty = make("p", {}, "Nothing waits to be brought to the other store.");
  fill(at("waiting"), [make("h2", {}, "Journal and outbox"), all.length === 0 ? empty : table(
    "Journal and outbox",
    [
      ["table", (one) => one.table],
      ["in the", (one) => one.kind],
      ["waiting", (one) => count(one.count), true],
      ["oldest", (one) => span(one.oldest), true],
      ["in error", (one) => count(one.failed), true],
      ["last error", (one) => one.last_error ?? "–"],
    ],
    all,
    (one) => one.failed > 0,
  )]);
}

function copyLine(tables, isRunning) {
  const done = tables.reduce((sum, one) => sum + one.rows, 0);
  const left = tables.reduce((sum, one) => sum + one.left, 0);
  const rate = tables.filter((one) => one.left > 0).reduce((sum, one) => sum + (one.rows_per_second ?? 0), 0);
  const time = isRunning && left && rate ? `, ${span(left / rate)} left` : "";
  return `${rows(done)} copied, ${count(left)} to come of the tables that were begun${time}`;
}

function paceLines({ paused, paces }) {
  const why = paused?.reason ? `: ${paused.reason}` : "";
  const since = paused ? `${day(paused.since)}, ${clock(paused.since)}` : "";
  return [
    ...(paused ? [make("p", { class: "bad-text" }, `Paused by ${paused.by} since ${since}${why}; to go on: `,
      make("code", {}, "botdata resume"))] : []),
    ...paces.map((one) => [
      one.max_rate === null ? null : `reads ${one.max_rate} at most`,
      one.slowdown > 1 ? `asks less often, since the source takes ${one.slowdown} times as long as at first` : null,
      paused ? (one.held ? "waits for the end of the pause" : "comes to the end of what it has begun") : null,
    ].filter((part) => part !== null)).flatMap((parts, place) =>
      (parts.length ? [make("p", {}, `${paces[place].command}: ${parts.join("; ")}`)] : [])),
  ];
}

function showRuns(status, synced, syncing) {
  const run = status.runs.find((one) => one.run === status.run);
  const isRunning = run?.state === "running";
  const bar = (one) => make("progress",
    { max: Math.max(1, one.rows + one.left), value: one.rows, "aria-label": `rows of ${one.table} done` });
  fill(at("runs"), [
    make("h2", {}, "Copy and sync"),
    make("p", {}, status.holder ? `At work now: ${status.holder}` : "No run is at work."),
    ...paceLines(status),
    ...(status.streams.length ? [
      make("h3", {}, "Change stream"),
      table("Change stream", [
        ["stream", (one) => one.name],
        ["changes", (one) => count(one.changes), true],
        ["lag", (one) => span(one.lag), true],
        ["log kept at the source, bytes", (one) => count(one.held_bytes), true],
        ["log to come, bytes", (one) => count(one.behind_bytes), true],
        ["last looked at", (one) => (one.look_age === null ? "never" : `${span(one.look_age)} ago`), true],
      ], status.streams, (one) => !one.settled),
    ] : []),
    status.in_quarantine ? make("p", { class: "bad-text" }, `${rows(status.in_quarantine)} in quarantine: `,
      make("code", {}, "botdata quarantine list")) : null,
    ...(run ? [
      make("h3", {}, `Run ${run.run}: ${run.command}, ${run.state}`),
      make("p", {}, copyLine(status.tables, isRunning)),
      table("Tables of the run", [
        ["table", (one) => one.table],
        ["done", bar],
        ["rows", (one) => count(one.rows), true],
        ["left", (one) => count(one.left), true],
        ["refused", (one) => count(one.refused), true],
        ["rows/s", (one) => count(one.rows_per_second === null ? null : Math.round(one.rows_per_second)), true],
        ["time left", (one) => span(isRunning && one.left ? one.left / (one.rows_per_second || NaN) : null), true],
      ], status.tables, (one) => one.refused > 0),
    ] : [make("p", {}, "Nothing was copied yet.")]),
    ...(syncing.length ? [
      make("h3", {}, "The sync that is at work"),
      table("The sync that is at work", [
        ["table", (one) => one.table],
        ["done", bar],
        ["rows", (one) => count(one.rows), true],
        ["left", (one) => count(one.left), true],
        ["rows/s", (one) => count(one.rows_per_second === null ? null : Math.round(one.rows_per_second)), true],
        ["time left", (one) => span(one.left ? one.left / (one.rows_per_second || NaN) : null), true],
      ], syncing),
    ] : []),
    ...(synced.length ? [
      make("h3", {}, "Last sync of each table"),
      table("Last sync of each table",
        [["table", (one) => one.table], ["lag", (one) => span(one.lag), true]], synced),
    ] : []),
  ]);
}

function plot(minutes) {
  const seen = minutes.flatMap((one) => [one.supabase_p50, one.postgres_p50]).filter((one) => one !== null);
  const top = Math.max(...seen, 0.001);
  const first = Date.parse(minutes[0].minute);
  const width = Math.max(60000, Date.parse(minutes[minutes.length - 1].minute) - first);
  const line = (store) => make("polyline", { class: store, points: minutes
    .filter((one) => one[`${store}_p50`] !== null)
    .map((one) => `${((Date.parse(one.minute) - first) / width) * 600},${100 - (one[`${store}_p50`] / top) * 95}`)
    .join(" ") });
  const words = `Medians by minute, up to ${milliseconds(top)}, from ${clock(first)}`;
  return [
    make("p", { class: "soft" }, `${words}: `, make("span", { class: "key-postgres" }, "PostgreSQL, whole line"), ", ",
      make("span", { class: "key-supabase" }, "Supabase, dashed")),
    make("svg", { viewBox: "0 0 600 100", preserveAspectRatio: "none", role: "img", "aria-label": words },
      make("line", { class: "line", x1: 0, x2: 600, y1: 100, y2: 100 }), line("supabase"), line("postgres")),
  ];
}

function showCompared() {
  const methods = facts.comparisons ? facts.comparisons.methods : [];
  if (methods.length === 0) return fill(at("compared"), []);
  return fill(at("compared"), [
    make("h2", {}, "Compared reads, last hour"),
    ...(facts.minutes.length > 1 ? plot(facts.minutes) : []),
    table("Compared reads by method", [
      ["method", (one) => one.method],
      ["at", (one) => one.stage],
      ["equal", (one) => count(one.equal), true],
      ["different", (one) => count(one.different), true],
      ["errors", (one) => count(one.error), true],
      ["Supabase p50", (one) => milliseconds(one.supabase_p50), true],
      ["p99", (one) => milliseconds(one.supabase_p99), true],
      ["PostgreSQL p50", (one) => milliseconds(one.postgres_p50), true],
      ["p99", (one) => milliseconds(one.postgres_p99), true],
    ], methods, (one) => one.different > 0),
  ]);
}

// Told to who listens, only when it changes.
function announce() {
  const { cutover } = facts;
  const troubles = cutover ? cutover.troubles.length : 0;
  const away = lost || facts.trouble ? "the target or botdata watch does not answer; " : "";
  const words = `${away}${cutover ? `stage ${cutover.stage}; ` : ""}${troubles || "no"} troubles`;
  if (words !== announced) at("spoken").textContent = announced = words;
  document.title = `${troubles || away ? "⚠ " : ""}${cutover ? `${cutover.stage} – ` : ""}botdata watch`;
}

function show() {
  if (facts === null) {
    at("freshness").textContent = lost ?? "reading …";
    return;
  }
  const { cutover, status } = facts;
  at("freshness").textContent = facts.seen_at ? `as of ${clock(facts.seen_at)}${lost ? ", no longer live" : ""}` : "";
  showAttention();
  at("cutover").hidden = cutover === null;
  if (cutover !== null) {
    showStage(cutover);
    showButtons(cutover);
    showGate(cutover);
    showProcesses(cutover);
    showWaiting(cutover);
  } else {
    for (const id of ["processes", "waiting"]) fill(at(id), []);
  }
  if (status !== null) showRuns(status, facts.synced, facts.syncing);
  showCompared();
  announce();
}

// --- moves ------------------------------------------------------------------------------------------------------

function confirmMove(kind, from, to) {
  const forward = STAGES.indexOf(to) > STAGES.indexOf(from);
  const crosses = (STAGES.indexOf(from) < 3) !== (STAGES.indexOf(to) < 3);
  const hold = crosses ? " Every process holds its writes for a moment; callers wait and see no error." : "";
  at("confirm-heading").textContent = forward ? `Advance from ${from} to ${to}?` : `Go back from ${from} to ${to}?`;
  at("confirm-text").textContent = `The gates are asked first, and refuse what is not safe.${hold}`;
  at("confirm-yes").textContent = forward ? `Advance to ${to}` : `Back to ${to}`;
  at("confirm-yes").onclick = () => {
    at("confirm").close();
    move(kind, from);
  };
  at("confirm").showModal();
  at("confirm-no").focus();
}

async function move(kind, stage) {
  moving = true;
  fill(at("outcome"), [make("p", {}, "Moving …")]);
  at("outcome").className = "";
  show();
  let told;
  try {
    const answer = await fetch("/move", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
      body: JSON.stringify({ kind, stage }),
    });
    const isTold = (answer.headers.get("Content-Type") ?? "").startsWith("application/json");
    told = isTold ? await answer.json() : { moved: false, said: await answer.text() };
  } catch {
    told = { moved: false, said: "No answer came: look at the stage above before anything else." };
  }
  moving = false;
  const against = [...(told.objections ?? []), ...(told.late ?? [])];
  const behind = (told.behind ?? []).map((one) => make("p", {}, `${one.process} is at ${one.stage} still`));
  const when = make("span", { class: "soft" }, ` at ${clock(Date.now())}`);
  fill(at("outcome"), [make("p", { class: told.moved ? "good-text" : "bad-text" }, told.said, when),
    against.length ? reasons(against) : null, ...behind,
    told.next ? make("p", {}, "Next: ", remedy(told.next)) : null]);
  at("outcome").className = told.moved ? "good" : "bad";
  await look();
}

at("confirm-no").onclick = () => at("confirm").close();
at("buttons").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button && !button.hasAttribute("aria-disabled")) confirmMove(button.id, facts.cutover.stage, button.dataset.to);
});

// --- the loop ---------------------------------------------------------------------------------------------------

async function look() {
  try {
    const answer = await fetch("/facts", { signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(await answer.text());
    ({ facts, csrf } = await answer.json());
    lost = null;
  } catch (error) {
    lost = error instanceof TypeError ? "It has ended, or cannot be reached. Start it again, and open its new address."
      : error.message;
  }
  show();
}

async function lookOn() {
  await look();
  setTimeout(lookOn, document.hidden ? 10 * EVERY : EVERY);
}

document.addEventListener("visibilitychange", () => document.hidden || look());
lookOn();
