/** Requests without a framework or a network: what is left is the manager and its nodes. */

/** A browser, as far as sessions know it: its Cookie header. @typedef {{ cookie: string | undefined }} Browser */

/**
 * One request, from its cookie to its answer.
 * @param {import("@msm/core").SessionManager} manager
 * @param {Browser} browser gets the cookie that the answer brings
 * @param {(attributes: any) => unknown} handler
 * @returns {Promise<boolean>} whether the client is told that it worked
 */
export async function visit(manager, browser, handler) {
  try {
    const request = { method: "POST", url: "/", secure: false, cookieHeader: browser.cookie };
    const exchange = await manager.open(request);
    await handler(exchange.session.attributes);
    const { outcome } = await exchange.commit();
    browser.cookie = /^[^;]*/.exec(exchange.cookie() ?? "")?.[0] || browser.cookie;
    await exchange.end();
    return outcome === "stored";
  } catch (error) {
    if (error.status === 503 || error.status === 409) return false;
    throw error;
  }
}
