/** Access tokens: made once, kept in the bucket as hashes only. */
import { hash, randomBytes } from "node:crypto";
import { text } from "node:stream/consumers";
import type { Clock } from "../core/clock.ts";
import { fail } from "../core/errors.ts";
import { isId, newId } from "../core/ids.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Quota, TokenQuota } from "../core/quota.ts";

export interface StoredToken extends Quota {
  id: string;
  name: string;
  /** Hex, of the whole token text. */
  sha256: string;
  createdAt: string;
  /** Absent: it does not expire. */
  expiresAt?: string;
}

const PREFIX = "tokens/";
const tokenKey = (id: string): string => `${PREFIX}${id}.json`;

export const sha256 = (token: string): string => hash("sha256", token);

/** `fab_<id without its prefix>_<secret>`: the id finds the stored hash without a list of all. */
export function tokenIdOf(token: string): string | undefined {
  const part = /^fab_([0-9a-z]{26})_[A-Za-z0-9-]{20,128}$/.exec(token)?.[1];
  return part && `tok_${part}`;
}

export async function createToken(
  { objects, clock }: { objects: ObjectStore; clock: Clock },
  { name, expiresInSeconds, rate, burst, maxQueued }: { name: string; expiresInSeconds?: number } & Quota,
): Promise<{ id: string; token: string; expiresAt?: string } & Quota> {
  const id = newId("tok");
  const token = `fab_${id.slice("tok_".length)}_${randomBytes(32).toString("hex")}`;
  const now = clock.now();
  const stored: StoredToken = {
    id,
    name,
    sha256: sha256(token),
    createdAt: new Date(now).toISOString(),
    ...(expiresInSeconds === undefined ? {} : { expiresAt: new Date(now + expiresInSeconds * 1000).toISOString() }),
    ...{ rate, burst, maxQueued },
  };
  await objects.put(tokenKey(id), JSON.stringify(stored), { ifNoneMatch: true, contentType: "application/json" });
  return { id, token, expiresAt: stored.expiresAt, rate, burst, maxQueued };
}

/** Absent: it may ask for as much as it likes. */
export const quotaOf = ({ id, rate, burst, maxQueued }: StoredToken): TokenQuota | undefined =>
  rate === undefined && maxQueued === undefined ? undefined : { token: id, rate, burst, maxQueued };

export async function readToken(objects: ObjectStore, id: string): Promise<StoredToken | undefined> {
  const object = await objects.get(tokenKey(id));
  return object && (JSON.parse(await text(object.body)) as StoredToken);
}

/** Without their hashes. */
export async function listTokens(objects: ObjectStore): Promise<Omit<StoredToken, "sha256">[]> {
  const tokens: Omit<StoredToken, "sha256">[] = [];
  for await (const entry of objects.list(PREFIX)) {
    if (entry.kind !== "object") continue;
    const stored = await readToken(objects, entry.key.slice(PREFIX.length, -".json".length));
    if (!stored) continue; // Revoked while we were reading.
    const { sha256: _hidden, ...shown } = stored;
    tokens.push(shown);
  }
  return tokens;
}

export async function revokeToken(objects: ObjectStore, id: string): Promise<void> {
  if (!isId("tok", id) || !(await objects.head(tokenKey(id)))) fail("token_not_found", `no token '${id.slice(0, 64)}'`);
  await objects.delete(tokenKey(id));
}
