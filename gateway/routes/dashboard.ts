/** Routes of the dashboard's shell: three static files without data, under a policy that runs no other script. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../core/root.ts";
import type { GatewayApp } from "../define-route.ts";
import { defineRoute } from "../define-route.ts";

const FILES = [
  { path: "/", file: "index.html", type: "text/html; charset=utf-8", summary: "The dashboard (no token needed)" },
  {
    path: "/dashboard/app.js",
    file: "app.js",
    type: "text/javascript; charset=utf-8",
    summary: "The dashboard's script",
  },
  {
    path: "/dashboard/style.css",
    file: "style.css",
    type: "text/css; charset=utf-8",
    summary: "The dashboard's style",
  },
];

const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-cache",
};

export function dashboardRoutes(app: GatewayApp): void {
  for (const { path, file, type, summary } of FILES) {
    const content = readFileSync(join(ROOT, "gateway", "dashboard", file), "utf8");
    defineRoute(app, { method: "get", path, tag: "dashboard", summary, reply: { type } }, (context) =>
      context.body(content, 200, { ...HEADERS, "Content-Type": type }),
    );
  }
}
