/** The part of the seam to the live state that is about images: nodes ask gateways for them, and tell which are needed. */

export interface ImageRequest {
  /** A gateway brings it into the bucket: bytes so far, of about so many. */
  storing?: { done: number; total: number };
  /** Gateways answered that they lack it, lately. */
  isLacking: boolean;
  /** Why the last attempt to bring it there failed, lately. */
  failure?: string;
}

export interface ImageState {
  /** Asks all gateways; to be repeated while it is wanted, since a hint may get lost. Answers what they said so far. */
  ask(ref: string): Promise<ImageRequest>;
  onAsked(listener: (ref: string) => void): Promise<() => void>;
  /** One of many gateways gets it for `leaseMs`; that one renews it so, and tells how far it is. */
  claim(ref: string, owner: string, leaseMs: number, progress: { done: number; total: number }): Promise<boolean>;
  /** What the owner has claimed is in the bucket, or is not, for this reason. */
  settle(ref: string, owner: string, failure?: string): Promise<void>;
  lack(ref: string): Promise<void>;
  /** They are needed now, on whichever node. */
  need(refs: string[]): Promise<void>;
  /** For how many ms nobody has needed each, in the same order; what is asked for the first time counts as needed now. */
  unneededMs(refs: string[]): Promise<number[]>;
}
