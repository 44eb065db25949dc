/** The series that a route's path names. */
import { fail } from "../core/errors.ts";
import { NAME } from "../core/spec.ts";
import { type GatewayContext, param } from "./define-route.ts";

export function seriesOf(context: GatewayContext): string {
  const series = param(context, "series");
  return NAME.test(series) ? series : fail("invalid_name", `${JSON.stringify(series.slice(0, 80))} is no series`);
}
