/** Bodies whose length was announced: passed on, or gathered, and refused when the length is another. */
import { Readable } from "node:stream";
import { fail } from "./errors.ts";

export function exactly(body: Readable, size: number | undefined): Readable {
  if (size === undefined) return body;
  async function* counted() {
    let seen = 0;
    for await (const chunk of body) {
      seen += chunk.length;
      if (seen > size!) break;
      yield chunk;
    }
    if (seen !== size)
      fail("bad_request", `the body has ${seen > size! ? "more" : "fewer"} than the ${size} bytes announced`);
  }
  return Readable.from(counted(), { objectMode: false });
}

export async function gather(body: Readable, size: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of exactly(body, size)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
