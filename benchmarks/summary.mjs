/** What a comparison comes to: medians, and ratios within the run. */
import { isBare, isPeerOnRedis } from "./contestants.mjs";
import { median, spread } from "./statistics.mjs";
import { tableHead, tableRow } from "./tables.mjs";

/**
 * @typedef {import("./comparison.mjs").Cell} Cell
 *
 * A cell as it is printed and stored: medians over its slices.
 * @typedef {object} Row
 * @property {string} framework
 * @property {string} contestant
 * @property {string} workload
 * @property {number} perSecond
 * @property {number} spread half of how far the middle half of the rates is apart, as a part of the median
 * @property {number} p50Ms
 * @property {number} p99Ms
 * @property {number} cpuUs of the server, for each request
 * @property {number | undefined} cpuOverBareUs the same without what the bare framework takes
 * @property {number} commands that the storage nodes were sent, for each request
 * @property {number | undefined} ofBare rate in comparison with the bare framework
 * @property {number | undefined} ofPeer rate in comparison with the peer on Redis
 */

/**
 * @param {readonly Cell[]} cells of one framework
 * @returns {Row[]}
 */
export function summarize(cells) {
  return cells.map((cell) => {
    const { contestant, workload, slices } = cell;
    const other = (isIt) => cells.find((one) => one.workload === workload && isIt(one.contestant));
    const [bare, peer] = [other(isBare), other(isPeerOnRedis)];
    const rates = slices.map(({ perSecond }) => perSecond);
    const middle = (key) => median(slices.map((slice) => slice[key]));
    return {
      framework: contestant.framework,
      contestant: contestant.name,
      workload: workload.name,
      perSecond: Math.round(middle("perSecond")),
      spread: rounded(spread(rates)),
      p50Ms: rounded(middle("p50Ms")),
      p99Ms: rounded(middle("p99Ms")),
      cpuUs: rounded(middle("cpuUs")),
      cpuOverBareUs: bare && rounded(middle("cpuUs") - median(bare.slices.map(({ cpuUs }) => cpuUs))),
      commands: rounded(middle("commands")),
      ofBare: bare && ratioTo(bare, slices),
      ofPeer: peer && ratioTo(peer, slices),
    };
  });
}

/** The median of the ratios between neighbours, which had the machine at the same speed. */
const ratioTo = (other, slices) =>
  rounded(median(slices.map(({ perSecond }, round) => perSecond / other.slices[round].perSecond)));

const rounded = (number) => Math.round(1000 * number) / 1000;

/**
 * The tables of one framework, one for each workload.
 * @param {readonly Row[]} rows
 * @param {readonly import("./workloads.mjs").Workload[]} workloads
 * @returns {string}
 */
export function tablesOf(rows, workloads) {
  return workloads
    .map((workload) => {
      const own = rows.filter((row) => row.workload === workload.name);
      const title = `${own[0]?.framework}, ${workload.name}: ${workload.meaning}`;
      return [title, "", tableHead(columns), ...own.map((row) => tableRow(cellsOf(row)))].join("\n");
    })
    .join("\n\n");
}

const columns = [
  "",
  "requests/s",
  "±",
  "p50 ms",
  "p99 ms",
  "CPU µs",
  "over bare",
  "commands",
  "of bare",
  "of peer",
];

function cellsOf(row) {
  const shown = (number, digits) => number?.toFixed(digits) ?? "";
  return [
    row.contestant,
    row.perSecond,
    `${Math.round(100 * row.spread)} %`,
    shown(row.p50Ms, 1),
    shown(row.p99Ms, 1),
    shown(row.cpuUs, 1),
    shown(row.cpuOverBareUs, 1),
    shown(row.commands, 2),
    shown(row.ofBare, 2),
    shown(row.ofPeer, 2),
  ];
}
