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

/** Columns: title -> what of a row it shows; a value may be { text, className }. */
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

const mib = (bytes) => `${Math.round(bytes / 1048576)} MiB`;
const when = (iso) => (iso ? new Date(iso).toLocaleString() : "");
const reserve = (amount) => (Array.isArray(amount) ? amount.join(" to ") : amount);
const ms = (timings) =>
  Object.entries(timings)
    .map(([phase, spent]) => `${phase} ${spent} ms`)
    .join(", ");

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
      id: (i) => i.id,
      function: (i) => `${i.app}/${i.function}`,
      state: (i) => ({ text: i.state, className: i.state }),
      started: (i) => when(i.createdAt),
      time: (i) => ms(i.timings),
      note: (i) => i.error?.message?.slice(0, 200) ?? i.reason,
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
