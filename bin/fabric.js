#!/usr/bin/env node
/** Starts the `fabric` command: checks Node, and makes fabric's programs of its sources when these have changed. */
import process from "node:process";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`fabric needs Node 20.19 or newer; this is ${process.versions.node}. See https://nodejs.org\n`);
  process.exit(2);
}

const { bundle } = await import("./bundle.js");
await bundle().catch((error) => {
  if (error?.code !== "ERR_MODULE_NOT_FOUND") throw error;
  process.stderr.write("fabric's dependencies are not installed. Run `npm ci` in fabric's folder first.\n");
  process.exit(2);
});
await import("../dist/cli.js");
