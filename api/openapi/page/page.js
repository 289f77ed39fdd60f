// Shows /openapi.json: a list by tag, and each operation with its parameters, its answers, and a form to try it.
// Nothing is loaded from other sites. All text is inserted as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const FACTS = ["format", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "pattern"];
// The pattern of any text, which is not worth showing.
const NO_NUL = "^[^\\u0000]*$";
// Longer patterns are not readable; they are in the document.
const LONGEST = 60;
let spec;

const byId = (id) => document.getElementById(id);

// An element with attributes and children; children that are strings become text.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

const resolve = (node) => (node && node.$ref ? node.$ref.slice(2).split("/").reduce((at, key) => at[key], spec) : node);
const refName = (node) => (node && node.$ref ? node.$ref.split("/").pop() : null);

// The Markdown that descriptions use: paragraphs, lists, bold, code.
function prose(text) {
  const blocks = [];
  for (const part of (text || "").split(/\n\n+/)) {
    if (!part.trim()) continue;
    if (part.trimStart().startsWith("- ")) {
      blocks.push(make("ul", {}, part.trim().split(/\n(?=- )/).map((item) => make("li", {}, inline(item.slice(2))))));
    } else blocks.push(make("p", {}, inline(part)));
  }
  return blocks;
}
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((piece) => {
    if (piece.startsWith("`") && piece.length > 2) return make("code", { text: piece.slice(1, -1) });
    if (piece.startsWith("**")) return make("b", { text: piece.slice(2, -2) });
    return piece;
  });
}

// A schema in a few words: `integer`, `JobOut`, `array of JobOut`, `string or null`.
function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return resolve(schema).enum ? "string" : refName(schema);
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return [...new Set(choices.map(kind))].filter(Boolean).join(" or ");
  if (schema.type === "array") return schema.items ? `array of ${kind(schema.items)}` : "array";
  if (schema.type === "object" && schema.additionalProperties && schema.additionalProperties !== true && !schema.properties)
    return `object of ${kind(schema.additionalProperties)}`;
  if (schema.enum && !schema.type) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  return Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "any";
}

// The other properties of a schema.
function facts(schema) {
  const entries = [];
  const walk = (node) => {
    if (!node) return;
    const here = resolve(node);
    if (here.enum && (here.type || node.$ref)) entries.push(["one of", here.enum.map((value) => `\`${value}\``).join(", ")]);
    for (const name of FACTS) if (name in here && here[name] !== NO_NUL && String(here[name]).length <= LONGEST) entries.push([name, `\`${here[name]}\``]);
    if (here.uniqueItems) entries.push(["", "no duplicates"]);
    (here.anyOf || []).forEach(walk);
    if (here.type === "array") walk(here.items && !resolve(here.items).properties ? here.items : null);
  };
  walk(schema);
  if (schema && "default" in schema) entries.push(["default", `\`${JSON.stringify(schema.default)}\``]);
  const texts = [...new Set(entries.map(([name, text]) => `${name} ${text}`.trim()))];
  return texts.length ? make("div", { class: "facts" }, inline(texts.join(" · "))) : null;
}

// The object schema in the value of a field, if any.
function objectIn(schema) {
  const here = resolve(schema);
  if (!here) return null;
  if (here.properties) return here;
  if (here.items) return objectIn(here.items);
  for (const choice of here.anyOf || []) {
    const inner = objectIn(choice);
    if (inner) return inner;
  }
  return null;
}

function field(name, schema, { required, text, depth = 0 }) {
  const inner = objectIn(schema);
  return make("div", { class: "field" },
    make("div", {}, make("code", { text: name }), required ? make("span", { class: "need", text: " required" }) : null,
      make("span", { class: "kind", text: kind(schema) })),
    make("div", {}, inline(text || schema.description || resolve(schema).description || ""), facts(schema)),
    inner && depth < 4 ? lazily(`Fields of ${refName(schema) || name}`, () => fields(inner, depth + 1)) : null);
}

function fields(schema, depth = 0) {
  const required = new Set(schema.required || []);
  const entries = Object.entries(schema.properties || {});
  const first = entries.filter(([name]) => required.has(name));
  // Answers have all of their fields: marking each of them would only be noise.
  const marks = first.length < entries.length;
  return make("div", { class: "fields" }, (marks ? [...first, ...entries.filter(([name]) => !required.has(name))] : entries).map(
    ([name, property]) => field(name, property, { required: marks && required.has(name), depth })));
}

