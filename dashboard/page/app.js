// Shows what the stream of snapshots says, and sends actions. Elements are kept from one snapshot to the next, so that focus,
// selection and the place on the page stay where they are.
const $ = (id) => document.getElementById(id);
const historyFor = 5 * 60 * 1000; // as the server keeps it, in milliseconds
const gapAfter = 5000; // two looks further apart than this are not joined by a line
const deadShown = 3600; // how long a worker that has not taken leave is named, in seconds

let mayAct = false;
let csrf = "";
let lags = {}; // lag by projection: [[milliseconds, events], ...]
let last = null; // the last snapshot that had something

// Texts

const number = (n) => Math.round(n).toLocaleString("en-US");
const counted = (n, what) => number(n) + " " + what + (n === 1 ? "" : "s");
const letter = (n) => (n < 26 ? "" : String.fromCharCode(64 + Math.floor(n / 26))) + String.fromCharCode(65 + (n % 26));
const listed = (words) => (words.length < 2 ? words.join("") : words.slice(0, -1).join(", ") + " and " + words.at(-1));

function span(seconds) {
  if (seconds < 0.0005) return "0 s";
  if (seconds < 0.9995) return (seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0) + " ms";
  if (seconds < 9.95) return seconds.toFixed(1) + " s";
  if (seconds < 120) return Math.round(seconds) + " s";
  if (seconds < 7200) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " d";
}

// built says how far what is built beside a projection is.
const built = (b) => (b ? "built beside " + b.of + ", " + b.percent + " %, " + (b.events_per_second > 0 ? number(b.events_per_second) + " events/s, " + span(b.seconds_left) + " left, " : "") : "");

// age is span in whole seconds, because parts of one would only flicker.
const age = (seconds) => (seconds < 1 ? "<1 s" : seconds < 10 ? Math.floor(seconds) + " s" : span(seconds));

// Elements

