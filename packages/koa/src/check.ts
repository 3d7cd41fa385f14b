import { MsmError } from "@msm/core";

/** Trouble with an option: names it, what it got and what would do. */
export const wrongOption = (name: string, wanted: string, got: unknown): MsmError =>
  new MsmError("MSM_ERR_OPTION", `${name} must be ${wanted}, got ${show(got)}`);

/** Trouble with an option that makes no sense where it stands. */
export const misplacedOption = (name: string, got: unknown, why: string): MsmError =>
  new MsmError("MSM_ERR_OPTION", `${name} makes no sense here, got ${show(got)}: ${why}`);

/** @throws MsmError MSM_ERR_OPTION where the value is no boolean; undefined and null count as the default */
export function booleanOption(name: string, value: unknown, byDefault: boolean): boolean {
  const given = value ?? byDefault;
  if (typeof given !== "boolean") throw wrongOption(name, "true or false", value);
  return given;
}

/** @throws MsmError MSM_ERR_OPTION where an object lacks a method */
export function checkMethods(name: string, value: object, methods: readonly string[]): void {
  for (const method of methods) {
    const found: unknown = Reflect.get(value, method);
    if (typeof found !== "function") throw wrongOption(`${name}.${method}`, "a function", found);
  }
}

function show(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
