import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram, needsProgram } from "@msm/conformance";
import { type Cluster, type StorageKind, startCluster } from "@msm/samples";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

const browserProgram =
  ["chromium", "chromium-browser", "google-chrome"].find((name) => findProgram(name) !== undefined) ??
  "chromium";
const needsBrowser = needsProgram(browserProgram);

// Without a sandbox, as Chromium has none for root; it opens no page but ours. The rest keeps it from talking to others.
const browserFlags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const storagePrograms: Record<StorageKind, string | undefined> = {
  embedded: undefined,
  memcached: "memcached",
  redis: "redis-server",
};
const always = { skip: false, reason: "" };

let browser: Browser | undefined;
let screenshots: string;
const clusters: Cluster[] = [];

beforeAll(async () => {
  screenshots = process.env.MSM_SCREENSHOTS ?? mkdtempSync(join(tmpdir(), "msm-screenshots-"));
  mkdirSync(screenshots, { recursive: true });
  if (needsBrowser.skip) return;
  browser = await chromium.launch({
    executablePath: findProgram(browserProgram) ?? browserProgram,
    args: browserFlags,
  });
});

afterEach(async () => {
  await Promise.all(clusters.splice(0).map((cluster) => cluster.stop()));
});

afterAll(async () => {
  await browser?.close();
  if (!needsBrowser.skip) console.log(`  screenshots are in ${screenshots}`);
});

describe.each(["sticky", "non-sticky"] as const)("the page of a %s demo cluster", (mode) => {
  for (const storage of ["embedded", "memcached", "redis"] as const) {
    const program = storagePrograms[storage];
    const needsStorage = program === undefined ? always : needsProgram(program);
    const skip = needsBrowser.skip || needsStorage.skip;

    it.skipIf(skip)(
      `shows how a session on ${storage} survives what its buttons do${needsBrowser.reason}${needsStorage.reason}`,
      async () => {
        const page = await openDemo(mode, storage);

        await logIn(page, "Ada");
        await countTo(page, 5);
        const app = await yours(page, "apps");
        await press(page, app, "kill");
        await stateBecomes(page, app, "down");
        await countTo(page, 10);
        const node = await yours(page, "nodes");
        await press(page, node, "kill");
        await stateBecomes(page, node, "down");
        await countTo(page, 15);

        expect(await yours(page, "nodes")).not.toBe(node);
        await page
          .getByText(`${node} is down → your session is now ${mode === "sticky" ? "backed" : "kept"} by`)
          .waitFor();
        if (mode === "sticky")
          await page.getByText(`${app} is down → your session is now served by`).waitFor();
        await screenshot(page, `${mode}-${storage}-killed`);

        await press(page, app, "restart");
        await press(page, node, "restart");
        await stateBecomes(page, app, "up");
        await stateBecomes(page, node, "up");
        await countTo(page, 20);

        expect(await page.textContent("#verdict")).toMatch(/^Nothing lost in \d+ counts\./);
        expect(await page.textContent("#user")).toBe("Ada");
        await screenshot(page, `${mode}-${storage}-restarted`);
      },
    );
  }
});

describe("32 at once on the page of a non-sticky demo cluster", () => {
  it.skipIf(needsBrowser.skip)(
    `lose counts where requests do not lock, and the page says so${needsBrowser.reason}`,
    async () => {
      const page = await openDemo("non-sticky", "embedded", "optimistic");

      const { answered, before, after, lost } = await countAtOnce(page);

      expect(lost).toBeGreaterThan(0);
      expect(after).toBe(before + answered - lost);
      expect(await page.textContent("#burst-verdict")).toBe(
        `${lost} of ${answered} answered counts were overwritten by others.`,
      );
      await page
        .getByText('two requests changed "counter" at once; the later value stands')
        .first()
        .waitFor();
      await screenshot(page, "at-once-optimistic");
    },
  );

  it.skipIf(needsBrowser.skip)(
    `lose none where each has the session to itself${needsBrowser.reason}`,
    async () => {
      const page = await openDemo("non-sticky", "embedded", "all");

      const { answered, refused, before, after, lost } = await countAtOnce(page);

      expect(answered + refused).toBe(32);
      expect(lost).toBe(0);
      expect(after).toBe(before + answered);
      await countTo(page, after + 1);
      await screenshot(page, "at-once-all");
    },
  );
});

describe("the page", () => {
  it.skipIf(needsBrowser.skip)(
    `goes on after a reload, and fits a phone and a dark room${needsBrowser.reason}`,
    async () => {
      const page = await openDemo("sticky", "embedded");
      await logIn(page, "Ada");
      await countTo(page, 3);

      await page.setViewportSize({ width: 390, height: 844 });
      await page.emulateMedia({ colorScheme: "dark" });
      await page.reload();
      await page.getByText("Ada", { exact: true }).waitFor();

      expect(await page.textContent("#counter")).toBe("3");
      const overflow = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth");
      expect(overflow).toBeLessThanOrEqual(0);
      await screenshot(page, "phone-dark");
    },
  );
});

async function openDemo(
  mode: "sticky" | "non-sticky",
  storage: StorageKind,
  locking = "optimistic",
): Promise<Page> {
  if (!browser) throw new Error(`there is no ${browserProgram} on this machine`);
  const cluster = await startCluster({ mode, storage, locking, port: 0 });
  clusters.push(cluster);
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(`the page: ${error.message}`));
  await page.goto(cluster.url);
  await page.locator("#apps [data-state=up]").nth(2).waitFor();
  return page;
}

async function logIn(page: Page, name: string): Promise<void> {
  await page.fill("#name", name);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator("#user", { hasText: name }).waitFor();
}

/** Clicks until the counter shows a number; a click that was not answered is just clicked again. */
async function countTo(page: Page, number: number): Promise<void> {
  for (let clicks = 0; clicks < 100; clicks += 1) {
    if ((await page.textContent("#counter")) === String(number)) return;
    const before = await page.textContent("#verdict");
    await page.click("#count");
    await page
      .locator("#verdict")
      .filter({ hasNotText: before ?? "" })
      .waitFor();
  }
  throw new Error(`the counter does not get to ${number}`);
}

/** Presses "32 at once". @returns what the page says of it */
async function countAtOnce(page: Page) {
  await page.getByRole("button", { name: "32 at once" }).click();
  await page.locator("#burst-lost").filter({ hasText: /\d/ }).waitFor();
  const shown = async (what: string) => (await page.textContent(`#burst-${what}`)) ?? "";
  const [before, after] = (await shown("counter")).split(" → ").map(Number);
  expect(await shown("asked")).toBe("32");
  return {
    answered: Number(await shown("answered")),
    refused: Number(await shown("refused")),
    lost: Number(await shown("lost")),
    before: before ?? Number.NaN,
    after: after ?? Number.NaN,
  };
}

/** The name of the process or node that has the visitor's session. */
async function yours(page: Page, kind: "apps" | "nodes"): Promise<string> {
  return (await page.locator(`#${kind} .yours`).getAttribute("data-member")) ?? "none";
}

async function press(page: Page, name: string, action: string): Promise<void> {
  await page.click(`[data-member=${name}] [data-action=${action}]`);
}

async function stateBecomes(page: Page, name: string, state: string): Promise<void> {
  await page.locator(`[data-member=${name}][data-state=${state}]`).waitFor();
}

async function screenshot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
}