function make(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

function text(e, value) {
  if (e.textContent !== value) e.textContent = value;
}

function attribute(e, name, value) {
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

// list makes the children of a parent those of the items: an old one where its key is known, else a new one.
function list(parent, items, key, create, update) {
  const old = new Map([...parent.children].map((e) => [e.dataset.key, e]));
  const wanted = new Set(items.map((item) => String(key(item))));
  for (const [k, e] of old) if (!wanted.has(k)) drop(e);
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    let e = old.get(k);
    if (!e) {
      e = create(item);
      e.dataset.key = k;
    }
    if (e === at) at = at.nextElementSibling;
    else parent.insertBefore(e, at);
    update(e, item);
  }
}

// drop removes an element. If the focus is in it, it goes to the title of the section, and not to the top of the page.
function drop(e) {
  const title = e.closest("section")?.querySelector("h2");
  const focused = e.contains(document.activeElement);
  e.remove();
  if (focused && title) {
    title.tabIndex = -1;
    title.focus();
  }
}

// row makes a row with a cell for each column of its table. The roles say what the layout of phones takes away.
function row(table) {
  const tr = make("tr", { role: "row" });
  for (const th of table.tHead.rows[0].cells) {
    const name = th.querySelector(".hidden") ? "" : th.textContent;
    tr.append(make("td", { role: "cell", class: th.className.replace("wide", ""), "data-name": name }, make("span")));
  }
  return tr;
}

function fill(tr, values) {
  values.forEach((value, i) => text(tr.cells[i].firstElementChild, value));
}

function button(label, name, act) {
  const b = make("button", { type: "button", "aria-label": name }, label);
  b.addEventListener("click", act);
  return b;
}

// What it shows

function show(s) {
  if (s.error) {
    connection("bad", "no answer");
    attention([s.error + (s.last_at ? ". What is shown is of " + new Date(s.last_at).toLocaleTimeString() : "")]);
    return;
  }
  last = s;
  connection("good", "live");
  text($("database"), s.database);
  document.title = (s.database ? s.database + " · " : "") + "Rouse";
  attention(troubles(s));
  figures(s);
  projections(s);
  workers(s);
  parked(s);
  events(s);
}

function connection(kind, what) {
  attribute($("connection"), "class", "state " + kind);
  text($("connection"), what);
}

function attention(sentences) {
  $("attention").hidden = sentences.length === 0;
  list($("attention-list"), sentences, (t) => t, () => make("li"), text);
}

// troubles are what a person has to look at, each with what to do. Numbers that move every second are left out: a screen reader
// reads a sentence once.
function troubles(s) {
  const all = [];
  for (const p of s.projections) {
    const version = p.build && !p.name.endsWith("@rebuild"); // which nothing waits for
    if (p.is === "unowned" && version) all.push(p.name + " stands beside " + p.build.of + ", and no worker runs it. Nothing waits for it but rouse prune: a worker of its version goes on with it, rouse projection drop " + p.name + " ends it.");
    else if (p.is === "unowned") all.push(p.name + " is run by no worker: start one that does. If it is not wanted any more, rouse projection drop ends it.");
    if (p.stopped) all.push(p.name + " is stopped" + (p.error_at ? " by the event at position " + number(p.error_at) : "") + ". Mend the cause below, then start its worker again.");
    if (p.build?.trouble) all.push(p.name + " cannot take the place of " + p.build.of + ": " + p.build.trouble);
    if (p.state === "paused") all.push(p.name + " is paused, and its events wait until somebody resumes it.");
    if (p.nobody > 0) all.push(counted(p.nobody, "partition") + " of " + p.name + " nobody may take: start more workers, or raise --max-partitions.");
    else if (p.unowned > 0 && p.is === "running") all.push(counted(p.unowned, "partition") + " of " + p.name + " have no owner: start a worker that runs it.");
    for (const t of p.troubles ?? []) all.push(p.name + " is " + t.state + " in " + t.worker + ": " + t.text);
    if (p.parked > 0) all.push(counted(p.parked, "event") + " of " + p.name + " " + (p.parked === 1 ? "is" : "are") + " parked. Nothing else waits for them: mend the cause, then retry.");
    if (p.retrying > 0) all.push(counted(p.retrying, "event") + " of " + p.name + " " + (p.retrying === 1 ? "waits" : "wait") + " for the next try of one that failed. Nothing else waits for them: the errors are below.");
  }
  for (const r of s.retired ?? []) {
    const now = r.renamed_to ? "is called " + r.renamed_to + " now" : "was dropped";
    for (const w of r.workers ?? []) all.push(w + " has " + r.name + " in its program, which " + now + ". It has stopped it, and goes on with its others.");
  }
  for (const w of s.workers) {
    if (w.mode === "deaf") all.push(w.label + " hears no push and polls: look at its network, and at ROUSE_LISTEN_URL.");
  }
  for (const o of s.open) {
    const who = o.prepared ? "The prepared transaction " + o.prepared : "Session " + o.pid + (o.application ? " (" + o.application + ")" : "");
    all.push(who + " has appended and not committed. It holds back what comes after position " + number(o.holds_after) + ": end it, or commit.");
  }
  return all;
}

function figures(s) {
  const furthest = s.projections.reduce((a, p) => (a && a.lag >= p.lag ? a : p), null);
  text($("head"), number(s.head));
  text($("rate"), s.rate >= 0.05 ? (s.rate < 10 ? s.rate.toFixed(1) : number(s.rate)) + " a second" : "no appends now");
  text($("lag"), furthest ? number(furthest.lag) : "–");
  text($("lag-age"), furthest ? (furthest.lag_age >= 1 ? "positions, " + age(furthest.lag_age) : furthest.lag > 0 ? "positions, less than 1 s" : "all caught up") : "no projection");
  text($("count"), number(s.workers.length));
  const leaving = s.workers.filter((w) => w.leaving).length;
  text($("count-more"), leaving ? leaving + " leaving" : "");
  const parkedAll = s.projections.reduce((n, p) => n + p.parked, 0);
  text($("parked-count"), number(parkedAll));
  text($("parked-age"), parkedAll ? "for " + age(Math.max(...s.projections.map((p) => p.oldest))) : "");
}

function projections(s) {
  $("no-projections").hidden = s.projections.length > 0;
  const retired = (s.retired ?? []).map((r) => r.name + (r.renamed_to ? " (called " + r.renamed_to + " since " : " (dropped ") + age(r.age_seconds) + (r.renamed_to ? ")" : " ago)"));
  $("retired").hidden = retired.length === 0;
  text($("retired"), "Retired: " + retired.join(", ") + ".");
  for (const p of s.projections) {
    const kept = (lags[p.name] ?? []).filter((point) => point[0] >= s.at - historyFor);
    if (!kept.length || kept.at(-1)[0] < s.at) kept.push([s.at, p.lag]);
    lags[p.name] = kept;
  }
  list($("projections"), s.projections, (p) => p.name, projection, (e, p) => updateProjection(e, p, s));
}

function projection(p) {
  const chart = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of [["class", "chart"], ["viewBox", "0 0 300 100"], ["preserveAspectRatio", "none"], ["role", "img"]]) chart.setAttribute(name, value);
  chart.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  const latency = make("dl", { class: "latency" });
  for (const name of ["p50", "p95", "p99"]) latency.append(make("div", {}, make("dt", {}, name), make("dd")));
  const steer = make("button", { type: "button" });
  steer.addEventListener("click", () => pauseOrResume(p.name, steer.dataset.act));
  return make("article", { class: "projection" },
    make("div", { class: "top" }, make("h3", {}, p.name), make("span", { class: "state" }), make("span", { class: "lag muted" }), steer),
    make("p", { class: "why", hidden: "" }),
    make("div", { class: "body" },
      make("div", {},
        make("p", { class: "caption" }, make("span", {}, "Lag, last 5 minutes"), make("span", { class: "highest" })),
        chart, latency, make("p", { class: "note" })),
      make("div", {},
        make("p", { class: "caption" }, make("span", { class: "parts" }), make("span", { class: "owned" })),
        make("div", { class: "map", role: "img" }), make("ul", { class: "legend", "aria-label": "Shares of " + p.name }))));
}

