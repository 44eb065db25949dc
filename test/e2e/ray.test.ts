/** Ray on a gang. Its wheel is large, so that this is asked for: FABRIC_TEST_RAY=process or docker. */
import { expect, test } from "vitest";
import { startFabric } from "../support/fabric.ts";

const engine = process.env.FABRIC_TEST_RAY;
if (engine !== "process" && engine !== "docker") {
  const reason = "FABRIC_TEST_RAY is neither process nor docker; the test downloads Ray (70 MB)";
  console.warn(`SKIPPED: Ray on a gang: ${reason}`);
  test.skip(`Ray on a gang (${reason})`);
} else
  test(`a gang is a Ray cluster, and again, and nothing of it is left (${engine})`, async () => {
    const fabric = await startFabric({ engine, app: "ray_gang" });
    try {
      await fabric.json("deploy", "test/apps/ray_gang.py");
      for (const n of [3, 4]) {
        const reply = await fabric.call("squares", { n }, { prefer: "wait=300" });
        expect(reply.body).toEqual([n * n, n * n]);
      }
    } finally {
      await fabric.close();
    }
  }, 600_000);
