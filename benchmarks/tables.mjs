/** A row of a Markdown table. @param {readonly unknown[]} cells */
export const tableRow = (cells) => `| ${cells.join(" | ")} |`;

/** The first two rows of a Markdown table. @param {readonly string[]} cells */
export const tableHead = (cells) => `${tableRow(cells)}\n|${"---|".repeat(cells.length)}`;
