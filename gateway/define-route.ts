/** Adds a route to the app and to its OpenAPI document in one go, so that neither exists without the other. */
import type { HttpBindings } from "@hono/node-server";
import type { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { parseJson } from "../core/decode-call.ts";
import { fail } from "../core/errors.ts";
import type { TokenQuota } from "../core/quota.ts";
import { readBody } from "./read-body.ts";

/** Requests made by tests, without a server, have no bindings. */
export interface GatewayEnv {
  Bindings: Partial<HttpBindings>;
  /** Of the token, where it has one. */
  Variables: { quota?: TokenQuota };
}
export type GatewayApp = OpenAPIHono<GatewayEnv>;
export type GatewayContext = Context<GatewayEnv>;

export interface RouteDoc {
  method: "get" | "post" | "put" | "delete";
  /** With `{name}` parts. */
  path: string;
  tag: string;
  summary: string;
  query?: z.ZodObject;
  headers?: z.ZodObject;
  /** What the body is, by content type. */
  body?: Record<string, z.ZodType>;
  /** What a good reply is; without, JSON of any form. */
  reply?: { status?: number; type?: string; schema?: z.ZodType; what?: string };
  /** Further replies that are no errors. */
  also?: Record<number, string>;
}

export const errorSchema = z
  .object({
    error: z.object({
      code: z.string(),
      message: z.string(),
      retryable: z.boolean(),
      fault: z.enum(["user", "platform"]),
      details: z.record(z.string(), z.unknown()).optional(),
    }),
  })
  .openapi("Error");

export function defineRoute(
  app: GatewayApp,
  doc: RouteDoc,
  handler: (context: GatewayContext) => Response | Promise<Response>,
): void {
  app.openAPIRegistry.registerPath(openApiPath(doc));
  const path = doc.path.replace(/\{(\w+)\}$/, (_, name) => (name === "path" ? ":path{.+}" : `:${name}`));
  app.on(doc.method.toUpperCase(), path.replace(/\{(\w+)\}(?=\/|$)/g, ":$1"), handler);
}

function openApiPath(doc: RouteDoc) {
  const names = [...doc.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!);
  const { status = 200, type = "application/json", schema = z.unknown(), what = "As asked" } = doc.reply ?? {};
  const also = Object.entries(doc.also ?? {}).map(([code, description]) => [code, { description }]);
  return {
    method: doc.method,
    path: doc.path,
    tags: [doc.tag],
    summary: doc.summary,
    request: {
      ...(names.length > 0 ? { params: z.object(Object.fromEntries(names.map((name) => [name, z.string()]))) } : {}),
      ...(doc.query ? { query: doc.query } : {}),
      ...(doc.headers ? { headers: doc.headers } : {}),
      ...(doc.body ? { body: { content: mapValues(doc.body, (body) => ({ schema: body })) } } : {}),
    },
    responses: {
      [status]: { description: what, content: { [type]: { schema } } },
      ...Object.fromEntries(also),
      default: {
        description: "An error from the table in docs/errors.md",
        content: { "application/json": { schema: errorSchema } },
      },
    },
  };
}

const mapValues = <A, B>(record: Record<string, A>, map: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));

/** Bodies of everything but calls and uploads are small. */
const SMALL_BODY_BYTES = 8 * 1024 * 1024;

export async function jsonBody<T extends z.ZodType>(context: GatewayContext, schema: T): Promise<z.output<T>> {
  const body = await readBody(context.req.raw, SMALL_BODY_BYTES);
  return checked(schema, body.length === 0 ? {} : parseJson(body), "the body");
}

export const queryOf = <T extends z.ZodType>(context: GatewayContext, schema: T): z.output<T> =>
  checked(schema, context.req.query(), "the query");

function checked<T extends z.ZodType>(schema: T, value: unknown, what: string): z.output<T> {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const issues = read.error.issues.slice(0, 10).map(({ path, message }) => ({ field: path.join("."), message }));
  return fail("bad_request", `${issues[0]?.field || what}: ${issues[0]?.message}`, { issues });
}

export const param = (context: GatewayContext, name: string): string => context.req.param(name) ?? "";

/** Turns false when the client has hung up. */
export const clientIsThere = (context: GatewayContext): (() => boolean) => {
  const outgoing = context.env?.outgoing;
  return () => !outgoing?.destroyed;
};
