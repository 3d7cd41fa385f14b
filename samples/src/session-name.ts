import { hash } from "node:crypto";

/** What a session is called where people see it: the start of its id's hash, as in the session manager's events. */
export const sessionName = (id: string): string => hash("sha256", id, "base64url").slice(0, 8);