// A part that is created when it is first opened, because there are thousands of fields in total.
function lazily(title, fill) {
  const element = make("details", { class: "more" }, make("summary", { text: title }));
  element.addEventListener("toggle", () => { if (element.open && element.children.length === 1) element.append(fill()); });
  return element;
}

function shape(schema) {
  const inner = objectIn(schema);
  return [make("p", { class: "facts" }, make("code", { text: kind(schema) })), inner ? fields(inner) : facts(schema)];
}

const pretty = (value) => JSON.stringify(value, null, 2);

function bodyOf(operation) {
  const body = operation.requestBody;
  if (!body) return [];
  const [media, content] = Object.entries(body.content)[0];
  return [
    make("h3", { text: `Body${body.required ? "" : " (optional)"}` }),
    make("p", { class: "facts" }, inline(Object.keys(body.content).map((type) => `\`${type}\``).join(" or "))),
    ...Object.entries(content.examples || {}).map(([name, example]) =>
      lazily(`Example: ${name}`, () => make("pre", { text: pretty(example.value) }))),
    ...shape(content.schema),
  ];
}

function answersOf(operation) {
  return [make("h3", { text: "Responses" }), ...Object.entries(operation.responses).map(([status, response]) => {
    const answer = resolve(response);
    const element = make("details", { class: "answer" },
      make("summary", {}, make("b", { class: status < "400" ? "ok" : "bad", text: status }), " ", inline(answer.description)));
    element.addEventListener("toggle", () => {
      if (!element.open || element.children.length > 1) return;
      for (const [media, content] of Object.entries(answer.content || {})) {
        element.append(make("p", {}, make("code", { text: media })));
        if (content.example !== undefined) element.append(lazily("Example", () => make("pre", { text: pretty(content.example) })));
        if (media.includes("json") && content.schema.type !== "string") element.append(...shape(content.schema).filter(Boolean));
      }
      for (const [name, header] of Object.entries(answer.headers || {}))
        element.append(make("p", {}, "Header ", make("code", { text: name }), ": ", inline(header.description)));
      if (!answer.content && !answer.headers) element.append(make("p", { class: "facts", text: "No body." }));
    });
    return element;
  })];
}

// The request as a shell command, with the token in a variable.
function curl(method, url, body) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const parts = [`curl -X ${method.toUpperCase()} ${quote(new URL(url, location.href).href)}`, '-H "Authorization: Token $TIMEBALL_TOKEN"'];
  if (body) parts.push("-H 'Content-Type: application/json'", `-d ${quote(body)}`);
  return parts.join(" \\\n  ");
}

function tryIt(path, method, operation) {
  const inputs = (operation.parameters || []).filter((parameter) => ["path", "query"].includes(parameter.in)).map((parameter) => ({
    parameter,
    input: make("input", { value: parameter.in === "path" && parameter.example != null ? parameter.example : "",
      placeholder: parameter.example == null ? "" : [].concat(parameter.example).join(","), "aria-label": parameter.name }),
  }));
  const body = operation.requestBody;
  const examples = body ? Object.values(Object.values(body.content)[0].examples || {}) : [];
  const text = body ? make("textarea", { "aria-label": "Body", spellcheck: "false" }) : null;
  if (text) text.value = examples.length ? pretty(examples[0].value) : "{}";
  const out = make("div", { "aria-live": "polite" });
  const urlOf = () => {
    const query = new URLSearchParams();
    let filled = path;
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) (parameter.schema.type === "array" ? input.value.split(",") : [input.value]).forEach((value) => query.append(parameter.name, value));
    }
    return filled + (query.size ? `?${query}` : "");
  };
  const send = async () => {
    const token = byId("token").value.trim();
    const headers = token ? { Authorization: `Token ${token}` } : {};
    if (text && text.value.trim()) headers["Content-Type"] = "application/json";
    out.replaceChildren(make("p", { class: "facts", text: "Waiting for the response…" }));
    try {
      const answer = await fetch(urlOf(), { method: method.toUpperCase(), headers, body: text && text.value.trim() ? text.value : undefined });
      const type = answer.headers.get("Content-Type") || "";
      let shown = await answer.text();
      if (type.includes("json") && !type.includes("ndjson")) try { shown = pretty(JSON.parse(shown)); } catch { /* shown as received */ }
      if (shown.length > 200000) shown = `${shown.slice(0, 200000)}\n… (${shown.length} characters in total)`;
      out.replaceChildren(make("p", {}, make("b", { class: answer.ok ? "ok" : "bad", text: `${answer.status} ${answer.statusText}` }),
        make("span", { class: "facts", text: ` ${type}` })), shown ? make("pre", { text: shown }) : "");
    } catch (error) {
      out.replaceChildren(make("p", { class: "bad", text: `No response: ${error.message}. Check that the daemon is running.` }));
    }
  };
  const show = () => out.replaceChildren(make("pre", { text: curl(method, urlOf(), text && text.value.trim()) }));
  return make("form", { class: "try", onsubmit: (event) => { event.preventDefault(); send(); } }, make("h3", { text: "Try it" }),
    inputs.map(({ parameter, input }) => make("div", { class: "row" }, make("label", { text: parameter.name }), input)), text,
    make("p", {}, make("button", { class: "go", text: "Send" }), " ", make("button", { type: "button", text: "Show as curl", onclick: show })), out);
}

