import type { RequestHandler } from "express";

const highest = 100_000;

/**
 * A page that counts by itself, one request after the other, and compares what it finds with what it wrote before:
 * kill what you like meanwhile. `to` is the last number, `last` the one that was written before.
 */
export const autocounter: RequestHandler = (request, response) => {
  const to = numberIn(request.query.to);
  if (to === undefined)
    return void response.status(400).type("text").send(`"to" must be a whole number up to ${highest}`);

  const last = numberIn(request.query.last);
  const found = request.session.autocounter;
  // One further is right as well: the step was carried out before, and its answer never came.
  if (last !== undefined && found !== last && found !== last + 1) {
    const lost = `KO: ${last} was written last, but ${found ?? "nothing"} was found. A write was lost.`;
    return void response.status(500).type("text").send(lost);
  }
  if (last !== undefined && last >= to)
    return void response.type("text").send(`OK: all of 0 to ${last} were found.`);

  const next = last === undefined ? 0 : last + 1;
  request.session.autocounter = next;
  response.type("html").send(`<!doctype html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=?to=${to}&amp;last=${next}">
<title>${next} of ${to}</title>
<p>${next} of ${to}</p>
`);
};

function numberIn(text: unknown): number | undefined {
  return typeof text === "string" && /^\d{1,6}$/.test(text) && Number(text) <= highest
    ? Number(text)
    : undefined;
}
