/** The seam to webhooks that are to be sent: the script that ends a record puts it in. Part of StateStore. */

/** What has become of an ended invocation's webhook so far. */
export interface Delivery {
  state: "pending" | "delivered" | "failed";
  attempts: number;
  /** Of the last attempt: the receiver's status, or why there is none. */
  status?: number;
  error?: string;
  /** When it is tried again. */
  nextAt?: number;
  /** When it was delivered or given up. */
  endedAt?: number;
}

export interface TakenWebhook {
  id: string;
  /** Proves that it is still ours to send. */
  lease: number;
}

export interface WebhookOutbox {
  /** Takes what is due, at most `max`, for `leaseMs`, by the store's clock: each for one of many callers. Says when more is due. */
  take(leaseMs: number, max: number): Promise<{ taken: TakenWebhook[]; nextInMs?: number }>;
  /** Notes how it went, on the record; again in `retryInMs`, or never without. False: the lease has ended, nothing changed. */
  settle(taken: TakenWebhook, delivery: Delivery, retryInMs?: number): Promise<boolean>;
  /** An invocation with a webhook ended. */
  onDue(listener: () => void): Promise<() => void>;
}