function operationOf(path, method, operation) {
  const element = make("details", { class: "operation", id: operation.operationId },
    make("summary", {}, make("span", { class: `method ${method}`, text: method }), make("span", { class: "path", text: path }),
      make("span", { class: "what", text: operation.summary })));
  element.addEventListener("toggle", () => {
    if (!element.open || element.children.length > 1) return;
    const parameters = operation.parameters || [];
    element.append(make("div", { class: "inside" }, prose(operation.description),
      operation.security && operation.security.length ? null : make("p", { text: "Does not require a token." }),
      parameters.length ? make("h3", { text: "Parameters" }) : null,
      parameters.length ? make("div", { class: "fields" }, parameters.map((parameter) =>
        field(parameter.name, parameter.schema, { required: parameter.required,
          text: `${parameter.description}${parameter.in === "query" ? "" : ` (${parameter.in})`}` }))) : null,
      bodyOf(operation), answersOf(operation), tryIt(path, method, operation)));
  });
  return element;
}

function open(id) {
  const element = id && byId(id);
  if (!element || !element.classList.contains("operation")) return;
  element.open = true;
  element.scrollIntoView();
  document.querySelectorAll("nav a").forEach((link) => link.classList.toggle("here", link.hash === `#${id}`));
}

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of document.querySelectorAll("#list section")) {
    let matches = false;
    for (const link of group.querySelectorAll("a")) {
      link.hidden = !words.every((word) => link.dataset.words.includes(word));
      matches = matches || !link.hidden;
    }
    group.hidden = !matches;
  }
}

function menu(isOpen) {
  byId("side").classList.toggle("open", isOpen);
  byId("menu").setAttribute("aria-expanded", String(isOpen));
}

async function start() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`/openapi.json returned status ${answer.status}`);
  spec = await answer.json();
  byId("version").textContent = spec.info.version;
  const main = byId("main");
  main.replaceChildren(make("h1", { text: `${spec.info.title}'s API` }), ...prose(spec.info.description));
  const groups = new Map(spec.tags.map((tag) => [tag.name, { tag, operations: [] }]));
  for (const [path, operations] of Object.entries(spec.paths))
    for (const method of METHODS) if (operations[method]) groups.get(operations[method].tags[0]).operations.push([path, method, operations[method]]);
  for (const { tag, operations } of groups.values()) {
    if (!operations.length) continue;
    main.append(make("h2", { text: tag.name }), make("p", { class: "about", text: tag.description }),
      ...operations.map((entry) => operationOf(...entry)));
    byId("list").append(make("section", {}, make("h2", { text: tag.name }), operations.map(([path, method, operation]) =>
      make("a", { href: `#${operation.operationId}`, title: `${method.toUpperCase()} ${path}`,
        "data-words": `${method} ${path} ${operation.summary} ${tag.name}`.toLowerCase(),
        onclick: () => { menu(false); open(operation.operationId); } },
        make("span", { class: `method ${method}`, text: method }), operation.summary))));
  }
  byId("filter").addEventListener("input", (event) => filter(event.target.value));
  byId("menu").addEventListener("click", () => menu(!byId("side").classList.contains("open")));
  byId("access").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => open(location.hash.slice(1)));
  open(location.hash.slice(1));
}

start().catch((error) => { byId("main").textContent = `The API's description cannot be shown: ${error.message}. Reload the page, or open /openapi.json.`; });
