import type { SessionManager } from "@msm/core";
import { type TestClient, testClient } from "../../src/index.js";

/** Clients that append to a list in their session, one request after the other, and know what was acknowledged. */
export interface Traffic {
  /** Resolves when each client has made that many more requests: what is done meanwhile is done while sessions are served. */
  goOn(requests: number): Promise<void>;
  /** Ends, and reads every list once more. @returns what was not as it should be, in words; nothing where all is well */
  end(): Promise<readonly string[]>;
  /** How many requests were made. */
  readonly requests: number;
}

/** Which process a request goes to: the one that its cookie names (sticky), or each in its turn. */
export type Balancing = "by route" | "in turn";

interface Visitor {
  readonly client: TestClient;
  readonly acknowledged: string[];
  readonly sessionIds: Set<string>;
  requests: number;
}

/** After so many requests a client's session is left alone, and another begins: new ones are needed on new nodes as well. */
const requestsPerSession = 40;

/** Starts clients that go on until they are told to end. @param processes by their routes */
export function startTraffic(
  processes: Readonly<Record<string, SessionManager>>,
  { clients = 12, balancing }: { readonly clients?: number; readonly balancing: Balancing },
): Traffic {
  const troubles: string[] = [];
  const visitors: Visitor[] = [];
  const routes = Object.keys(processes);
  let isEnded = false;
  let turn = 0;

  const lines = Array.from({ length: clients }, (_, index) => runLine(index));

  return {
    get requests() {
      return visitors.reduce((sum, { requests }) => sum + requests, 0);
    },
    async goOn(requests) {
      const wanted = this.requests + requests * clients;
      while (this.requests < wanted && troubles.length === 0) await moment();
    },
    async end() {
      isEnded = true;
      await Promise.all(lines);
      for (const visitor of visitors) await visit(visitor, "read at the end", false);
      return troubles;
    },
  };

  async function runLine(index: number): Promise<void> {
    while (!isEnded) {
      const visitor: Visitor = { client: testClient(), acknowledged: [], sessionIds: new Set(), requests: 0 };
      visitors.push(visitor);
      while (!isEnded && visitor.requests < requestsPerSession) {
        const isRead = visitor.requests % 4 === 3;
        await visit(visitor, `${index}:${visitor.requests}`, !isRead);
        await moment();
      }
    }
  }

  async function visit(visitor: Visitor, name: string, appends: boolean): Promise<void> {
    const { client, acknowledged } = visitor;
    visitor.requests++;
    try {
      const { result, session } = await client.visit(processFor(client.cookie), async (attributes) => {
        const list = (attributes.list ?? []) as string[];
        check(name, list, acknowledged);
        await moment();
        if (appends) attributes.list = [...list, name];
      });
      if (result.outcome === "failed" || result.outcome === "discarded")
        troubles.push(`${name} ${result.outcome}: ${result.error?.message}`);
      else if (appends) acknowledged.push(name);
      if (session !== undefined) visitor.sessionIds.add(session.id);
      if (visitor.sessionIds.size > 1) troubles.push(`${name} got another session`);
    } catch (error) {
      troubles.push(`${name} failed: ${String(error)}`);
    }
  }

  function check(name: string, list: readonly string[], acknowledged: readonly string[]): void {
    if (list.join() !== acknowledged.join())
      troubles.push(
        `${name} saw [${list.slice(-3)}] (${list.length}) where [${acknowledged.slice(-3)}] (${acknowledged.length}) was acknowledged`,
      );
  }

  function processFor(cookie: string | undefined): SessionManager {
    const named = routes.find((route) => cookie?.endsWith(`.${route}`));
    const route = balancing === "by route" && named !== undefined ? named : routes[turn++ % routes.length]!;
    return processes[route]!;
  }
}

const moment = () => new Promise<void>((resolve) => setImmediate(resolve));
