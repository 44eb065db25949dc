/** Reads a Range header against a file's size; what is not one plain range of bytes is passed over, as HTTP allows. */
export interface ByteRange {
  start: number;
  end: number;
}

export function byteRange(header: string | undefined, size: number): ByteRange | "whole" | "unsatisfiable" {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return "whole";
  const [from, to] = [match[1], match[2]].map((text) => (text === "" ? undefined : Number(text)));
  if (from === undefined) {
    if (to === 0 || size === 0) return "unsatisfiable";
    return { start: Math.max(0, size - to!), end: size - 1 };
  }
  if (to !== undefined && to < from) return "whole";
  if (from >= size) return "unsatisfiable";
  return { start: from, end: Math.min(to ?? size - 1, size - 1) };
}
