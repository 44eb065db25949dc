/** Pages of inputs on their way to containers: fetched once, kept while their slices are likely to be claimed here. */
import { fail } from "../core/errors.ts";
import { lineOffsets, pageKey } from "../core/map.ts";
import type { MapStore } from "../core/map-store.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { gather } from "../core/sized-body.ts";
import { untilDone } from "../core/until-done.ts";

export interface Pages {
  /** The lines of so many inputs, as one piece. Throws `internal` when the page is gone. */
  lines(map: string, page: number, first: number, count: number): Promise<Buffer>;
}

interface Page {
  body: Buffer;
  starts: number[];
}

/** A page is about 256 KiB at most. */
const MAX_KEPT = 64;

export function createPages({ maps, objects }: { maps: Pick<MapStore, "page">; objects: ObjectStore }): Pages {
  const kept = new Map<string, Promise<Page>>();

  async function fetch(map: string, page: number): Promise<Page> {
    const inline = await untilDone(() => maps.page(map, page));
    if (inline) return { body: inline, starts: lineOffsets(inline) };
    const object = await untilDone(() => objects.get(pageKey(map, page)));
    if (!object) fail("internal", `the inputs ${page}... of ${map} are neither in Redis nor in the bucket`);
    const body = await gather(object.body, object.length);
    return { body, starts: lineOffsets(body) };
  }

  function get(map: string, page: number): Promise<Page> {
    const name = `${map} ${page}`;
    const fetching = kept.get(name) ?? fetch(map, page);
    // Set again, so that the oldest is the one that was not asked for for longest.
    kept.delete(name);
    kept.set(name, fetching);
    if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value!);
    fetching.catch(() => kept.delete(name));
    return fetching;
  }

  return {
    async lines(map, page, first, count) {
      const { body, starts } = await get(map, page);
      const from = starts[first - page];
      const to = starts[first - page + count];
      if (from === undefined) fail("internal", `input ${first} of ${map} is not in its page`);
      return body.subarray(from, to === undefined ? body.length : to - 1);
    },
  };
}
