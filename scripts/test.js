/** `npm test`: every check and every test, first to last, every skip with its reason, and one line that sums up. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);
const quick = process.argv.includes("--quick");
const reports = mkdtempSync(join(tmpdir(), "fabric-test-"));
/** Where scripts/setup.sh --tests puts them: the usual place, or the user's own where that one cannot be written. */
const usual = "/opt/fabric-test-tools";
const own = join(homedir(), ".cache", "fabric", "test-tools");
const tools = process.env.FABRIC_TEST_TOOLS || (existsSync(usual) || process.getuid?.() === 0 ? usual : own);
process.env.FABRIC_TEST_TOOLS = tools;
const total = { passed: 0, failed: 0, skipped: 0 };
/** Everything that failed, told again at the end. */
const failures = [];

const heading = (text) => process.stdout.write(`\n== ${text}\n`);
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Runs in this terminal; a program that is missing counts as a failed one. */
function runs(command, args, env = process.env) {
  const ended = spawnSync(command, args, { stdio: "inherit", env });
  if (ended.error) process.stdout.write(`${command}: ${ended.error.message}\n`);
  return ended.status === 0;
}

/** A check counts as one test. */
function check(name, command, args) {
  heading(name);
  const since = performance.now();
  const passed = runs(command, args);
  count({ passed: passed ? 1 : 0, failed: passed ? 0 : 1 });
  if (!passed) failures.push(name);
  process.stdout.write(`${passed ? "ok" : "FAILED"}: ${name} (${seconds(since)})\n`);
  return passed;
}

function count({ passed = 0, failed = 0, skipped = 0 }) {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}

function skip(name, reason) {
  heading(name);
  process.stdout.write(`SKIPPED: ${name}: ${reason}\n`);
  count({ skipped: 1 });
}

const PYTEST = join("test", "python");
const bin = (name) => join("node_modules", ".bin", name);

function prepare() {
  if (!quick) check("setup (scripts/setup.sh --tests)", "bash", ["scripts/setup.sh", "--tests"]);
  if (existsSync(join("node_modules", ".package-lock.json"))) return true;
  return check("npm ci", "npm", ["ci", "--ignore-scripts"]);
}

/** One part at a time: suites that start containers must not disturb those that measure time. */
function vitest(project, folders = [], options = []) {
  const name = `tests: ${[project, ...folders].join(" ")} (vitest)`;
  heading(name);
  const report = join(reports, `${[project, ...folders].join("-").replaceAll("/", "-")}.json`);
  const args = ["run", "--project", project, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const passed = runs(bin("vitest"), [...args, "--passWithNoTests", ...options, ...folders]);
  if (!existsSync(report)) return fail(name, "it ended without a report");
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
    readFileSync(report, "utf8"),
  );
  // a file that does not load has no tests and still is a failure
  const broken = testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
  count({
    passed: numPassedTests,
    failed: numFailedTests + broken.length,
    skipped: numPendingTests + (numTodoTests ?? 0),
  });
  for (const file of testResults) tellSkips(file);
  if (!passed) failures.push(name, ...testResults.flatMap(tellFailures));
  if (!passed && numFailedTests + broken.length === 0) count({ failed: 1 }); // an unhandled error outside of any test
}

function tellSkips(file) {
  for (const one of file.assertionResults)
    if (one.status === "pending" || one.status === "skipped" || one.status === "todo")
      process.stdout.write(`skipped: ${one.fullName}\n`);
}

/** The last lines are what people see first, and all that some services keep. */
function tellFailures({ name, assertionResults }) {
  return assertionResults
    .filter(({ status }) => status === "failed")
    .map(
      ({ fullName, failureMessages }) =>
        `${relative(root, name)}: ${fullName}: ${failureMessages.join(" ").slice(0, 300)}`,
    );
}

function fail(name, why) {
  process.stdout.write(`FAILED: ${name}: ${why}\n`);
  failures.push(name);
  count({ failed: 1 });
}

function python() {
  const tool = (name) => join(tools, "bin", name);
  const project = join("sdk", "python");
  if (!existsSync(project)) return skip("Python", "there is no sdk/python");
  if (!existsSync(tool("python")) && !existsSync(tool("python3")))
    return skip("Python: ruff, mypy, pytest", `no tools in ${tools}; scripts/setup.sh --tests makes them`);
  const sources = [project, join("sdk", "examples"), PYTEST, join("test", "apps")];
  const config = join(project, "pyproject.toml");
  if (existsSync(tool("ruff"))) check("lint (ruff)", tool("ruff"), ["check", "--config", config, ...sources]);
  else skip("lint (ruff)", `no ruff in ${tools}`);
  if (existsSync(tool("mypy"))) check("types (mypy)", tool("mypy"), ["--config-file", config, join(project, "src")]);
  else skip("types (mypy)", `no mypy in ${tools}`);
  pytest(tool, project);
}

function pytest(tool, project) {
  const name = "tests: Python (pytest)";
  if (!existsSync(tool("pytest"))) return skip(name, `no pytest in ${tools}`);
  heading(name);
  const report = join(reports, "pytest.xml");
  const env = { ...process.env, PYTHONPATH: join(root, project, "src") };
  const passed = runs(tool("pytest"), ["-q", "-rfEs", `--junitxml=${report}`, PYTEST], env);
  if (!existsSync(report)) return fail(name, "it ended without a report");
  const suite = /<testsuite [^>]*>/.exec(readFileSync(report, "utf8"))?.[0] ?? "";
  const number = (key) => Number(new RegExp(` ${key}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const [tests, failed, skipped] = [number("tests"), number("failures") + number("errors"), number("skipped")];
  count({ passed: tests - failed - skipped, failed, skipped });
  if (!passed) failures.push(name);
  if (!passed && failed === 0) count({ failed: 1 });
}

const startedAt = performance.now();
if (prepare()) {
  check("types (tsc)", bin("tsc"), ["--noEmit", "-p", "."]);
  check("lint (biome)", bin("biome"), ["check", "."]);
  check("generated documents are fresh (scripts/docs.ts)", "node", ["--import", "tsx", "scripts/docs.ts", "--check"]);
  vitest("quick");
  if (quick) process.stdout.write("\n(--quick: the suites that start real containers are left out)\n");
  else {
    vitest("full", ["test/docker/"]);
    // these wait most of their time
    vitest("full", ["test/e2e/", "test/faults/"], ["--maxWorkers=3"]);
  }
  python();
}
rmSync(reports, { recursive: true, force: true });
for (const name of failures) process.stdout.write(`\nFAILED: ${name}`);
process.stdout.write(`\n\n(${seconds(startedAt)})\n`);
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exit(total.failed > 0 ? 1 : 0);
