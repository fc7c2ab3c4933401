// Fills the page from the data inside of it.

const run = JSON.parse(document.getElementById("run").textContent);
const place = (id) => document.getElementById(id);

// The figures worth a tile, as far as the command has them, each with what it is called there.
const TILES = [
  ["open", "connections open"], ["alive", "connections alive"], ["connects_per_s", "connects per second"],
  ["messages", "messages"], ["sent", "messages sent"], ["messages_per_s", "messages per second"], ["p50_us", "p50 latency"],
  ["p99_us", "p99 latency"], ["lost", "lost"], ["dropped", "dropped"], ["disconnected", "disconnected"], ["refused", "refused"],
  ["server_rss_bytes", "server memory"], ["server_bytes_per_connection", "server bytes per connection"],
  ["server_cpu_us_per_message", "server CPU µs per message"], ["server_cpu_us_per_connect", "server CPU µs per connect"],
];
const TILES_MAX = 12;
const ALARMING = ["lost", "dropped", "disconnected", "refused"];

// The unit of a figure stands at the end of its name.
function figure(name, value) {
  if (value === null) return "–";
  if (name.endsWith("_us")) return micros(value);
  if (name.endsWith("_ms")) return micros(value * 1e3);
  if ((name.endsWith("_s") && !name.endsWith("_per_s")) || name === "seconds") return micros(value * 1e6);
  if (name.endsWith("_bytes")) return bytes(value);
  if (name.endsWith("_percent")) return percent(value);
  return number(value);
}

// An element with text in it; what stands in the data is never taken for markup.
function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
function reveal(id, text) {
  place(id).hidden = false;
  if (text) place(id).textContent = text;
}

function fillHeader() {
  const missed = run.expectations.filter((judged) => !judged.held).length;
  const [verdict, look] = run.fault ? ["went wrong", "bad"]
    : missed > 0 ? [`${missed} of ${run.expectations.length} expectations missed`, "bad"]
    : run.cut_short ? ["cut short", "cut"] : ["nothing went wrong", "good"];
  document.title = `${run.title} – ${verdict}`;
  place("title").textContent = run.title;
  place("verdict").textContent = verdict;
  place("verdict").classList.add(look);
  const took = run.course.at_s[run.course.at_s.length - 1] ?? 0;
  place("when").textContent = `${new Date(run.begun_ms).toLocaleString()} · ran for ${clock(took)}`;
  place("command-line").textContent = `$ ${run.command_line}`;
  if (run.fault) reveal("fault", run.fault);
  if (run.caution) reveal("caution", `Mind: ${run.caution}`);
  if (run.cut_short) reveal("cut-short", run.cut_short);
  place("made-by").textContent = `swarm ${run.version} of Switchyard`;
}

function fillFigures() {
  const figures = new Map(run.figures);
  for (const [name, label] of TILES.filter(([name]) => figures.has(name)).slice(0, TILES_MAX)) {
    const alarm = ALARMING.includes(name) && figures.get(name) > 0;
    const tile = element("div", "", alarm ? "tile alarm" : "tile");
    tile.append(element("span", label), element("strong", figure(name, figures.get(name))));
    place("tiles").append(tile);
  }
  if (figures.size > 0) {
    reveal("all-figures");
    const body = place("figures").createTBody();
    for (const [name, value] of figures) {
      const row = body.insertRow();
      row.append(element("th", name), element("td", figure(name, value)));
    }
  }
}

function fillExpectations() {
  if (run.expectations.length > 0) reveal("expectations");
  for (const judged of run.expectations) {
    const row = document.createElement("li");
    const measured = judged.measured === null ? "was not measured" : `is ${figure(judged.figure, judged.measured)}`;
    row.append(
      element("span", judged.held ? "held" : "missed", judged.held ? "verdict good" : "verdict bad"),
      element("code", judged.expect),
      element("span", `${judged.figure} ${measured}`, "muted"),
    );
    place("judged").append(row);
  }
}

// Only when it is opened: a long run has thousands of rows.
function fillTable() {
  const names = Object.keys(run.course);
  const head = place("course").createTHead().insertRow();
  names.forEach((name) => head.append(element("th", name)));
  const body = place("course").createTBody();
  run.course.at_s.forEach((_, index) => {
    const row = body.insertRow();
    names.forEach((name) => { row.insertCell().textContent = run.course[name][index] ?? ""; });
  });
}

fillHeader();
fillFigures();
fillExpectations();
drawAll(run.course, (index) => {
  place("at").textContent = index === null ? "values at the end; point at a plot for others" : `at ${clock(run.course.at_s[index])}`;
});
place("samples").addEventListener("toggle", fillTable, { once: true });
