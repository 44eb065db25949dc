/** Which addresses webhooks may go to: public ones, and what the operator allows. */
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import { fail } from "../../core/errors.ts";
import { NOBODYS_V4, NOT_PUBLIC_V4 } from "../../core/not-public.ts";

/** Of IPv6 only global unicast is public, less ranges that are for documents or carry an IPv4 address inside. */
const PUBLIC_V6 = ["2000::/3"];
const NOT_PUBLIC_V6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

const notPublic4 = ranges([...NOT_PUBLIC_V4, ...NOBODYS_V4]);
const public6 = ranges(PUBLIC_V6);
const notPublic6 = ranges(NOT_PUBLIC_V6);

export type AddressGuard = (address: string) => boolean;

/** `allow`: CIDRs joined by commas. */
export function addressGuard(allow: string): AddressGuard {
  const allowed = ranges(allow.split(",").flatMap((range) => (range.trim() === "" ? [] : [range.trim()])));
  return (given) => {
    const address = unmapped(given);
    if (isIPv4(address)) return allowed.check(address, "ipv4") || !notPublic4.check(address, "ipv4");
    if (!isIPv6(address)) return false;
    if (allowed.check(address, "ipv6")) return true;
    return public6.check(address, "ipv6") && !notPublic6.check(address, "ipv6");
  };
}

function ranges(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address = "", bits = "", ...more] = cidr.split("/");
    const family = isIP(address);
    const most = family === 4 ? 32 : 128;
    if (family === 0 || more.length > 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > most)
      fail("bad_request", `FABRIC_WEBHOOK_ALLOW: '${cidr}' is no CIDR such as 10.1.0.0/16`);
    list.addSubnet(address, Number(bits), family === 4 ? "ipv4" : "ipv6");
  }
  return list;
}

/** An IPv4 address that is written as an IPv6 one (`::ffff:7f00:1`) is judged as what it is. */
function unmapped(address: string): string {
  if (!isIPv6(address)) return address;
  const { hostname } = new URL(`http://[${address.split("%")[0]}]/`);
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(hostname);
  if (!mapped) return hostname.slice(1, -1);
  const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}
