/** The part of the seam to the live state by which runners talk to each other: every runner reaches it, and no port is opened. */

export interface Letter {
  id: string;
  bytes: Buffer;
}

/** One box for each node. Only its own runner takes letters out. */
export interface PostStore {
  /** In this order, behind what is there. False when the box is full: nobody empties it now. */
  post(node: string, letters: Buffer[]): Promise<boolean>;
  /** The oldest ones, which stay until they are dropped. */
  look(node: string, limit: number): Promise<Letter[]>;
  drop(node: string, ids: string[]): Promise<void>;
  /** For a runner that begins anew. */
  clear(node: string): Promise<void>;
  /** A hint that there are letters; it may get lost. */
  onPost(node: string, listener: () => void): Promise<() => void>;
}
