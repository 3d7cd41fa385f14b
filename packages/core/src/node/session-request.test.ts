import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { sessionRequestOf } from "./session-request.js";

function incoming(socket: Socket): IncomingMessage {
  return Object.assign(new IncomingMessage(socket), {
    method: "POST",
    url: "/mounted?a=1",
    headers: { cookie: "sid=1; b=2" },
  });
}

describe("sessionRequestOf", () => {
  it("gives method, path with query, and the Cookie header as it came", () => {
    expect(sessionRequestOf(incoming(new Socket()))).toEqual({
      method: "POST",
      url: "/mounted?a=1",
      cookieHeader: "sid=1; b=2",
      secure: false,
      onClose: expect.any(Function),
    });
  });

  it("tells of a client that goes away, until nobody wants to know", () => {
    const socket = new Socket();
    const { onClose } = sessionRequestOf(incoming(socket));
    const told: string[] = [];

    onClose?.(() => told.push("one"));
    onClose?.(() => told.push("another"))();
    socket.emit("close", false);

    expect(told).toEqual(["one"]);
    expect(socket.listenerCount("close")).toBe(0);
  });

  it("takes a request over TLS for secure", () => {
    const socket = Object.assign(new Socket(), { encrypted: true });

    expect(sessionRequestOf(incoming(socket)).secure).toBe(true);
  });

  it("believes the framework where that knows better", () => {
    const details = { url: "/app/mounted?a=1", secure: true };

    expect(sessionRequestOf(incoming(new Socket()), details)).toMatchObject(details);
  });
});
