/**
 * Whether a browser would send a cookie of this path with a request for that one (path-match, RFC 6265 section 5.1.4).
 * @param url path, with its query or without
 */
export function isOnPath(url: string | undefined, cookiePath: string): boolean {
  if (cookiePath === "/" && url !== undefined) return url.startsWith("/"); // as most cookies are
  const path = (url ?? "/").split(/[?#]/, 1)[0] ?? "/";
  if (path === cookiePath) return true;
  return path.startsWith(cookiePath) && (cookiePath.endsWith("/") || path[cookiePath.length] === "/");
}
