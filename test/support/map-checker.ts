/** What must be true of maps after any faults: each input has one outcome, for good. */
import { differs, type Execution, group, idsAndTokens } from "./checker.ts";

export interface AcceptedMap {
  id: string;
  token: string;
  inputs: number;
}

export interface MapOutcome {
  index: number;
  /** What was returned, or the error's code. */
  value: unknown;
}

export interface MapFinal {
  id: string;
  state: string;
  total: number;
  failed: number;
  outcomes: MapOutcome[];
}

export interface ObservedMaps {
  accepted: AcceptedMap[];
  /** Each look at a map that had ended. */
  finals: MapFinal[];
  /** Of inputs, as `<token>.<index>`. */
  executions: Execution[];
  expected(map: AcceptedMap, index: number): { fails: boolean; value: unknown };
  disruptions: number;
}

export function mapViolations(observed: ObservedMaps): string[] {
  const finals = group(observed.finals, ({ id }) => id);
  const executions = group(observed.executions, ({ token }) => token);
  return [
    ...idsAndTokens(observed.accepted),
    ...observed.accepted.flatMap((map) => {
      const [final, ...others] = finals.get(map.id) ?? [];
      const found = final
        ? [
            ...others.flatMap((other) => differs(sorted(final), sorted(other))),
            ...counts(map, final, observed),
            ...outcomes(map, final, observed),
            ...runs(map, executions, observed.disruptions),
          ]
        : ["was accepted and never ended"];
      return found.map((what) => `map ${map.token} (${map.id}) ${what}`);
    }),
  ];
}

/** The order in which outcomes are read is not promised. */
const sorted = (final: MapFinal): MapFinal => ({
  ...final,
  outcomes: [...final.outcomes].sort((a, b) => a.index - b.index),
});

const indexes = ({ inputs }: AcceptedMap): number[] => Array.from({ length: inputs }, (_, index) => index);

function counts(map: AcceptedMap, { state, total, failed }: MapFinal, { expected }: ObservedMaps): string[] {
  const failing = indexes(map).filter((index) => expected(map, index).fails).length;
  const wanted = `${failing > 0 ? "failed" : "succeeded"} with ${failing} of ${map.inputs} failed`;
  const told = `${state} with ${failed} of ${total} failed`;
  return told === wanted ? [] : [`ended ${told}, not ${wanted}`];
}

function outcomes(map: AcceptedMap, final: MapFinal, { expected }: ObservedMaps): string[] {
  const told = group(final.outcomes, ({ index }) => String(index));
  const strange = final.outcomes.filter(({ index }) => index < 0 || index >= map.inputs);
  return [
    ...strange.map(({ index }) => `has an outcome of input ${index}, which it does not have`),
    ...indexes(map).flatMap((index) => {
      const all = told.get(String(index)) ?? [];
      if (all.length !== 1) return [`has ${all.length} outcomes of input ${index}`];
      const wanted = expected(map, index).value;
      const { value } = all[0]!;
      return value === wanted ? [] : [`input ${index} ended with ${JSON.stringify(value)}, not ${wanted}`];
    }),
  ];
}

/** Each disruption can end a container in which an input runs or waits for its turn. */
function runs({ token, inputs }: AcceptedMap, executions: Map<string, Execution[]>, disruptions: number): string[] {
  return Array.from({ length: inputs }, (_, index) => {
    const ran = executions.get(`${token}.${index}`) ?? [];
    if (ran.length === 0) return [`input ${index} was not executed`];
    const allowed = 1 + disruptions;
    return ran.length > allowed ? [`input ${index} was executed ${ran.length} times, ${allowed} at most`] : [];
  }).flat();
}
