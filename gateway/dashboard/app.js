/** The dashboard: asks the HTTP API every few seconds and shows the answers. All text enters the page through textContent. */
const REFRESH_MS = 3000;
const KEY = "fabric-token";
const byId = (id) => document.getElementById(id);
let timer;

async function ask(path) {
  const reply = await fetch(path, { headers: { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` } });
  const body = await reply.json();
  if (!reply.ok)
    throw Object.assign(new Error(body.error?.message ?? `status ${reply.status}`), { status: reply.status });
  return body;
}

/** Columns: title -> what of a row it shows; a value may be { text, className, title }. */
function fill(id, columns, rows) {
  const table = byId(id);
  const head = element("tr");
  for (const title of Object.keys(columns)) head.append(element("th", title));
  const lines = rows.map((row) => {
    const line = element("tr");
    for (const show of Object.values(columns)) {
      const value = show(row) ?? "";
      const cell = element("td", String(value.text ?? value));
      if (value.className) cell.className = value.className;
      if (value.title) cell.title = value.title;
      if (value.act) cell.replaceChildren(button(value));
      line.append(cell);
    }
    return line;
  });
  if (rows.length === 0) {
    const cell = element("td", "none");
    cell.className = "empty";
    cell.colSpan = Object.keys(columns).length;
    const line = element("tr");
    line.append(cell);
    lines.push(line);
  }
  table.replaceChildren(head, ...lines);
}

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

function button({ text, act }) {
  const made = element("button", text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

const complain = (error) => {
  byId("status").textContent = error.message;
};

/** One story at a time; it is told anew with everything else. */
let explained;
async function explain(id) {
  explained = id;
  const { summary, attempts, verdict, logs } = await ask(`/v1/invocations/${id}/explain`);
  if (explained !== id) return;
  byId("story").hidden = false;
  byId("summary").textContent = verdict?.help ? `${summary} (${verdict.help})` : summary;
  fill(
    "attempts",
    {
      attempt: (a) => `g${a.generation}`,
      since: (a) => when(a.claimedAt),
      node: (a) => a.node,
      container: (a) => a.container,
      time: (a) => time(a.timings),
      charged: (a) => a.charged,
      outcome: (a) => note(a.outcome),
    },
    attempts,
  );
  byId("lines").textContent = logs.map(({ text }) => text).join("\n");
}

const mib = (bytes) => `${Math.round(bytes / 1048576)} MiB`;
const when = (iso) => (iso ? new Date(iso).toLocaleString() : "");
const reserve = (amount) => (Array.isArray(amount) ? amount.join(" to ") : amount);
const spent = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
/** The whole in the table, its parts on hovering. */
const time = (timings) => {
  const parts = Object.entries(timings);
  if (parts.length === 0) return "";
  return {
    text: spent(parts.reduce((sum, [, ms]) => sum + ms, 0)),
    title: parts.map(([phase, ms]) => `${phase} ${spent(ms)}`).join(", "),
  };
};
const note = (text) => (text ? { text: text.split("\n")[0], title: text.slice(0, 2000) } : "");

function show({ apps, invocations, nodes, containers, series }) {
  fill(
    "apps",
    {
      app: (a) => a.app,
      version: (a) => a.version,
      deployed: (a) => when(a.createdAt),
      functions: (a) => a.functions.length,
    },
    apps,
  );
  fill(
    "functions",
    {
      function: (f) => `${f.app}/${f.name}`,
      cpu: (f) => reserve(f.cpu),
      "memory (MiB)": (f) => reserve(f.memory),
      gpu: (f) => f.gpu,
      python: (f) => f.python,
      url: (f) => f.url,
    },
    apps.flatMap((a) => a.functions.map((f) => ({ ...f, app: a.app, url: a.urls[f.name] }))),
  );
  fill(
    "invocations",
    {
      id: (i) => ({ text: i.id, act: () => explain(i.id).catch(complain) }),
      function: (i) => `${i.app}/${i.function}`,
      state: (i) => ({ text: i.state, className: i.state }),
      created: (i) => when(i.createdAt),
      time: (i) => time(i.timings),
      note: (i) => note(i.error?.message ?? i.reason),
    },
    invocations,
  );
  fill(
    "nodes",
    {
      node: (n) => n.id,
      host: (n) => n.hostname,
      engine: (n) => n.engine,
      cpu: (n) => `${n.booked.cpuMillis / 1000} of ${n.cpuMillis / 1000}`,
      memory: (n) => `${mib(n.booked.memoryBytes)} of ${mib(n.memoryBytes)}`,
      gpus: (n) => `${n.booked.gpus.length} of ${n.gpus.length}`,
    },
    nodes,
  );
  fill(
    "containers",
    {
      container: (c) => c.container,
      function: (c) => c.function,
      node: (c) => c.node,
      memory: (c) => mib(c.memoryBytes),
      gpus: (c) => c.gpus.join(", "),
    },
    containers,
  );
  fill("checkpoints", { series: (s) => s }, series);
}

async function refresh() {
  clearTimeout(timer);
  try {
    const [{ apps }, { invocations }, { nodes }, { containers }, { series }] = await Promise.all([
      ask("/v1/apps"),
      ask("/v1/invocations?limit=50"),
      ask("/v1/nodes"),
      ask("/v1/containers"),
      ask("/v1/checkpoints"),
    ]);
    show({ apps, invocations, nodes, containers, series });
    if (explained) await explain(explained);
    open(true);
    byId("status").textContent = `as of ${new Date().toLocaleTimeString()}`;
  } catch (error) {
    byId("status").textContent = error.message;
    if (error.status === 401) return leave();
  }
  timer = setTimeout(refresh, REFRESH_MS);
}

function open(isOpen) {
  byId("door").hidden = isOpen;
  byId("board").hidden = !isOpen;
  byId("leave").hidden = !isOpen;
}

function leave() {
  clearTimeout(timer);
  sessionStorage.removeItem(KEY);
  explained = undefined;
  byId("story").hidden = true;
  open(false);
}

byId("door").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId("token").value.trim());
  byId("token").value = "";
  refresh();
});
byId("leave").addEventListener("click", () => {
  leave();
  byId("status").textContent = "";
});
if (sessionStorage.getItem(KEY)) refresh();
