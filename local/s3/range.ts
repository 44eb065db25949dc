/** The Range header: one range of bytes, as HTTP means it. */
import { refuse } from "./errors.ts";

export interface ByteRange {
  start: number;
  /** Inclusive. */
  end: number;
}

/** Undefined asks for the whole: also for units and lists of ranges, which a server may ignore. */
export function parseRange(header: string | undefined, size: number): ByteRange | undefined {
  const match = header === undefined ? null : /^bytes=(\d*)-(\d*)$/i.exec(header.trim());
  if (!match) return undefined;
  const [, first, last] = match as unknown as [string, string, string];
  if (first === "" && last === "") return undefined;
  if (first === "") return Number(last) === 0 ? unsatisfiable(header!, size) : ofSuffix(Number(last), size, header!);
  const start = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(last) < start) return undefined;
  return start >= size ? unsatisfiable(header!, size) : { start, end };
}

function ofSuffix(bytes: number, size: number, header: string): ByteRange {
  return size === 0 ? unsatisfiable(header, size) : { start: Math.max(0, size - bytes), end: size - 1 };
}

function unsatisfiable(header: string, size: number): never {
  return refuse(
    "InvalidRange",
    "The requested range is not satisfiable",
    { RangeRequested: header, ActualObjectSize: String(size) },
    { "content-range": `bytes */${size}` },
  );
}
