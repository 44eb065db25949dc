import { defineConfig } from "vitest/config";

/** `quick` holds what needs no container; `full` adds the suites that start real ones. */
export default defineConfig({
  test: {
    globalSetup: "test/support/temp-root.ts",
    env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "1" }, // the release is pinned
    testTimeout: 30_000,
    hookTimeout: 120_000,
    projects: [
      { extends: true, test: { name: "quick", maxWorkers: 3, include: ["test/{unit,contract}/**/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "full",
          include: ["test/{docker,e2e,faults}/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
