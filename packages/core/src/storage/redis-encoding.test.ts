import { randomBytes, randomInt } from "node:crypto";
import { Command } from "ioredis";
import { describe, expect, it } from "vitest";
import { commandHead, encodedCommand } from "./redis-encoding.js";

/** As ioredis would write it. */
function writtenByIoredis(name: string, parts: readonly (string | Buffer)[]): Buffer {
  const command = new Command(name, [...parts]);
  command.promise.catch(() => {});
  return Buffer.from(command.toWritable({}));
}

describe("a command for Redis", () => {
  it("is, of texts and bytes, what ioredis makes of it", () => {
    for (let round = 0; round < 500; round++) {
      const parts = Array.from({ length: randomInt(0, 8) }, () => {
        const bytes = randomBytes(randomInt(0, 3) * randomInt(0, 5000));
        return randomInt(0, 2) === 0 ? bytes : bytes.toString("hex");
      });

      const made = encodedCommand(commandHead(parts.length, "EVALSHA", "0123"), parts);

      expect(made.equals(writtenByIoredis("EVALSHA", ["0123", ...parts]))).toBe(true);
    }
  });

  it("keeps characters of one byte as they are", () => {
    expect(encodedCommand(commandHead(1, "GET"), ["\u00ff"])).toEqual(
      Buffer.from("*2\r\n$3\r\nGET\r\n$1\r\n\u00ff\r\n", "latin1"),
    );
  });
});
