/** Reads a map's inputs from a stream of NDJSON: checked line by line, gathered into pages. */
import type { Target } from "./catalog.ts";
import type { Clock } from "./clock.ts";
import { checkArguments, isObject, ofCallForm, parseJson } from "./decode-call.ts";
import { asFabricError, FabricError, fail } from "./errors.ts";
import { MAX_LINE_BYTES, PAGE_BYTES, PAGE_INPUTS } from "./map.ts";

export interface InputPage {
  count: number;
  /** Lines without a newline behind the last one, in the form in which containers read them. */
  body: Buffer;
}

export interface InputForm {
  /** `Fabric-Body: call`: lines are `{"args", "kwargs"}` or `{"pickle"}` instead of named arguments. */
  isCallForm: boolean;
  /** Pickles may only come from a caller of the function's own Python. */
  acceptsPickles: boolean;
}

/** A sender that pauses this long gets what it has sent so far on its way. */
const PAUSE_MS = 5;

/** Throws an error that names the input's index; pages before it were yielded. */
export async function* readInputs(
  source: AsyncIterable<Uint8Array>,
  target: Pick<Target, "name" | "spec">,
  form: InputForm,
  { clock, first = 0 }: { clock: Clock; first?: number },
): AsyncGenerator<InputPage> {
  const page = createPage();
  const split = lineSplitter();
  const chunks = source[Symbol.asyncIterator]();
  let index = first;
  try {
    for (let ended = false; !ended; ) {
      const next = chunks.next();
      if (!page.isEmpty() && (await isLate(next, clock))) yield page.take();
      const { done, value } = await next;
      ended = done === true;
      for (const piece of ended ? split.rest() : split.lines(value!)) {
        const line = trimmed(piece);
        if (line.length === 0) continue;
        const stored = storedLine(line, target, form, index++);
        if (!page.fits(stored)) yield page.take();
        page.add(stored);
      }
      if (split.heldBytes() > MAX_LINE_BYTES) tooLong(index);
    }
  } finally {
    await chunks.return?.();
  }
  if (!page.isEmpty()) yield page.take();
}

async function isLate(next: Promise<unknown>, clock: Clock): Promise<boolean> {
  let stopTimer = () => {};
  const late = new Promise<true>((resolve) => {
    stopTimer = clock.after(PAUSE_MS, () => resolve(true));
  });
  // What is wrong with the source is told by whoever awaits `next` itself.
  const came = next.then(
    () => false,
    () => false,
  );
  try {
    return await Promise.race([came, late]);
  } finally {
    stopTimer();
  }
}

function createPage() {
  let parts: Buffer[] = [];
  let bytes = 0;
  return {
    isEmpty: () => parts.length === 0,
    fits: (line: Buffer) =>
      parts.length === 0 || (parts.length < PAGE_INPUTS && bytes + line.length + parts.length < PAGE_BYTES),
    add(line: Buffer) {
      parts.push(line);
      bytes += line.length;
    },
    take(): InputPage {
      const joined = Buffer.allocUnsafe(bytes + parts.length - 1);
      let at = 0;
      for (const part of parts) {
        if (at > 0) joined[at++] = 0x0a;
        at += part.copy(joined, at);
      }
      const page = { count: parts.length, body: joined };
      parts = [];
      bytes = 0;
      return page;
    },
  };
}

function lineSplitter() {
  let held: Buffer = Buffer.alloc(0);
  return {
    *lines(chunk: Uint8Array): Generator<Buffer> {
      const data = held.length > 0 ? Buffer.concat([held, chunk]) : Buffer.from(chunk);
      let at = 0;
      for (let end = data.indexOf(0x0a); end >= 0; end = data.indexOf(0x0a, at)) {
        yield data.subarray(at, end);
        at = end + 1;
      }
      held = data.subarray(at);
    },
    rest: () => [held],
    heldBytes: () => held.length,
  };
}

const tooLong = (index: number): never =>
  fail("body_too_large", `input ${index}: it has more than ${MAX_LINE_BYTES} bytes; pass larger data by name`, {
    index,
    limitBytes: MAX_LINE_BYTES,
  });

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0d;

/** Without the white space of JSON around it: what reads it later looks at its first byte. */
function trimmed(line: Buffer): Buffer {
  let from = 0;
  let to = line.length;
  while (isSpace(line[from])) from++;
  while (to > from && isSpace(line[to - 1])) to--;
  return line.subarray(from, to);
}

function storedLine(line: Buffer, target: Pick<Target, "name" | "spec">, form: InputForm, index: number): Buffer {
  if (line.length > MAX_LINE_BYTES) tooLong(index);
  try {
    const value = parseJson(line);
    if (Array.isArray(value)) {
      checkArguments(target, { positional: value.length, named: [] });
      return line;
    }
    if (!isObject(value))
      fail("invalid_json", "it is neither an object of named arguments nor an array of positional ones");
    if (!form.isCallForm) {
      checkArguments(target, { positional: 0, named: Object.keys(value) });
      return Buffer.concat([NAMED[0], line, NAMED[1]]);
    }
    if (typeof value.pickle === "string" && Object.keys(value).length === 1) checkPickle(value.pickle, form);
    else checkArguments(target, ofCallForm(value));
    return line;
  } catch (thrown) {
    const { code, message, details } = asFabricError(thrown);
    throw new FabricError(code, `input ${index}: ${message}`, { ...details, index }, { cause: thrown });
  }
}

const NAMED = [Buffer.from('{"kwargs":'), Buffer.from("}")] as const;

function checkPickle(pickle: string, { acceptsPickles }: InputForm): void {
  if (!acceptsPickles)
    fail(
      "python_mismatch",
      "pickles need Fabric-Accept: pickle, and Fabric-Python with the function's own minor version",
    );
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(pickle)) fail("bad_request", "its pickle is not base64");
}
