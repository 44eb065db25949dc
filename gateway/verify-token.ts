/** Decides whether a token opens the door, and remembers the answer for a few seconds. */
import { timingSafeEqual } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { fail } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { TokenQuota } from "../core/quota.ts";
import { quotaOf, readToken, type StoredToken, sha256, tokenIdOf } from "./tokens.ts";

/** A revoked token works for at most this long on gateways that did not revoke it. */
const REMEMBER_MS = 5_000;
const REMEMBER_MAX = 10_000;

export interface Access {
  /** The token's id, or "admin". */
  who: string;
  quota?: TokenQuota;
}

const ADMIN: Access = Object.freeze({ who: "admin" });

export interface TokenVerifier {
  /** Answers who it is; throws `unauthorized` or `token_expired`. Answers at once, without a promise, while it remembers. */
  verify(authorization: string | undefined): Access | Promise<Access>;
  forget(): void;
}

interface Verdict {
  access: Access | undefined;
  expiresAt: number;
  until: number;
}

export function tokenVerifier(deps: { objects: ObjectStore; clock: Clock; adminToken: string }): TokenVerifier {
  const { objects, clock } = deps;
  const admin = deps.adminToken === "" ? undefined : sha256(deps.adminToken);
  /** By hash, so that no token text is kept. */
  const remembered = new Map<string, Verdict>();

  async function look(token: string, digest: string): Promise<Access> {
    const id = tokenIdOf(token);
    const stored = id === undefined ? undefined : await readToken(objects, id);
    const matches = stored !== undefined && equal(stored.sha256, digest);
    const verdict: Verdict = {
      access: matches ? { who: stored.id, quota: quotaOf(stored) } : undefined,
      expiresAt: matches ? expiryOf(stored) : Number.POSITIVE_INFINITY,
      until: clock.monotonic() + REMEMBER_MS,
    };
    if (remembered.size >= REMEMBER_MAX) remembered.clear();
    remembered.set(digest, verdict);
    return decide(verdict);
  }

  function decide({ access, expiresAt }: Verdict): Access {
    if (!access) fail("unauthorized", "this token is not known here");
    if (clock.now() >= expiresAt) fail("token_expired", "the token has expired", { id: access.who });
    return access;
  }

  return {
    forget: () => remembered.clear(),
    verify(authorization) {
      const token = /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
      if (token === undefined) fail("unauthorized", "send `Authorization: Bearer <token>`");
      const digest = sha256(token);
      if (admin !== undefined && equal(admin, digest)) return ADMIN;
      const known = remembered.get(digest);
      if (known && clock.monotonic() < known.until) return decide(known);
      return look(token, digest);
    },
  };
}

const expiryOf = ({ expiresAt }: StoredToken): number =>
  expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiresAt);

const equal = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