function updateProjection(e, p, s) {
  const find = (selector) => e.querySelector(selector);
  const idle = p.is === "unowned";
  attribute(find(".state"), "class", "state " + (p.is === "paused" ? "" : p.is === "running" && !p.unowned ? "good" : "bad"));
  text(find(".state"), idle ? "no worker" : p.stopped && p.state !== "stopped" ? p.state + ", stopped" : p.state);
  text(find(".lag"), built(p.build) + (p.lag_age >= 1 ? counted(p.lag, "position") + " behind, the first event waits for " + age(p.lag_age) : p.lag > 0 ? "less than 1 s behind" : "caught up"));
  const steer = find(".top button");
  steer.hidden = !mayAct || p.state === "stopped";
  steer.dataset.act = p.state === "paused" ? "resume" : "pause";
  text(steer, p.state === "paused" ? "Resume" : "Pause…");
  attribute(steer, "aria-label", (p.state === "paused" ? "Resume " : "Pause ") + p.name);
  find(".why").hidden = !p.error || !p.stopped;
  text(find(".why"), p.error ?? "");
  drawLag(find(".chart"), find(".highest"), p, s.at);
  const values = p.latency ? [p.latency.p50, p.latency.p95, p.latency.p99] : [];
  [...e.querySelectorAll(".latency dd")].forEach((dd, i) => text(dd, values.length ? span(values[i]) : "–"));
  text(find(".note"), "From insert to handled and saved: the last event of each batch that a look saw, " + (p.latency ? counted(p.latency.count, "sample") : "none yet") + " in 5 minutes.");
  drawMap(e, p, s);
}

// rounded is the next of 100, 200, 500, 1,000 and so on.
function rounded(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return power * [1, 2, 5, 10].find((step) => n <= step * power);
}

// drawLag draws the lag as a line that ends now, at the right edge. Partitions without events follow once a second, so a lag of
// what is appended in that time is no lag at all: the scale shows it as little.
function drawLag(chart, caption, p, at) {
  const points = lags[p.name];
  const highest = Math.max(...points.map((point) => point[1]));
  const scale = rounded(Math.max(highest, 100, 5 * last.rate));
  let path = "";
  let before = 0;
  for (const [when, lag] of points) {
    const x = 300 - ((at - when) / historyFor) * 300;
    path += (when - before > gapAfter ? "M" : "L") + x.toFixed(1) + " " + (96 - (lag / scale) * 92).toFixed(1);
    before = when;
  }
  attribute(chart.firstElementChild, "d", path);
  text(caption, "0 to " + number(scale) + ", highest " + number(highest));
  attribute(chart, "aria-label", "Lag of " + p.name + " over the last 5 minutes: now " + number(p.lag) + ", highest " + number(highest));
}

