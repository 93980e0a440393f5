// Draws every <div data-chart> from the JSON beside it (templates/_parts.html, macro chart).
"use strict";

const HEIGHT = 220;
const HUES = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"];
const WRITTEN = {
  share: (value) => `${Math.round(100 * value)} %`,
  number: (value) => value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : value.toLocaleString(),
  seconds: (value) => `${value.toLocaleString()} s`,
};

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function drawChart(place) {
  const spec = JSON.parse(place.parentElement.querySelector("script[type='application/json']").textContent);
  const written = WRITTEN[spec.unit];
  const series = [{ label: spec.x_label }];
  const data = [spec.x];
  const bands = [];
  spec.series.forEach((one, n) => {
    const stroke = colour(HUES[n % HUES.length]);
    const value = (_, y) => (y == null ? "–" : spec.unit === "share" ? `${(100 * y).toFixed(1)} %` : written(y));
    const points = { show: !one.dashed, size: 5 };
    series.push({ label: one.label, stroke, width: 2, dash: one.dashed ? [6, 4] : undefined, value, points });
    data.push(one.values);
    if (!one.low) return;
    for (const [label, edge] of [["from", one.low], ["to", one.high]]) {
      series.push({ label: `${one.label} ${label}`, class: "edge", stroke: "transparent", points: { show: false }, value });
      data.push(edge);
    }
    bands.push({ series: [series.length - 1, series.length - 2], fill: `${stroke}${spec.series.length > 3 ? "0d" : "22"}` });
  });
  // The legend has the last values until a point is pointed at, and again afterwards.
  const lastValues = (chart) => chart.cursor.left < 0 && chart.setLegend({ idx: spec.x.length - 1 });
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  place.chart?.destroy();
  place.chart = new uPlot({
    width: Math.max(240, place.clientWidth),
    height: HEIGHT,
    series,
    bands,
    scales: { x: { time: false, ...(spec.log ? { distr: 3, log: 2 } : {}) }, y: spec.unit === "share" ? { range: [0, 1] } : {} },
    axes: [
      { ...axis, size: 30, ...(spec.log ? { splits: () => spec.x, values: (_, ks) => ks } : {}), incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
      { ...axis, size: 60, values: (_, ticks) => ticks.map(written) },
    ],
    cursor: { y: false },
    legend: { live: true },
    hooks: { setCursor: [lastValues] },
  }, data, place);
}

function drawCharts() {
  document.querySelectorAll("[data-chart]").forEach(drawChart);
}

document.addEventListener("star:theme", drawCharts);
document.addEventListener("htmx:after:swap", () => document.querySelectorAll("[data-chart]:empty").forEach(drawChart));
let resized = null;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(drawCharts, 150);
});
drawCharts();
