/** Finds the commands in what a client sends to Redis, however it is cut into chunks. */

export interface Command {
  args: Buffer[];
  /** Where it ends in the chunk that completed it. */
  end: number;
}

/** Feed it every chunk of one connection; answers the commands that the chunk completes. */
export function commandScanner(): (chunk: Buffer) => Command[] {
  let held = Buffer.alloc(0);
  return (chunk) => {
    const before = held.length;
    const bytes = before === 0 ? chunk : Buffer.concat([held, chunk]);
    const found: Command[] = [];
    let at = 0;
    for (let next = parse(bytes, at); next; next = parse(bytes, at)) {
      at = next.end;
      found.push({ args: next.args, end: next.end - before });
    }
    held = Buffer.from(bytes.subarray(at));
    return found;
  };
}

function parse(bytes: Buffer, from: number): Command | undefined {
  const head = line(bytes, from, "*");
  if (!head) return undefined;
  const args: Buffer[] = [];
  let at = head.end;
  for (let i = 0; i < head.value; i++) {
    const size = line(bytes, at, "$");
    if (!size || size.end + size.value + 2 > bytes.length) return undefined;
    args.push(bytes.subarray(size.end, size.end + size.value));
    at = size.end + size.value + 2;
  }
  return { args, end: at };
}

function line(bytes: Buffer, from: number, mark: string): { value: number; end: number } | undefined {
  const end = bytes.indexOf("\r\n", from);
  if (end < 0) return undefined;
  const text = bytes.toString("latin1", from, end);
  if (!text.startsWith(mark)) throw new Error(`not a Redis command: ${JSON.stringify(text.slice(0, 40))}`);
  return { value: Number(text.slice(1)), end: end + 2 };
}
