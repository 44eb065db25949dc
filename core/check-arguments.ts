/** Compares a call's arguments with the function's parameters, so that a call that cannot bind is refused before it is queued. */
import type { FunctionSpec } from "./spec.ts";

export interface GivenArguments {
  positional: number;
  named: string[];
}

/** What does not fit, one phrase each; empty when Python would accept the call. */
export function misfits(parameters: NonNullable<FunctionSpec["parameters"]>, given: GivenArguments): string[] {
  const slots = parameters.filter(({ kind }) => kind === "positional" || kind === "normal");
  const takesMorePositional = parameters.some(({ kind }) => kind === "args");
  const takesMoreNamed = parameters.some(({ kind }) => kind === "kwargs");
  const byPosition = new Set(slots.slice(0, given.positional).map(({ name }) => name));
  const nameable = new Set(
    parameters.filter(({ kind }) => kind === "normal" || kind === "keyword").map(({ name }) => name),
  );
  const named = new Set(given.named);
  const problems: string[] = [];
  if (given.positional > slots.length && !takesMorePositional)
    problems.push(`takes ${count(slots.length)}, ${given.positional} given`);
  for (const { name, kind, required } of parameters) {
    const isFilled = byPosition.has(name) || (kind !== "positional" && named.has(name));
    if (required && kind !== "args" && kind !== "kwargs" && !isFilled) problems.push(`missing argument '${name}'`);
  }
  for (const name of named) {
    if (!nameable.has(name)) {
      if (!takesMoreNamed) problems.push(`unknown argument '${name}'`);
    } else if (byPosition.has(name)) problems.push(`argument '${name}' given by position and by name`);
  }
  return problems;
}

const count = (positional: number): string => `${positional} positional argument${positional === 1 ? "" : "s"}`;