function drawMap(e, p, s) {
  const map = e.querySelector(".map");
  const shares = s.workers.map((w) => ({ w, n: p.partitions.filter((c) => c.o === w.number).length })).filter((share) => share.n > 0 || p.name in share.w.states);
  attribute(map, "class", "map" + (p.partitions.length > 64 ? " many" : ""));
  list(map, p.partitions.map((c, i) => ({ ...c, i })), (c) => c.i, () => make("span"), (cell, c) => {
    const owner = s.workers.find((w) => w.number === c.o);
    attribute(cell, "class", "cell " + (owner ? "w" + (c.o % 8) : "none") + (c.l > 0 && c.l === p.lag && p.lag_age > 5 ? " late" : ""));
    text(cell, owner ? letter(c.o) : "");
    attribute(cell, "title", "Partition " + c.i + ": " + (owner ? owner.label : "no owner") + ", " + c.s + ", checkpoint " + number(c.c) + ", lag " + number(c.l) + ", epoch " + c.e);
  });
  const total = p.partitions.length;
  const share = (n) => n + " of " + total + " (" + Math.round((n / total) * 100) + " %)";
  const lines = shares.map(({ w, n }) => ({ key: w.instance, letter: letter(w.number), cls: "key w" + (w.number % 8), text: w.label + ": " + share(n) }));
  if (p.unowned > 0) lines.push({ key: "none", letter: "–", cls: "key none", text: "no owner: " + share(p.unowned) });
  attribute(map, "aria-label", "Partitions of " + p.name + ". " + lines.map((line) => line.text).join(", "));
  text(e.querySelector(".parts"), counted(total, "partition"));
  text(e.querySelector(".owned"), counted(shares.filter((one) => one.n > 0).length, "owner"));
  list(e.querySelector(".legend"), lines, (line) => line.key, () => make("li", {}, make("span", { "aria-hidden": "true" }), make("span")), (li, line) => {
    attribute(li.children[0], "class", line.cls);
    text(li.children[0], line.letter);
    text(li.children[1], line.text);
  });
}

function workers(s) {
  const table = $("workers");
  table.hidden = s.workers.length === 0;
  $("no-workers").hidden = s.workers.length > 0;
  list(table.tBodies[0], s.workers, (w) => w.instance, () => {
    const tr = row(table);
    tr.cells[0].replaceChildren(make("span", {}, make("span"), " ", make("span")));
    return tr;
  }, (tr, w) => {
    const [key, label] = tr.cells[0].firstElementChild.children;
    attribute(key, "class", "key w" + (w.number % 8));
    text(key, letter(w.number));
    text(label, w.label + (w.leaving ? " (leaving)" : ""));
    const share = w.assignment === "static" ? "fixed, " + (w.index + 1) + " of " + w.total : "elastic" + (w.max ? ", at most " + w.max : "");
    text(tr.cells[1].firstElementChild, (w.host || "?") + " · " + w.pid);
    text(tr.cells[2].firstElementChild, share);
    [number(w.partitions), w.mode, number(w.handled), w.rate.toFixed(1) + "/s", age(w.heartbeat), age(w.uptime)].forEach((v, i) => text(tr.cells[i + 3].firstElementChild, v));
  });
  const gone = s.gone.filter((g) => g.heartbeat < deadShown);
  $("gone").hidden = gone.length === 0;
  text($("gone"), "Gone without leave within the hour: " + listed(gone.map((g) => g.label + " (" + g.host + ", last heard of " + age(g.heartbeat) + " ago)")) + ".");
}

function parked(s) {
  const table = $("parked");
  const all = s.projections.reduce((n, p) => n + p.parked_of + p.retrying_of + p.deferred_of, 0);
  table.hidden = s.parked.length === 0;
  $("no-parked").hidden = s.parked.length > 0;
  $("more-parked").hidden = all <= s.parked.length;
  text($("more-parked"), "And " + number(all - s.parked.length) + " more: rouse parked list --by-aggregate --limit 0.");
  list(table.tBodies[0], s.parked, (e) => e.projection + " " + e.position, (e) => {
    const tr = row(table);
    tr.cells[4].classList.add("error");
    tr.cells[6].className = "act";
    const what = "event " + e.position + " of " + e.projection;
    tr.cells[6].replaceChildren(
      button("Payload", "Payload of event " + e.position, () => content(e.position, e.type)),
      button("Retry", "Retry " + what, () => act("retry", e.projection, e.position)),
      button("Discard…", "Discard " + what, () => discard(e)));
    return tr;
  }, (tr, e) => {
    const due = e.next === null ? "" : e.deferred && e.next >= 1 ? "Wanted in " + age(e.next) + " and no earlier. " : e.next < 1 ? "Is tried now. " : "Is tried again in " + age(e.next) + ". ";
    fill(tr, [number(e.position), e.type + " of " + e.aggregate_type + "/" + e.aggregate_id + ", version " + e.version +
      (e.events > 1 ? ", and " + number(e.events - 1) + " behind it" : ""), e.projection,
      e.attempts ? number(e.attempts) : "–", due + (e.error || (e.deferred ? "" : "Not tried yet")), age(e.age)]);
    for (const b of tr.cells[6].children) b.hidden = !mayAct;
  });
}

