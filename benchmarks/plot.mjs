/**
 * `node plot.mjs results/<date>.json > ../docs/performance.svg`: what `bench.mjs --json` wrote, as bars. How many requests a
 * second msm answers on Redis for each that the peer on Redis does.
 */
import { readFileSync } from "node:fs";
import { contestantsOf, isPeerOnRedis } from "./contestants.mjs";
import { workloads } from "./workloads.mjs";

const [file] = process.argv.slice(2).filter((argument) => argument !== "--");
if (file === undefined) throw new Error("name the file that bench.mjs --json wrote");
/** @type {import("./frameworks.mjs").Result} */
const result = JSON.parse(readFileSync(file, "utf8"));

const series = [
  { contestant: "msm sticky, Redis", label: "sticky", colour: "#0b6e4f" },
  { contestant: "msm non-sticky optimistic, Redis", label: "non-sticky", colour: "#4a9fd8" },
  { contestant: "msm non-sticky all, Redis", label: "non-sticky, locking all", colour: "#b9c4cc" },
];

const width = 920;
const panelHeight = 190;
const left = 48;
const top = 84;
const plotHeight = 120;
const font = 'font-family="system-ui, sans-serif"';

const frameworks = [...new Set(result.rows.map(({ framework }) => framework))];
const height = top + frameworks.length * panelHeight + 40;
console.log(drawing());

function drawing() {
  const panels = frameworks.map((framework, index) => panel(framework, top + index * panelHeight));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>Requests a second, msm for each of the peer on Redis</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(left, 28, "Requests a second: msm on Redis, for each that the peer on Redis answers", {
      size: 16,
      weight: 600,
    }),
    text(left, 48, `${result.date.slice(0, 10)}, Node ${result.machine.node.slice(1)}: ${result.command}`, {
      size: 12,
      colour: "#57606a",
    }),
    ...series.flatMap(legend),
    ...panels.flat(),
    ...meanings(),
    "</svg>",
  ].join("\n");
}

/** Below the panels, in two lines. */
function meanings() {
  const half = Math.ceil(workloads.length / 2);
  return [workloads.slice(0, half), workloads.slice(half)].map((some, line) => {
    const content = some.map(({ name, meaning }) => `${name}: ${meaning}`).join(" · ");
    return text(left, height - 30 + 16 * line, content, { size: 11, colour: "#57606a" });
  });
}

function legend({ label, colour }, index) {
  const x = left + index * 190;
  return [
    `<rect x="${x}" y="60" width="12" height="12" fill="${colour}"/>`,
    text(x + 18, 70, label, { size: 12 }),
  ];
}

function panel(framework, y) {
  const rows = result.rows.filter((row) => row.framework === framework);
  const shown = workloads.filter(({ name }) => rows.some(({ workload }) => workload === name));
  const most = Math.max(1, ...rows.filter(isShown).map(({ ofPeer }) => ofPeer ?? 0));
  const scale = plotHeight / (1.15 * most);
  const base = y + 20 + plotHeight;
  const groupWidth = (width - left - 20) / shown.length;
  const barWidth = Math.min(34, (groupWidth - 24) / series.length);

  const bars = shown.flatMap(({ name }, group) => {
    const x = left + group * groupWidth + (groupWidth - series.length * barWidth) / 2;
    const own = series.flatMap(({ contestant, colour }, index) => {
      const ratio = rows.find((row) => row.contestant === contestant && row.workload === name)?.ofPeer;
      return ratio == null ? [] : bar(x + index * barWidth, base, { ratio, scale, barWidth, colour });
    });
    return [...own, text(left + (group + 0.5) * groupWidth, base + 16, name, { size: 12, anchor: "middle" })];
  });
  const one = base - scale;
  const peer = contestantsOf(framework).find(isPeerOnRedis)?.name;
  const right = width - 20;
  return [
    text(left, y + 12, `${framework}, against ${peer}`, { size: 13, weight: 600 }),
    line(one, right, 'stroke="#cf222e" stroke-dasharray="4 3"'),
    text(left - 8, one + 4, "peer", { size: 10, anchor: "end", colour: "#cf222e" }),
    ...bars,
    line(base, right, 'stroke="#8c959f"'),
  ];
}

function line(y, right, stroke) {
  return `<line x1="${left}" y1="${y.toFixed(1)}" x2="${right}" y2="${y.toFixed(1)}" ${stroke}/>`;
}

function bar(x, base, { ratio, scale, barWidth, colour }) {
  const barHeight = ratio * scale;
  const at = { x: x.toFixed(1), y: (base - barHeight).toFixed(1) };
  return [
    `<rect x="${at.x}" y="${at.y}" width="${(barWidth - 2).toFixed(1)}" height="${barHeight.toFixed(1)}" fill="${colour}"/>`,
    text(x + barWidth / 2 - 1, base - barHeight - 4, ratio.toFixed(1), { size: 10, anchor: "middle" }),
  ];
}

function isShown({ contestant }) {
  return series.some((one) => one.contestant === contestant);
}

function text(x, y, content, { size, weight = 400, anchor = "start", colour = "#1f2328" }) {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const place = `x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}"`;
  const look = `${font} font-size="${size}" font-weight="${weight}" fill="${colour}"`;
  // Readable where a line runs behind it.
  return `<text ${place} ${look} stroke="#ffffff" stroke-width="3" paint-order="stroke">${escaped}</text>`;
}
