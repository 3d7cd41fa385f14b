import type { SessionManager, SessionTokens } from "@msm/core";

/**
 * What leads to a session, as its client has it or may be given it. Before the session is stored, the node in it is a guess: then
 * the others are asked as well.
 * @param cookieHeader what the client sent
 */
export function nameOf(
  id: string,
  cookieHeader: string | undefined,
  manager: SessionManager,
  tokens: SessionTokens = manager.tokens,
): string {
  const carried = tokens.read(cookieHeader);
  if (carried?.id === id) return carried.value;
  return tokens.value(id, manager.health().nodes[0]?.id ?? "n1", undefined);
}
