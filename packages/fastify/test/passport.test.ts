import fastifyCookie from "@fastify/cookie";
import fastifyFlash from "@fastify/flash";
import { Authenticator, Strategy } from "@fastify/passport";
import session, { type FastifySessionOptions, MemoryStore } from "@msm/fastify";
import fastify, { type FastifyInstance, type FastifyRequest } from "fastify";
import { afterEach, describe, expect, it } from "vitest";
import { Visitor } from "./visitor.js";

const secret = "only for the tests of passport, 32 bytes and more";

const apps: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

/** Signs in whoever says who they are. */
class NameStrategy extends Strategy {
  constructor() {
    super("name");
  }

  override authenticate(request: FastifyRequest): void {
    const { name } = request.query as { name?: string };
    if (name === undefined) this.fail("who is it?", 401);
    else this.success({ name });
  }
}

function application(options: FastifySessionOptions): FastifyInstance {
  const app = fastify({ trustProxy: true });
  apps.push(app);
  app.register(fastifyCookie);
  app.register(session, options);
  return app;
}

async function withPassport(options: FastifySessionOptions): Promise<Visitor> {
  const app = application(options);
  const passport = new Authenticator();
  passport.use(new NameStrategy());
  passport.registerUserSerializer(async (user: { name: string }) => user.name);
  passport.registerUserDeserializer(async (name: string) => ({ name }));
  app.register(passport.initialize());
  app.register(passport.secureSession());
  app.register((routes, _options, done) => {
    routes.get("/cart", async ({ session }) => {
      session.set("n", 1);
      return session.sessionId;
    });
    routes.get(
      "/login",
      { preValidation: passport.authenticate("name", { failureFlash: true }) },
      async (request) => ({
        user: request.user,
        id: request.session.sessionId,
        n: request.session.get("n") ?? null,
      }),
    );
    routes.get(
      "/login-with-cart",
      { preValidation: passport.authenticate("name", { keepSessionInfo: true }) },
      async (request) => ({ n: request.session.get("n") ?? null }),
    );
    routes.get("/me", async (request) => ({ user: request.user ?? null, id: request.session.sessionId }));
    routes.get("/logout", async (request) => {
      await request.logOut();
      return "bye";
    });
    done();
  });
  await app.ready();
  return new Visitor(app);
}

async function withFlash(options: FastifySessionOptions): Promise<Visitor> {
  const app = application(options);
  app.register(fastifyFlash);
  app.register((routes, _options, done) => {
    routes.get("/flash", async (request, reply) => {
      request.flash("info", "first");
      const count = request.flash("info", ["second", "third"]);
      return { count, warnings: reply.flash("warning") };
    });
    routes.get("/flashed", async (_request, reply) => ({ info: reply.flash("info") }));
    done();
  });
  await app.ready();
  return new Visitor(app);
}

describe.each<[string, () => FastifySessionOptions]>([
  ["on msm's nodes", () => ({ secret })],
  ["in a store", () => ({ secret, store: new MemoryStore(), saveUninitialized: false })],
])("with sessions %s", (_, options) => {
  it("@fastify/passport signs in, under another id and without what was there before, and out", async () => {
    const visitor = await withPassport(options());
    const { body: before } = await visitor.get("/cart");

    const login = (await visitor.get("/login?name=ann")).json();
    const me = (await visitor.get("/me")).json();
    await visitor.get("/logout");
    const nobody = (await visitor.get("/me")).json();

    expect(login).toMatchObject({ user: { name: "ann" }, n: null });
    expect(login.id).not.toBe(before);
    expect(me).toEqual({ user: { name: "ann" }, id: login.id });
    expect(nobody.user).toBeNull();
    expect(nobody.id).not.toBe(login.id);
  });

  it("@fastify/passport keeps what was there before, where it is told to", async () => {
    const visitor = await withPassport(options());
    await visitor.get("/cart");

    expect((await visitor.get("/login-with-cart?name=ann")).json()).toEqual({ n: 1 });
    expect((await visitor.get("/me")).json().user).toEqual({ name: "ann" });
  });

  it("@fastify/passport refuses whom it does not know", async () => {
    const visitor = await withPassport(options());

    expect((await visitor.get("/login")).statusCode).toBe(401);
    expect((await visitor.get("/me")).json().user).toBeNull();
  });

  it("@fastify/flash has its messages in the next request, and once", async () => {
    const visitor = await withFlash(options());

    const put = (await visitor.get("/flash")).json();
    const [first, second] = [await visitor.get("/flashed"), await visitor.get("/flashed")];

    expect(put).toEqual({ count: 3, warnings: [] });
    expect([first.json(), second.json()]).toEqual([{ info: ["first", "second", "third"] }, { info: [] }]);
  });
});
