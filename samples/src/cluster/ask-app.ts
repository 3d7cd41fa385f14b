const timeoutMs = 1000;

/**
 * What an application process says of itself.
 * @throws Error where it does not answer within a second, or is not well
 */
export async function askApp(port: number): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${port}/health`, {
    signal: AbortSignal.timeout(timeoutMs),
    headers: { connection: "close" },
  });
  if (!response.ok) throw new Error(`/health says ${response.status}`);
  return await response.json();
}
