/** Conditional requests: If-Match, If-None-Match and their dates, for reads and for writes. */
import type { IncomingHttpHeaders } from "node:http";
import { refuse } from "./errors.ts";

export interface Facts {
  etag: string;
  modifiedMs: number;
}

const failed = (condition: string): never =>
  refuse("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", {
    Condition: condition,
  });

const listed = (header: string, etag: string): boolean =>
  header.split(",").some((one) => one.trim() === "*" || one.trim().replace(/^W\//, "").replaceAll('"', "") === etag);

const secondsOf = (ms: number): number => Math.floor(ms / 1000);

/** Throws where a read must fail; true where the answer is 304. */
export function notModified(headers: IncomingHttpHeaders, facts: Facts, prefix = ""): boolean {
  const header = (name: string): string | undefined => headers[`${prefix}${name}`] as string | undefined;
  const match = header("if-match");
  if (match !== undefined && !listed(match, facts.etag)) failed("If-Match");
  const unmodified = Date.parse(header("if-unmodified-since") ?? "");
  if (match === undefined && !Number.isNaN(unmodified) && secondsOf(facts.modifiedMs) > secondsOf(unmodified))
    failed("If-Unmodified-Since");
  const noneMatch = header("if-none-match");
  if (noneMatch !== undefined) return listed(noneMatch, facts.etag);
  const modified = Date.parse(header("if-modified-since") ?? "");
  return !Number.isNaN(modified) && secondsOf(facts.modifiedMs) <= secondsOf(modified);
}

/** Throws where a write to a key that holds `current` must not happen. */
export function allowWrite(headers: IncomingHttpHeaders, current: Facts | undefined): void {
  const noneMatch = headers["if-none-match"];
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== "*") refuse("NotImplemented", "Only If-None-Match: * is supported for writes.");
    if (current) failed("If-None-Match");
  }
  const match = headers["if-match"];
  if (match === undefined) return;
  if (!current) refuse("NoSuchKey", "The specified key does not exist.");
  if (!listed(match, current!.etag)) failed("If-Match");
}
