// Draws the plots: which there are, their scales, and the cursor that all of them share.
"use strict";

const PLOTS = [
  { id: "connections", title: "Connections", format: number, series: [
    { column: "open", label: "open", color: "--blue", area: true },
    { column: "opening", label: "opening", color: "--aqua" },
    { column: "dropped", label: "dropped so far", color: "--red" },
    { column: "refused", label: "refused so far", color: "--orange" },
  ] },
  { id: "connecting", title: "Connections opened", per: "per second", format: number, series: [
    { column: "opened_per_s", label: "opened", color: "--blue", area: true },
  ] },
  { id: "messages", title: "Messages", per: "per second", format: number, empty: "No messages were sent.", series: [
    { column: "sent_per_s", label: "sent", color: "--blue" },
    { column: "accepted_per_s", label: "accepted", color: "--violet" },
    { column: "delivered_per_s", label: "delivered", color: "--aqua" },
  ] },
  { id: "latency", title: "Latency", per: "logarithmic", format: micros, logarithmic: true, empty: "Nothing was delivered.", series: [
    { column: "p50_us", label: "p50", color: "--tail-1" },
    { column: "p90_us", label: "p90", color: "--tail-2" },
    { column: "p99_us", label: "p99", color: "--tail-3" },
    { column: "p999_us", label: "p99.9", color: "--tail-4" },
    { column: "max_us", label: "max", color: "--tail-5" },
  ] },
  { id: "memory", title: "Server memory", per: "resident", format: bytes, binary: true, empty: "Not measured: it needs the server's process id.", series: [
    { column: "server_rss_bytes", label: "server", color: "--violet", area: true },
  ] },
  { id: "cpu", title: "Processor time", per: "100 % is one processor", format: percent, series: [
    { column: "server_cpu_percent", label: "server", color: "--violet" },
    { column: "generator_cpu_percent", label: "swarm", color: "--orange" },
  ] },
];
// Past so many samples lines are thinner, so that jitter does not become a band.
const MANY_SAMPLES = 200;
const HEIGHT = 210, TOP = 8, BOTTOM = 24, RIGHT = 10, CHARACTER = 6.7;

// Numbers as the rest of swarm writes them.
function significant(value) {
  const size = Math.abs(value);
  if (Number.isInteger(value)) return String(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.01 ? 2 : 4);
}
function number(value) { return Math.abs(value) < 1000 ? significant(value) : Math.round(value).toLocaleString("en-US"); }
function percent(value) { return significant(value) + " %"; }
function micros(us) {
  return us < 1e3 ? significant(us) + " µs" : us < 1e6 ? significant(us / 1e3) + " ms" : significant(us / 1e6) + " s";
}
function bytes(value) {
  const steps = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  while (Math.abs(value) >= 1024 && step + 1 < steps.length) { value /= 1024; step += 1; }
  return significant(value) + " " + steps[step];
}
function clock(seconds) {
  const whole = Math.round(seconds), two = (part) => String(part).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

// The smallest of the steps times a power that is at least `least`.
function niceStep(least, steps, base) {
  let power = 1;
  while (power * base <= least) power *= base;
  while (power > least) power /= base;
  return (steps.find((step) => step * power >= least) ?? base) * power;
}
function linearScale(values, binary) {
  const top = Math.max(...values, 0) || 1;
  const least = top / 4;
  const step = binary
    ? niceStep(least, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512], 1024)
    : niceStep(least, [1, 2, 2.5, 5], 10);
  const count = Math.ceil(top / step - 1e-9);
  const ticks = Array.from({ length: count + 1 }, (_, index) => index * step);
  return { ticks, at: (value) => value / (count * step) };
}
function logarithmicScale(values) {
  const positive = values.filter((value) => value > 0);
  const low = Math.log10(Math.min(...positive)), high = Math.log10(Math.max(...positive));
  let bottom = Math.floor(low + 1e-9), top = Math.max(Math.ceil(high - 1e-9), bottom + 1);
  const marks = top - bottom <= 2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let decade = bottom; decade <= top; decade += 1) {
    for (const mark of marks) if (mark === 1 || decade < top) ticks.push(mark * 10 ** decade);
  }
  return { ticks, at: (value) => (Math.log10(Math.max(value, 10 ** bottom)) - bottom) / (top - bottom) };
}
function timeTicks(end, room) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const step = steps.find((candidate) => end / candidate <= room) ?? Math.ceil(end / room / 86400) * 86400;
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, index) => index * step);
}

