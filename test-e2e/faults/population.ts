import { Ledger } from "../history/ledger.js";
import { askWorker, type HttpAnswer } from "../processes/http-answer.js";
import type { App, Bench } from "./bench.js";
import { isSticky } from "./cell.js";
import { readCookie } from "./session-cookie.js";
import { TrackedSession } from "./tracked-session.js";

/** One request, of whatever kind, as its user saw it. */
export interface RequestNote {
  readonly kind: string;
  readonly app: string | undefined;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly answer: HttpAnswer;
}

/** A cookie that must lead to nothing any more. */
export interface DeadCookie {
  readonly cookie: string;
  readonly session: TrackedSession;
  readonly why: "login" | "logout";
  /** Who acknowledged the end. */
  readonly by: App | undefined;
  readonly atMs: number;
}

/** What must not be, by kind. */
export interface Findings {
  /** A dead cookie was served; in words. */
  readonly resurrected: string[];
  /** A request with a valid cookie was given another session id, or had its cookie cleared. */
  readonly newIds: Absence[];
  /** A session was not there though nobody had ended it. */
  readonly vanished: Absence[];
  /** Anything else that is wrong with an answer; in words. */
  readonly broken: string[];
}

/** A session was not to be had. */
export interface Absence {
  readonly session: TrackedSession;
  readonly what: string;
}

/** All sessions of a run, with what their users were told, and what they should not have been. */
export class Population {
  readonly bench: Bench;
  readonly ledger = new Ledger();
  readonly requests: RequestNote[] = [];
  readonly sessions: TrackedSession[] = [];
  readonly dead: DeadCookie[] = [];
  readonly findings: Findings = { resurrected: [], newIds: [], vanished: [], broken: [] };
  /**
   * Dead cookies that were served by the process that had the session before another one ended it. A documented limit of
   * the sticky mode, which takes a balancer that does not keep to the cookie.
   */
  readonly servedByFormerOwner: string[] = [];
  probes = 0;

  constructor(bench: Bench) {
    this.bench = bench;
  }

  /** The sessions that are there, as far as anybody was told. */
  get live(): TrackedSession[] {
    return this.sessions.filter(({ standing }) => standing === "live");
  }

  /** A session that is yet to begin. */
  add(): TrackedSession {
    const session = new TrackedSession(`s${this.sessions.length + 1}`, this);
    this.sessions.push(session);
    return session;
  }

  /** So many sessions that have begun. @throws Error where one cannot begin */
  async begin(count: number, options?: Parameters<TrackedSession["begin"]>[0]): Promise<TrackedSession[]> {
    const begun = Array.from({ length: count }, () => this.add());
    for (let at = 0; at < count; at += 16) {
      const some = begun.slice(at, at + 16);
      const worked = await Promise.all(some.map((session) => session.begin(options)));
      if (worked.includes(false)) throw new Error("a session cannot begin");
    }
    return begun;
  }

  /** Resolves when no request is under way. */
  async quiet(): Promise<void> {
    await Promise.all(this.sessions.map((session) => session.quiet()));
  }

  note(kind: "resurrected" | "broken", what: string): void {
    this.findings[kind].push(what);
  }

  noteNewId(session: TrackedSession, what: string): void {
    this.findings.newIds.push({ session, what });
  }

  noteVanished(session: TrackedSession, kind: string, app: App | undefined): void {
    const what = `${session.name} was not there when ${app?.name} served a ${kind}`;
    this.findings.vanished.push({ session, what });
  }

  noteDead(dead: Omit<DeadCookie, "atMs">): void {
    this.dead.push({ ...dead, atMs: performance.now() });
  }

  noteRequest(request: RequestNote): void {
    this.requests.push(request);
  }

  /** Sends a dead cookie again. @returns whether it is known to lead to nothing; undefined where there was an error */
  async probe({ cookie, session, why, by, atMs }: DeadCookie, via?: App): Promise<boolean | undefined> {
    const { route } = readCookie(cookie);
    const app = via ?? this.bench.balancer.appFor(route);
    if (app === undefined) return undefined;
    const startedMs = performance.now();
    const header = `sid=${cookie}`;
    const answer = await askWorker(app.line, {
      ...{ method: "GET", path: "/state", cookie: header, patienceMs: 15_000 },
    });
    this.probes += 1;
    this.noteRequest({ kind: "probe", app: app.name, startedMs, endedMs: performance.now(), answer });
    if (answer.kind === "broken" || answer.status !== 200) return undefined;
    const { tag } = JSON.parse(answer.body) as { tag?: string };
    if (tag === undefined) return true;

    const afterMs = Math.round(startedMs - atMs);
    const what = `${app.name} served ${tag} to a cookie of ${session.name}, ${afterMs} ms after its ${why} by ${by?.name}`;
    const isFormerOwner =
      isSticky(this.bench.cell) && app === this.bench.apps.find(({ name }) => name === route);
    if (isFormerOwner && by !== app && tag === session.name) this.servedByFormerOwner.push(what);
    else this.note("resurrected", what);
    return false;
  }
}
