import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { memoryStorage } from "@msm/core";
import { describe, expect, it } from "vitest";
import { freePort, storageContract, waitUntil } from "../src/index.js";

const folderOf = (name: string) => fileURLToPath(new URL(`../../${name}/`, import.meta.url));

/** The first program in a package's README. */
function programOf(name: string): string {
  const program = /^```js\n([\s\S]*?)^```$/m.exec(readFileSync(`${folderOf(name)}README.md`, "utf8"))?.[1];
  if (program === undefined) throw new Error(`the README of ${name} shows no program`);
  return program;
}

describe("README of @msm/core", () => {
  it("shows a server that counts visits", async () => {
    const port = await freePort();
    const program = programOf("core").replace(".listen(3000)", `.listen(${port}, "127.0.0.1")`);
    // From the folder of the package, its own name leads to what was built.
    const child = spawn(process.execPath, ["--input-type=module"], {
      cwd: folderOf("core"),
      env: { ...process.env, SESSION_SECRET: "the secret of README's program, long enough" },
      stdio: ["pipe", "inherit", "inherit"],
    });
    child.stdin.end(program);
    try {
      const visit = (cookie: string) => fetch(`http://127.0.0.1:${port}/`, { headers: { cookie } });
      await waitUntil("the program answers", () =>
        visit("").then(
          () => true,
          () => false,
        ),
      );
      const first = await visit("");
      const cookie = first.headers.getSetCookie()[0]?.split(";")[0] ?? "";

      expect(await first.text()).toBe("You were here 1 times.");
      expect(await (await visit(cookie)).text()).toBe("You were here 2 times.");
    } finally {
      child.kill();
      await once(child, "exit");
    }
  });
});

// README's suite registers itself, with a storage in memory where the reader has one of theirs.
const suite = programOf("conformance").replace(/^import .*$/gm, "");
const sharedStorage = memoryStorage();
new Function("storageContract", "myStorage", suite)(storageContract, () => sharedStorage);
