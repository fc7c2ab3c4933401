// Opens the page of `swarm … --html` in jsdom, lets its script run, and prints as one line of JSON what a reader then sees.
//
// node open_page.cjs FILE
// Ends with a code other than 0 when the script of the page fails.

const { readFileSync } = require("node:fs");
const { JSDOM, VirtualConsole } = require("jsdom");

const failures = [];
const virtualConsole = new VirtualConsole();
virtualConsole.on("jsdomError", (error) => failures.push(error.message));
const page = new JSDOM(readFileSync(process.argv[2], "utf8"), { runScripts: "dangerously", virtualConsole });
const { document, MouseEvent, Event } = page.window;
const text = (selector, within = document) => within.querySelector(selector)?.textContent ?? null;

/** How many samples a line has: each is a move of the pen. */
const samples = (line) => line.getAttribute("d").match(/[ML]/g)?.length ?? 0;

function legend(figure) {
  const entries = [...figure.querySelectorAll(".legend li")].map((entry) => {
    const value = text("b", entry);
    return [entry.textContent.slice(0, -value.length).trim(), value];
  });
  return Object.fromEntries(entries);
}

const plots = {};
for (const figure of document.querySelectorAll("figure")) {
  const lines = [...figure.querySelectorAll("path.series")].map(samples);
  plots[figure.id] = { title: text("figcaption", figure), legend: legend(figure), lines, empty: text(".empty", figure) };
}

// The cursor of one plot shows the first second in all of them.
const first = document.querySelector("#plot-connections svg");
if (first) first.dispatchEvent(new MouseEvent("pointermove", { clientX: 0 }));
const pointed = { at: text("#at"), cursors: document.querySelectorAll('.cursor[style*="visible"]').length };

const details = document.getElementById("samples");
details.dispatchEvent(new Event("toggle"));

if (failures.length > 0) {
  console.error(failures.join("\n"));
  process.exit(1);
}
console.log(JSON.stringify({
  title: text("title"),
  verdict: text("#verdict"),
  cut_short: document.getElementById("cut-short").hidden ? null : text("#cut-short"),
  tiles: Object.fromEntries([...document.querySelectorAll(".tile")].map((tile) => [text("span", tile), text("strong", tile)])),
  judged: [...document.querySelectorAll("#judged li")].map((row) => [text("span", row), text("code", row)]),
  plots,
  pointed,
  rows: document.querySelectorAll("#course tbody tr").length,
}));
