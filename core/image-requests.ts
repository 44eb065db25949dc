/** The part of the seam to the live state by which nodes ask gateways for images. */

export interface ImageRequest {
  /** A gateway brings it into the bucket: bytes so far, of about so many. */
  storing?: { done: number; total: number };
  /** Gateways answered that they lack it, lately. */
  isLacking: boolean;
  /** Why the last attempt to bring it there failed, lately. */
  failure?: string;
}

export interface ImageRequests {
  /** Asks all gateways; to be repeated while it is wanted, since a hint may get lost. Answers what they said so far. */
  ask(ref: string): Promise<ImageRequest>;
  onAsked(listener: (ref: string) => void): Promise<() => void>;
  /** One of many gateways gets it for `leaseMs`; that one renews it so, and tells how far it is. */
  claim(ref: string, owner: string, leaseMs: number, progress: { done: number; total: number }): Promise<boolean>;
  /** What the owner has claimed is in the bucket, or is not, for this reason. */
  settle(ref: string, owner: string, failure?: string): Promise<void>;
  lack(ref: string): Promise<void>;
}
