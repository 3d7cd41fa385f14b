/** An event of an application's session manager. */
export interface AppEvent {
  readonly app: string;
  readonly event: string;
  readonly detail: Readonly<Record<string, unknown>>;
  readonly atMs: number;
}

const keptLines = 20_000;

/** What no log line may hold: a session id, or what a session holds. */
const secrets = /[0-9a-f]{48}|canary-/;

/** What the application processes of a bench printed and told, of all their lives. */
export class Logs {
  readonly events: AppEvent[] = [];
  /** Rejections and exceptions that nobody handled. */
  readonly unhandled: string[] = [];
  /** Lines that give a secret away. */
  readonly leaks: string[] = [];
  /** The last 20,000 lines. */
  readonly lines: string[] = [];

  noteLine(app: string, line: string): void {
    if (secrets.test(line)) this.leaks.push(`${app}: ${line}`);
    this.lines.push(`${app}: ${line}`);
    if (this.lines.length > keptLines) this.lines.shift();
  }

  /** How often an event was emitted, by one process or by all. */
  count(event: string, app?: string): number {
    return this.events.filter((each) => each.event === event && (app === undefined || each.app === app))
      .length;
  }
}