function events(s) {
  const table = $("events");
  table.hidden = s.events.length === 0;
  $("no-events").hidden = s.events.length > 0;
  list(table.tBodies[0], s.events, (e) => e.position, (e) => {
    const tr = row(table);
    tr.cells[5].className = "act";
    tr.cells[5].replaceChildren(button("Payload", "Payload of event " + e.position, () => content(e.position, e.type)));
    return tr;
  }, (tr, e) => {
    fill(tr, [number(e.position), e.type, e.aggregate_type + "/" + e.aggregate_id, number(e.version), age(e.age)]);
    tr.cells[5].firstElementChild.hidden = !mayAct;
  });
}

// What it does

let saidTimer = 0;

function say(sentence) {
  text($("said"), sentence);
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => text($("said"), ""), 8000);
}

async function ask(path, options) {
  try {
    const answer = await fetch(path, options);
    const body = await answer.json();
    if (answer.status === 401) location.reload(); // to the form
    return answer.ok ? body : { error: body.error };
  } catch {
    return { error: "The dashboard does not answer, and nothing may have been done." };
  }
}

async function act(what, projection, position = 0) {
  const result = await ask(what, {
    method: "POST", headers: { "Content-Type": "application/json", "Rouse-CSRF": csrf }, body: JSON.stringify({ projection, position }),
  });
  say(result.error ?? result.message);
}

function pauseOrResume(name, what) {
  if (what === "resume") act("resume", name);
  else sure("Pause " + name + "?", "Every worker stops handling it at once, and what is in hand is rolled back. Its events wait until it is resumed; nothing is lost.", "Pause", () => act("pause", name));
}

function discard(e) {
  sure("Discard event " + number(e.position) + "?", e.projection + " will never handle this " + e.type + " of " + e.aggregate_type + "/" + e.aggregate_id +
    ". What waits behind it is handled. This cannot be undone.", "Discard", () => act("discard", e.projection, e.position));
}

let confirmed = () => {};

function sure(title, what, yes, then) {
  text($("ask-title"), title);
  text($("ask-text"), what);
  text($("ask-yes"), yes);
  confirmed = then;
  $("ask").showModal();
}

$("ask-no").addEventListener("click", () => $("ask").close());
$("ask-yes").addEventListener("click", () => {
  $("ask").close();
  confirmed();
});
$("content-close").addEventListener("click", () => $("content").close());
$("content").addEventListener("close", () => {
  text($("content-payload"), "");
  text($("content-metadata"), "");
});

async function content(position, type) {
  const c = await ask("payload?position=" + position);
  if (c.error) {
    say(c.error);
    return;
  }
  text($("content-title"), type + " at position " + number(position) + (c.cut ? ", cut off" : ""));
  text($("content-payload"), c.payload);
  text($("content-metadata"), c.metadata);
  $("content").showModal();
}

// The stream

let source = null;

function connect() {
  source = new EventSource("events");
  source.addEventListener("hello", (e) => {
    const hello = JSON.parse(e.data);
    mayAct = hello.may_act;
    csrf = hello.csrf ?? "";
    lags = hello.history ?? {};
    $("readonly").hidden = mayAct;
    $("logout").hidden = !csrf;
  });
  source.addEventListener("snapshot", (e) => show(JSON.parse(e.data)));
  source.addEventListener("error", () => {
    connection("bad", "not connected");
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    source = null;
    setTimeout(again, 3000);
  });
}

// again connects once more after a refusal, by way of the form if the login has ended.
async function again() {
  try {
    const answer = await fetch("./", { method: "HEAD" });
    if (answer.status === 401) {
      location.reload();
      return;
    }
  } catch {
    // it is away, and connecting says so
  }
  connect();
}

connect();
