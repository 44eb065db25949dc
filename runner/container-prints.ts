/** What a container prints, and what there is to say about it, as lines of its app's log. */
import { invocationOf } from "../core/invocation.ts";
import { calledName, specName } from "../core/variant.ts";
import type { ShimMessage } from "./channel.ts";
import type { Printer } from "./container-contract.ts";
import type { ContainerPlan, Member } from "./container-plan.ts";
import type { LogShipper } from "./log-shipper.ts";

export function containerPrints(
  logs: LogShipper,
  { id, fn, manifest, member }: ContainerPlan,
  attempts: () => Iterable<Printer>,
) {
  const printed = logs.open({ app: manifest.app, fn: specName(fn.name), container: id });

  function recordOf(invocation: string | undefined) {
    for (const attempt of attempts()) if (attempt.id === invocation) return attempt.claimed.record;
    return undefined;
  }

  return {
    system: printed.system,
    gap: (reason: string): void => printed.gap({}, reason),
    print({ id: invocation, source, lost, rank }: Extract<ShimMessage, { type: "log" }>, body: Buffer): void {
      if (lost !== undefined) printed.gap({ lines: lost }, "no runner took them in time");
      if (body.length === 0) return;
      // A name that is no attempt's here is nobody's.
      const record = recordOf(invocation);
      // What a slice's inputs print is the map's.
      const whose = record && {
        invocation: invocationOf(record.id),
        fn: calledName(record),
        root: record.caller?.root,
      };
      const text = body.toString("utf8");
      if (member && rank !== undefined && isOf(member, rank)) printed.print(source, text, { ...whose, rank });
      else printed.print(source, text, whose);
    },
  };
}

const isOf = ({ firstRank, procs }: Member, rank: number): boolean => rank >= firstRank && rank < firstRank + procs;
