/** IPv4 ranges that are never the public internet: neither functions nor webhooks may go there unless an operator allows it. */

/** Own host, private, link-local with cloud metadata, carrier NAT, benchmarks, multicast and reserved. */
export const NOT_PUBLIC_V4: readonly string[] = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "224.0.0.0/3",
];

/** Ranges for documentation and relays: nobody's, so that only what sends to addresses given by strangers must keep off them. */
export const NOBODYS_V4: readonly string[] = ["192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24", "203.0.113.0/24"];
