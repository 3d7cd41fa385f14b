import type { CipherKey } from "node:crypto";
import { deprecate } from "node:util";
import { type CarriedSession, MsmError, type SessionTokens } from "@msm/core";
import { type AnyRequest, propertyOf } from "./request-facts.js";
import { cookieValues, idIn, signedValue } from "./signed-cookie.js";

const warnOfCookieParser = deprecate(
  () => {},
  "cookie should be available in req.headers.cookie",
  "MSM_DEP_COOKIE_PARSER",
);

/**
 * Lets one request carry its session as with express-session: `s:<id>.<signature>`. It is looked for in the Cookie header,
 * and then where cookie-parser puts cookies: `req.signedCookies` and `req.cookies`.
 * @param secrets the first signs, all verify
 */
export function signedTokens(req: AnyRequest, name: string, secrets: readonly CipherKey[]): SessionTokens {
  return {
    read: (header) => inHeader(header, name, secrets) ?? fromCookieParser(req, name, secrets),
    value(id, _node, route) {
      if (route !== undefined) throw new MsmError("MSM_ERR_OPTION", noRoute);
      return tokenOf(id, secrets);
    },
  };
}

/** Why sticky sessions need msm's cookie. */
export const noRoute =
  'cookieFormat "express-session" does not go with mode "sticky": its cookie has no route by which a load balancer finds the process. Take cookieFormat "msm"';

const tokenOf = (id: string, secrets: readonly CipherKey[]) =>
  encodeURIComponent(signedValue(id, secrets[0]!));

function inHeader(
  header: string | undefined,
  name: string,
  secrets: readonly CipherKey[],
): CarriedSession | undefined {
  // Compared with what would be sent now: one that an older secret signed is sent anew.
  return firstSigned(header === undefined ? [] : cookieValues(header, name), secrets);
}

function firstSigned(values: readonly string[], secrets: readonly CipherKey[]): CarriedSession | undefined {
  for (const value of values) {
    const id = idIn(value, secrets);
    if (id !== undefined) return { id, value: encodeURIComponent(value) };
  }
  return undefined;
}

function fromCookieParser(
  req: AnyRequest,
  name: string,
  secrets: readonly CipherKey[],
): CarriedSession | undefined {
  const signed = namedIn(propertyOf(req, "signedCookies"), name);
  const value = namedIn(propertyOf(req, "cookies"), name);
  // cookie-parser has verified what it took for signed.
  const carried =
    signed === undefined
      ? firstSigned(value === undefined ? [] : [value], secrets)
      : { id: signed, value: tokenOf(signed, secrets) };
  if (carried !== undefined) warnOfCookieParser();
  return carried;
}

function namedIn(cookies: unknown, name: string): string | undefined {
  if (typeof cookies !== "object" || cookies === null) return undefined;
  const value: unknown = Reflect.get(cookies, name);
  return typeof value === "string" && value !== "" ? value : undefined;
}
