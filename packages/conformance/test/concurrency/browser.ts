import type { Attributes, Session, SessionExchange, SessionManager } from "@msm/core";
import { testClient, type Visit } from "../../src/index.js";

/** A browser that asks for a path, with a jar for one cookie. */
export interface Browser {
  cookie: string | undefined;
  /** Opens a request such as "GET /cart", and leaves it open. */
  open(manager: SessionManager, what: string): Promise<SessionExchange>;
  /** Commits an open request, takes its cookie, and ends it. */
  finish(exchange: SessionExchange): Promise<Visit>;
  /** One whole request. */
  ask(
    manager: SessionManager,
    what: string,
    handler?: (attributes: Attributes, session: Session) => unknown,
  ): Promise<Visit>;
}

/** Makes a browser; without a cookie it is a new visitor. */
export function browser(cookie?: string): Browser {
  const jar = testClient(cookie);
  const own: Browser = {
    get cookie() {
      return jar.cookie;
    },
    set cookie(value) {
      jar.cookie = value;
    },
    async open(manager, what) {
      const [method = "", url = ""] = what.split(" ");
      const cookieHeader = jar.cookie === undefined ? undefined : `sid=${jar.cookie}`;
      return manager.open({ method, url, secure: false, cookieHeader });
    },
    finish: (exchange) => jar.finish(exchange),
    async ask(manager, what, handler) {
      const exchange = await own.open(manager, what);
      if (exchange.session) await handler?.(exchange.session.attributes, exchange.session);
      return jar.finish(exchange);
    },
  };
  return own;
}

/** Says of an opening request whether it still waits. */
export function watched(opening: Promise<SessionExchange>): {
  readonly exchange: Promise<SessionExchange>;
  readonly isWaiting: boolean;
} {
  let isWaiting = true;
  const done = () => {
    isWaiting = false;
  };
  opening.then(done, done);
  return {
    exchange: opening,
    get isWaiting() {
      return isWaiting;
    },
  };
}
