/** Reads an object that never changes through outages of its store: what breaks off goes on where it broke. */
import { Readable } from "node:stream";
import { FabricError } from "../core/errors.ts";
import type { Patience } from "./patience.ts";

/** `open` answers the bytes from a position on. */
export const steady = (size: number, open: (from: number) => Promise<Readable>, patience: Patience): Readable =>
  Readable.from(pieces(size, open, patience), { objectMode: false });

async function* pieces(
  size: number,
  open: (from: number) => Promise<Readable>,
  { lasting }: Patience,
): AsyncGenerator<Buffer> {
  for (let at = 0; at < size; ) {
    let body: AsyncIterator<Buffer> | undefined;
    try {
      // The first bytes belong to the opening: where none come the store is away.
      let piece: IteratorResult<Buffer> | undefined = await lasting(async () => {
        body = (await open(at))[Symbol.asyncIterator]();
        return next(body);
      });
      while (piece && !piece.done) {
        at += piece.value.length;
        yield piece.value;
        piece = await next(body!).catch(() => undefined);
      }
    } finally {
      await body?.return?.();
    }
  }
}

/** Whatever breaks a body off, the store did it. */
const next = (body: AsyncIterator<Buffer>): Promise<IteratorResult<Buffer>> =>
  body.next().catch((cause: unknown) => {
    throw new FabricError("storage_unavailable", `S3 broke off: ${(cause as Error).message}`, undefined, { cause });
  });
