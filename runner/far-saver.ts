/** Saves checkpoints' files of ranks on another node: read and sent there, told here. */
import type { Far, FarPart } from "./far-message.ts";
import type { Part, Saver, Wanted } from "./save-parts.ts";

export function createFarSaver(ask: Far["ask"]): Saver {
  const farPart = ({ saver: _, ...part }: Part): FarPart => part;
  return {
    list: (part) => ask("list", farPart(part)),
    async save(own, shared, { prefix, before, sent }, signal) {
      const unsent = own.filter(({ path }) => !sent.has(path));
      const parts = partsOf(unsent, shared);
      const details = {
        prefix,
        ...(before ? { before: { series: before.manifest.series, step: before.manifest.step } } : {}),
        parts: parts.map(({ part, ...paths }) => ({ ...farPart(part), ...paths })),
      };
      const { saved, digests } = await ask("save", details, signal);
      for (const one of saved) sent.set(one.file.path, one);
      // Told part by part.
      const inOrder = parts.flatMap(({ part, shared: paths }) => paths.map((path) => ({ part, path })));
      const digestOf = (one: Wanted): string =>
        digests[inOrder.findIndex(({ part, path }) => part === one.part && path === one.path)]!;
      return { saved: own.map(({ path }) => sent.get(path)!), digests: shared.map(digestOf) };
    },
  };
}

function partsOf(own: readonly Wanted[], shared: readonly Wanted[]): { part: Part; own: string[]; shared: string[] }[] {
  const parts = new Map<Part, { part: Part; own: string[]; shared: string[] }>();
  const of = (part: Part) => {
    const known = parts.get(part) ?? { part, own: [], shared: [] };
    parts.set(part, known);
    return known;
  };
  for (const { part, path } of own) of(part).own.push(path);
  for (const { part, path } of shared) of(part).shared.push(path);
  return [...parts.values()];
}