// What a path through the points says; where nothing was measured there is a gap.
function path(points) {
  let pen = "M", text = "";
  for (const point of points) {
    if (point) text += `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
    pen = point ? "L" : "M";
  }
  return text;
}
// A single sample between two gaps would be invisible as a line.
function dots(points, color) {
  return points.filter((point, index) => point && !points[index - 1] && !points[index + 1])
    .map((point) => `<circle cx="${point[0].toFixed(1)}" cy="${point[1].toFixed(1)}" r="2" fill="var(${color})"/>`).join("");
}

// Fills a figure; gives what the cursor needs, or nothing when there is nothing to show.
function draw(figure, plot, course, width) {
  const shown = plot.series.filter((series) => course[series.column].some((value) => value !== null));
  const values = shown.flatMap((series) => course[series.column]).filter((value) => value !== null);
  const caption = `<figcaption>${plot.title}${plot.per ? `<small>${plot.per}</small>` : ""}</figcaption>`;
  if (values.length === 0 || (plot.id === "messages" && values.every((value) => value === 0))) {
    figure.innerHTML = `${caption}<div class="empty">${plot.empty ?? "Nothing was measured."}</div>`;
    return null;
  }
  const scale = plot.logarithmic ? logarithmicScale(values) : linearScale(values, plot.binary);
  const labels = scale.ticks.map(plot.format);
  const left = Math.ceil(Math.max(...labels.map((label) => label.length)) * CHARACTER) + 8;
  const end = course.at_s[course.at_s.length - 1] || 1;
  const x = (seconds) => left + (seconds / end) * (width - left - RIGHT);
  const y = (value) => TOP + (1 - scale.at(value)) * (HEIGHT - TOP - BOTTOM);

  const rows = scale.ticks.map((tick, index) => {
    const at = y(tick).toFixed(1);
    return `<line class="${index === 0 ? "axis" : "grid"}" x1="${left}" x2="${width - RIGHT}" y1="${at}" y2="${at}"/>`
      + `<text x="${left - 6}" y="${at}" dy="0.35em" text-anchor="end">${labels[index]}</text>`;
  }).join("");
  const times = timeTicks(end, Math.max(2, Math.floor((width - left) / 70))).map((seconds) => {
    const at = x(seconds), anchor = at > width - RIGHT - 16 ? "end" : "middle";
    return `<text x="${at.toFixed(1)}" y="${HEIGHT - 6}" text-anchor="${anchor}">${clock(seconds)}</text>`;
  }).join("");
  // What never happened stands in the legend; its line would only hide the axis.
  const happened = shown.filter((series) => course[series.column].some((value) => value > 0));
  const lines = happened.map((series) => {
    const points = course[series.column].map((value, index) => (value === null ? null : [x(course.at_s[index]), y(value)]));
    const line = path(points);
    const first = points.find(Boolean), last = points.findLast(Boolean);
    const area = series.area
      ? `<path class="area" fill="var(${series.color})" d="${line}L${last[0].toFixed(1)} ${y(0)}L${first[0].toFixed(1)} ${y(0)}Z"/>`
      : "";
    return `${area}<path class="series" stroke="var(${series.color})" d="${line}"/>${dots(points, series.color)}`;
  }).join("");

  const legend = shown.map((series) => `<li style="--color: var(${series.color})"><i></i>${series.label} <b></b></li>`).join("");
  figure.innerHTML = `${caption}<ul class="legend">${legend}</ul>`
    + `<svg viewBox="0 0 ${width} ${HEIGHT}" style="--stroke: ${course.at_s.length > MANY_SAMPLES ? 1.2 : 1.8}"`
    + ` role="img" aria-label="${plot.title} over time" tabindex="0">`
    + `${rows}${times}${lines}<line class="cursor" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/></svg>`;
  return {
    svg: figure.querySelector("svg"),
    secondsAt: (position) => ((position - left) / (width - left - RIGHT)) * end,
    // Shows the values of one sample and where it is, or the last ones that were measured when nothing is pointed at.
    show(index, pointed) {
      const line = figure.querySelector(".cursor"), at = x(course.at_s[index]).toFixed(1);
      line.setAttribute("x1", at);
      line.setAttribute("x2", at);
      line.style.visibility = pointed ? "visible" : "hidden";
      figure.querySelectorAll(".legend b").forEach((place, number) => {
        const values = course[shown[number].column];
        const value = pointed ? values[index] : values.findLast((one) => one !== null);
        place.textContent = value === null ? "–" : plot.format(value);
      });
    },
  };
}

function nearest(course, seconds) {
  let best = 0;
  course.at_s.forEach((at, index) => {
    if (Math.abs(at - seconds) < Math.abs(course.at_s[best] - seconds)) best = index;
  });
  return best;
}

// Draws all plots, and again when their width changes. `onCursor` hears which sample is pointed at, or that none is.
function drawAll(course, onCursor) {
  let drawn = [], index = course.at_s.length - 1;
  const show = (to, pointed) => {
    index = to;
    drawn.forEach((plot) => plot.show(index, pointed));
    onCursor(pointed ? index : null);
  };
  const last = () => show(course.at_s.length - 1, false);
  const widths = new Map();
  const redraw = () => {
    drawn = PLOTS.map((plot) => {
      const figure = document.getElementById(`plot-${plot.id}`);
      const style = getComputedStyle(figure);
      const width = Math.max(240, figure.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) || 0);
      widths.set(figure, figure.clientWidth);
      return draw(figure, plot, course, width);
    }).filter(Boolean);
    for (const plot of drawn) {
      const point = (event) => {
        const box = plot.svg.getBoundingClientRect();
        show(nearest(course, plot.secondsAt(event.clientX - box.left)), true);
      };
      plot.svg.addEventListener("pointermove", point);
      plot.svg.addEventListener("pointerdown", point);
      plot.svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") last(); });
      plot.svg.addEventListener("blur", last);
      plot.svg.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (step) {
          event.preventDefault();
          show(Math.min(Math.max(index + step, 0), course.at_s.length - 1), true);
        }
      });
    }
    last();
  };
  redraw();
  if (typeof ResizeObserver === "function") {
    const observer = new ResizeObserver(() => {
      if ([...widths].some(([figure, width]) => figure.clientWidth !== width)) redraw();
    });
    for (const figure of widths.keys()) observer.observe(figure);
  }
}
