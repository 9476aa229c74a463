// Something to send: events that fit the workflows which are there.

const WORDS = {
  author: "Grace",
  name: "Ada",
  text: "Nice catch! I would not have seen that.",
  title: "A note on the engine",
  post_title: "A note on the engine",
  device: "Firefox on Linux",
  place: "Lisbon",
  amount: 42,
  currency: "EUR",
  url: "https://example.com/",
};

/** Data that the workflow accepts and its texts ask for. */
export function sampleData(workflow) {
  const schema = workflow.data_schema ?? {};
  const asked = [...JSON.stringify(workflow.steps).matchAll(/event\.data\.(\w+)/g)].map(([, name]) => name);
  const names = [...new Set([...(schema.required ?? []), ...asked])];
  return Object.fromEntries(names.map((name) => [name, sampleOf(name, schema.properties?.[name] ?? {})]));
}

function sampleOf(name, schema) {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const type = [schema.type].flat()[0];
  if (type === "integer" || type === "number")
    return schema.minimum ?? (typeof WORDS[name] === "number" ? WORDS[name] : 3);
  if (type === "boolean") return true;
  if (type === "array") return schema.items ? [sampleOf(name, schema.items)] : [];
  if (type === "object") return sampleObject(schema);
  return (
    WORDS[name] ?? (/id$/.test(name) ? "42" : /url|link/.test(name) ? WORDS.url : `some ${name.replaceAll("_", " ")}`)
  );
}

function sampleObject(schema) {
  const names = schema.required ?? Object.keys(schema.properties ?? {});
  return Object.fromEntries(names.map((name) => [name, sampleOf(name, schema.properties?.[name] ?? {})]));
}

/** Event types with the workflow that each starts first, sorted. */
export function eventTypes(workflows) {
  const types = new Map();
  for (const workflow of workflows.values()) {
    for (const type of workflow.on) if (!types.has(type)) types.set(type, workflow);
  }
  return new Map([...types].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A first event: a sign-up if there is a workflow for it, else whatever comes first. Null without any workflow. */
export function firstEvent(workflows) {
  const types = eventTypes(workflows);
  const type = types.has("user.signed_up") ? "user.signed_up" : types.keys().next().value;
  if (!type) return null;
  return { type, data: sampleData(types.get(type)), recipients: [{ id: "ada", email: "ada@example.com" }] };
}

/** The call that sends it, for a shell. Without a key it takes the one of the environment. */
export function curl(event, key = null) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  return [
    `curl ${location.origin}/v1/events \\`,
    `  -H ${key ? quoted(`Authorization: Bearer ${key}`) : '"Authorization: Bearer $CLARION_KEY"'} \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d ${quoted(JSON.stringify(event))}`,
  ].join("\n");
}
