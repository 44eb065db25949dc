/** The header that carries each option of a call. */
export const OPTION_HEADERS = {
  delay: "fabric-delay",
  ttl: "fabric-ttl",
  priority: "fabric-priority",
  key: "fabric-key",
  debounce: "fabric-debounce",
  debounce_key: "fabric-debounce-key",
  idempotency_key: "idempotency-key",
  webhook: "fabric-webhook",
} as const;
