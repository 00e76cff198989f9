// The console's script: pages read without it; with it lists grow while one looks, and records are made by forms.

const meta = (name) => document.querySelector(`meta[name=${name}]`).content;
const root = meta("root");
const byId = (id) => document.getElementById(id);

/** An element with attributes and children; text stays text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A sentence, in which what stands between two backquotes is code. */
function prose(text) {
  const parts = String(text).split("`");
  if (parts.length % 2 === 0) parts.push(parts.splice(-2).join("`")); // the last one has no other
  return parts.map((part, n) => (n % 2 ? make("code", {}, part) : part));
}

// ---------------------------------------------------------------------------------------------------------- lists
function find(input) {
  const entries = [...document.querySelector(input.dataset.find).children];
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const entry of entries) entry.hidden = !entry.textContent.toLowerCase().includes(wanted);
  });
}

function follow(status) {
  const rows = byId("rows");
  const source = new EventSource(status.dataset.live);
  let count = 0;
  source.addEventListener("message", (message) => {
    const holder = document.createElement("template");
    holder.innerHTML = message.data; // a row of our own server, in which all that clients sent is escaped
    const row = holder.content.querySelector("tr");
    if (!row) return;
    row.classList.add("new");
    rows.prepend(row);
    while (rows.children.length > 200) rows.lastElementChild.remove();
    document.querySelector("main > .empty")?.remove();
    count += 1;
    status.textContent = `${count.toLocaleString("en")} came in while you look.`;
  });
  window.addEventListener("pagehide", () => source.close());
}

// ----------------------------------------------------------------------------------------------------------- JSON
/** JSON whose numbers stay as they are written, where the browser can tell. */
const parse = (text) =>
  JSON.parse(text, (_, value, context) =>
    typeof value === "number" && context?.source && JSON.rawJSON && String(value) !== context.source
      ? JSON.rawJSON(context.source)
      : value,
  );
const write = (value) => JSON.stringify(value, null, 2);
const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;
const raw = (text) => (NUMBER.test(text) ? (JSON.rawJSON ? JSON.rawJSON(text) : Number(text)) : text);
const shown = (value) => (value === undefined || value === null ? "" : JSON.isRawJSON?.(value) ? value.rawJSON : String(value));
const step = (name) => String(name).replaceAll("~", "~0").replaceAll("/", "~1");
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value) && !JSON.isRawJSON?.(value);

// ---------------------------------------------------------------------------------------------------------- forms
const HINTS = {
  date: "YYYY-MM-DD", time: "HH:MM:SS", timestamp: "YYYY-MM-DDTHH:MM:SSZ", local_timestamp: "YYYY-MM-DDTHH:MM:SS",
  duration: "ISO 8601, such as P1Y2M", uuid: "UUID", bytes: "bytes as text", decimal: "decimal number", integer: "whole number",
  number: "number",
};
let numbered = 0;

/** A value of a shape before anybody chose one: nothing is filled in but what has no other value (undefined: absent). */
function blank(shape) {
  switch (shape.type) {
    case "record": {
      const value = {};
      for (const field of shape.fields ?? []) {
        const inner = !field.required ? undefined : field.nullable ? null : blank(field);
        if (inner !== undefined) value[field.name] = inner;
      }
      return value;
    }
    case "array": return [];
    case "map": return {};
    default: return undefined;
  }
}

/** That of a new item of an array or a map, which has to be something: text is empty, the rest null until it is chosen. */
const blankItem = (shape) => blank(shape) ?? (shape.type === "text" ? "" : null);

/** A record with another value of a field (undefined: without it); a new one stands where the schema has it. */
function withField(shape, record, name, value) {
  const before = isObject(record) ? record : {};
  const next = { ...before, [name]: value };
  const order = [...(name in before ? [] : (shape.fields ?? []).map((field) => field.name)), ...Object.keys(next)];
  return Object.fromEntries([...new Set(order)].filter((each) => next[each] !== undefined).map((each) => [each, next[each]]));
}

/** Whether a value can be of a shape, at a glance. */
function fits(shape, value) {
  if (JSON.isRawJSON?.(value)) value = Number(value.rawJSON);
  switch (shape.type) {
    case "record": return isObject(value) && Object.keys(value).every((name) => (shape.fields ?? []).some((f) => f.name === name));
    case "map": return isObject(value);
    case "array": return Array.isArray(value);
    case "boolean": return typeof value === "boolean";
    case "integer": case "number": return typeof value === "number";
    case "enum": return (shape.symbols ?? []).includes(value);
    case "any": return true;
    default: return typeof value === "string" || (typeof value === "number" && shape.type !== "text");
  }
}

/** Kinds that were chosen for a value that is not there yet, by pointer. */
const kinds = new Map();

const label = (shape) => shape.name || shape.type.replaceAll("_", " ");

const required = (shape) => (shape.required && !shape.nullable && shape.name ? make("span", { class: "required" }, " required") : "");

/** The field of a shape: `get` gives its value (undefined: absent), `set` takes another, `redraw` shows the form anew. */
function field(shape, pointer, get, set, redraw) {
  const nested = ["record", "array", "map"].includes(shape.type) || (shape.type === "choice");
  const may = !shape.required || shape.nullable;
  const value = get();
  if (nested) {
    const given = (value !== undefined && value !== null) || kinds.has(pointer);
    const states = may && shape.name ? make("select", { "aria-label": `${label(shape)} is` }) : "";
    if (states) {
      for (const [state, word, allowed] of [["absent", shape.required ? "choose" : "left out", !shape.required || value === undefined], ["null", "null", shape.nullable], ["given", "given", true]])
        if (allowed) states.append(make("option", { value: state, selected: state === (given ? "given" : value === null ? "null" : "absent") }, word));
      states.addEventListener("change", () => {
        kinds.delete(pointer);
        if (states.value === "given" && shape.type === "choice") kinds.set(pointer, -1);
        set(states.value === "given" ? blank(shape) : states.value === "null" ? null : undefined);
        redraw(pointer);
      });
    }
    if (!given && may) return make("div", { class: "field", "data-pointer": pointer }, make("span", { class: "label" }, label(shape)), states);
    return make("fieldset", { "data-pointer": pointer }, make("legend", {}, label(shape), required(shape)), states, inside(shape, pointer, get, set, redraw));
  }
  const id = `field-${++numbered}`;
  const title = make("label", { for: id }, label(shape), required(shape));
  const input = control(shape, id, value, (next) => {
    set(next !== "" ? next : shape.required && shape.nullable ? null : undefined);
  });
  input.dataset.pointer = pointer;
  return make("div", { class: "field" }, title, input);
}

function control(shape, id, value, change) {
  const may = !shape.required || shape.nullable;
  if (shape.type === "boolean" || shape.type === "enum") {
    const choice = make("select", { id });
    if (may || value === undefined || value === null)
      choice.append(make("option", { value: "" }, may ? (shape.required ? "null" : "left out") : "choose"));
    for (const word of shape.type === "boolean" ? ["true", "false"] : (shape.symbols ?? []))
      choice.append(make("option", { value: word, selected: String(value) === word }, word));
    choice.addEventListener("change", () => change(shape.type === "boolean" && choice.value ? choice.value === "true" : choice.value));
    return choice;
  }
  if (shape.type === "any" || isObject(value) || Array.isArray(value)) {
    const text = make("textarea", { id, rows: 3, spellcheck: "false" });
    text.value = value === undefined ? "" : write(value);
    text.addEventListener("change", () => {
      try { change(text.value.trim() ? parse(text.value) : ""); } catch { change(text.value); }
    });
    return text;
  }
  const isNumber = ["integer", "number", "decimal"].includes(shape.type);
  const isLong = shape.type === "text" && shown(value).length > 80;
  const input = isLong ? make("textarea", { id, rows: 3 }) : make("input", { id, placeholder: HINTS[shape.type], autocomplete: "off", inputmode: isNumber ? "decimal" : undefined });
  input.value = shown(value);
  input.addEventListener("input", () => change(isNumber ? raw(input.value.trim()) : input.value));
  return input;
}

/** What stands inside of a record, an array, a map or a choice. */
function inside(shape, pointer, get, set, redraw) {
  const value = get();
  const part = make("div");
  if (shape.type === "record") {
    for (const child of shape.fields ?? [])
      part.append(field(child, `${pointer}/${step(child.name)}`, () => get()?.[child.name], (next) => {
        set(withField(shape, get(), child.name, next));
      }, redraw));
    const known = new Set((shape.fields ?? []).map((child) => child.name));
    const unknown = isObject(value) ? Object.keys(value).filter((name) => !known.has(name)) : [];
    if (unknown.length) part.append(make("p", { class: "hint" }, `Not of the schema: ${unknown.join(", ")}`));
  } else if (shape.type === "array") {
    const items = Array.isArray(value) ? value : [];
    const move = (from, to) => { const [item] = items.splice(from, 1); items.splice(to, 0, item); set(items); redraw(pointer); };
    items.forEach((_, index) => {
      const of = `${label(shape)} ${index + 1}`;
      part.append(make("div", { class: "item" },
        field({ ...shape.items, name: "", required: true, nullable: shape.items?.nullable }, `${pointer}/${index}`, () => items[index], (next) => { items[index] = next ?? blankItem(shape.items); set(items); }, redraw),
        make("span", { class: "tools" },
          make("button", { type: "button", class: "plain", "aria-label": `Move ${of} up`, disabled: index === 0, onclick: () => move(index, index - 1) }, "↑"),
          make("button", { type: "button", class: "plain", "aria-label": `Move ${of} down`, disabled: index === items.length - 1, onclick: () => move(index, index + 1) }, "↓"),
          make("button", { type: "button", class: "plain", "aria-label": `Remove ${of}`, onclick: () => { items.splice(index, 1); set(items); redraw(pointer); } }, "×"))));
    });
    part.append(make("button", { type: "button", class: "plain", "data-add": pointer, onclick: () => { items.push(blankItem(shape.items ?? { type: "any" })); set(items); redraw(pointer); } }, `Add to ${label(shape)}`));
  } else if (shape.type === "map") {
    const map = isObject(value) ? value : {};
    for (const name of Object.keys(map)) {
      const key = make("input", { value: name, "aria-label": `Name in ${label(shape)}` });
      key.addEventListener("change", () => {
        const next = Object.fromEntries(Object.entries(map).map(([k, v]) => [k === name ? key.value : k, v]));
        set(next); redraw(pointer);
      });
      part.append(make("div", { class: "item" },
        make("div", {}, key, field({ ...shape.values, name, required: true }, `${pointer}/${step(name)}`, () => map[name], (next) => { map[name] = next ?? blankItem(shape.values); set(map); }, redraw)),
        make("span", { class: "tools" }, make("button", { type: "button", class: "plain", "aria-label": `Remove ${name}`, onclick: () => { delete map[name]; set(map); redraw(pointer); } }, "×"))));
    }
    part.append(make("button", { type: "button", class: "plain", "data-add": pointer, onclick: () => {
      let name = "name";
      for (let n = 2; name in map; n += 1) name = `name ${n}`;
      map[name] = blankItem(shape.values ?? { type: "any" }); set(map); redraw(pointer);
    } }, `Add to ${label(shape)}`));
  } else if (shape.type === "choice") {
    const choices = shape.choices ?? [];
    const tagged = isObject(value) && Object.keys(value).length === 1 && choices.findIndex((each) => each.name && each.name === Object.keys(value)[0]);
    const isThere = value !== undefined && value !== null;
    const at = isThere ? Math.max(0, choices.findIndex((each) => fits(each, value))) : (kinds.get(pointer) ?? -1);
    const kind = make("select", { "aria-label": `Kind of ${label(shape)}` });
    if (at < 0) kind.append(make("option", { value: -1 }, "choose"));
    choices.forEach((each, index) => kind.append(make("option", { value: index, selected: index === at }, label(each))));
    kind.addEventListener("change", () => {
      kinds.set(pointer, Number(kind.value));
      set(blank(choices[Number(kind.value)]));
      redraw(pointer);
    });
    part.append(kind);
    if (choices[at] && !(tagged > 0)) part.append(field({ ...choices[at], required: true }, pointer, get, set, redraw));
  }
  return part;
}

/** What the tab keeps under a name; null where it keeps nothing, or the browser lets no page keep anything. */
function keptAs(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

/** What is written into the form and not sent: the tab keeps it while another page is looked at, or this one is loaded again. */
function keepUnsent(form) {
  const name = `record of ${meta("person")} at ${location.pathname}`;
  const kept = keptAs(name);
  const now = () => {
    const file = byId("binary")?.files[0];
    return { text: byId("record").value, destination: form.elements.destination.value, file: file?.name, isLarge: file?.size > SMALL };
  };
  let known = { text: byId("record").value, destination: "" }; // what need not be kept
  let sending; // what stood in the form when Send was pressed
  let isUnsure = Boolean(kept?.isUnsure); // whether something went there, and no answer came
  let isOver = false;
  form.addEventListener("sending", () => { sending = now(); });
  form.addEventListener("posting", () => { isUnsure = true; }); // of a large file, when all of it is there
  form.addEventListener("answered", ({ detail: isAccepted }) => {
    if (isAccepted) known = sending; // what is typed meanwhile is kept
    isUnsure = isAccepted === null;
    sending = undefined;
  });
  document.querySelector(".who")?.addEventListener("submit", () => { isOver = true; }); // who signs out leaves nothing
  window.addEventListener("pagehide", () => {
    const unsent = { ...now(), isUnsure };
    try {
      if (isOver || (!unsent.isUnsure && unsent.text === known.text && unsent.destination === known.destination)) sessionStorage.removeItem(name);
      else sessionStorage.setItem(name, JSON.stringify(unsent));
    } catch { /* there is no room for it */ }
  });
  if (!kept) return undefined;
  const anew = make("button", { type: "button", class: "plain", onclick: () => { isOver = true; location.reload(); } }, "Start anew");
  const again = !kept.file ? "" : `Choose ${kept.file} once more${kept.isLarge ? ": what came in of it is not sent again" : ""}. `;
  const state = isUnsure ? unsure("You left the page before an answer came.") : ["Not sent yet, as you left it."];
  say("", ...state, " ", again, anew);
  return kept;
}

function compose(form) {
  const shape = { type: "record", fields: JSON.parse(byId("shape").textContent).filter((f) => f.name !== form.dataset.resource) };
  const text = byId("record");
  const fields = byId("fields");
  const broken = byId("broken");
  let record = {};

  const keep = () => { text.value = write(record); broken.hidden = true; };
  function draw(focus) {
    numbered = 0;
    fields.replaceChildren(inside(shape, "", () => record, (next) => { record = next; keep(); }, draw));
    fields.hidden = false;
    if (focus) {
      const near = [...fields.querySelectorAll("[data-pointer], [data-add]")].find((e) => (e.dataset.pointer ?? e.dataset.add) === focus);
      (near?.matches("fieldset") ? near.querySelector("select, input, button") : near)?.focus();
    }
  }
  function read(isLeft) {
    try {
      record = parse(text.value);
      broken.hidden = true;
    } catch (error) {
      broken.textContent = `This is not JSON: ${error.message}`;
      if (isLeft) broken.hidden = false;
      return;
    }
    if (!isLeft && isObject(record) && shape.fields.length) draw(); // while one types: when one leaves, the click would meet a field that is gone
  }
  text.addEventListener("input", () => read(false));
  text.addEventListener("change", () => read(true));
  if (!shape.fields.length) fields.hidden = true;
  if (!form.dataset.given) {
    record = blank(shape);
    if (shape.fields.length) keep();
  }
  if (shape.fields.length) (form.dataset.given ? read(false) : draw());
  const kept = form.dataset.given ? undefined : keepUnsent(form);
  if (kept) {
    text.value = kept.text;
    form.elements.destination.value = kept.destination;
    read(false);
    read(true);
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); send(form, false); });
  byId("check").hidden = byId("curl").hidden = byId("python").hidden = false;
  byId("check").addEventListener("click", () => send(form, true));
  byId("curl").addEventListener("click", (event) => copy(event.target, curl(form)));
  byId("python").addEventListener("click", (event) => copy(event.target, python(form)));
  const file = byId("file");
  if (file) {
    file.hidden = false;
    form.addEventListener("dragover", (event) => { event.preventDefault(); file.classList.add("dropping"); });
    form.addEventListener("dragleave", () => file.classList.remove("dropping"));
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      file.classList.remove("dropping");
      if (event.dataTransfer.files.length) byId("binary").files = event.dataTransfer.files;
    });
  }
}

// -------------------------------------------------------------------------------------------------------- sending
const SMALL = 16 * 1024 * 1024;

function query(form) {
  const destination = form.elements.destination.value.trim();
  return `?schema=${encodeURIComponent(form.dataset.schema)}${destination ? `&destination=${encodeURIComponent(destination)}` : ""}`;
}

/** What is said of a record of which nobody knows whether it came in. */
const unsure = (why) => [`${why} Nobody knows whether it was sent: look at `, make("a", { href: `${root}/console/events` }, "Events"), " before you send it again."];

/** Send what stands in the form now, whatever is typed meanwhile. */
async function send(form, only) {
  const told = (isAccepted) => only || form.dispatchEvent(new CustomEvent("answered", { detail: isAccepted }));
  const buttons = [...form.querySelectorAll(".actions button")];
  const pressed = document.activeElement;
  for (const button of buttons) button.disabled = true;
  if (!only) form.dispatchEvent(new Event("sending"));
  try {
    const response = await request(form, only);
    const answered = await response.json().catch((error) => { throw Object.assign(error, { isUnsure: !only }); });
    told(answered.code === "outcome_unknown" ? null : response.ok);
    answer(response, answered, only);
  } catch (error) {
    told(error.isUnsure ? null : false);
    say("bad", ...(error.isUnsure ? unsure(`No answer came: ${error.message}.`) : [`It was not ${only ? "checked" : "sent"}: ${error.message}`]));
  } finally {
    for (const button of buttons) button.disabled = false;
    if (document.activeElement === document.body) pressed.focus(); // a button that is off loses the focus
  }
}

/** The answer to what stands in the form now. An error says whether the gateway may have taken the record (`isUnsure`). */
function request(form, only) {
  const [text, to, file] = [byId("record").value, query(form), byId("binary")?.files[0]];
  if (only) return post("/ingress/validate", to, text);
  if (!file) return postRecord("/ingress/record-json", to, text);
  if (file.size > SMALL) return sendLarge(form, text, to, file);
  const body = new FormData();
  body.append("record", new Blob([text], { type: "application/json" }));
  body.append("file", file, file.name);
  return postRecord("/ingress/record-json-and-binary", to, body, null);
}

const post = (path, to, body, type = "application/json") =>
  fetch(`${root}${path}${to}`, {
    method: "POST", body, headers: { "X-CSRF-Token": meta("csrf"), ...(type ? { "Content-Type": type } : {}) },
  });

function postRecord(...given) {
  byId("compose").dispatchEvent(new Event("posting"));
  return post(...given).catch((error) => { throw Object.assign(error, { isUnsure: true }); });
}

/** A large file by tus: it can be paused, and goes on after the page was closed. Then its record, which names it. */
async function sendLarge(form, text, to, file) {
  const checked = await post("/ingress/validate", to, text);
  if (!checked.ok) return checked;
  await load("tus.min.js");
  const progress = byId("progress");
  const pause = byId("pause");
  progress.hidden = false;
  const puuid = await new Promise((resolve, reject) => {
    const upload = new window.tus.Upload(file, {
      endpoint: `${root}/uploads`,
      chunkSize: 8 * 1024 * 1024,
      retryDelays: [0, 1000, 3000, 5000, 10000],
      metadata: { filename: file.name, filetype: file.type || "application/octet-stream" },
      headers: { "X-CSRF-Token": meta("csrf") },
      removeFingerprintOnSuccess: true,
      onError: reject,
      onProgress: (sent, all) => {
        progress.querySelector("progress").value = (100 * sent) / all;
        progress.querySelector("span").textContent = `${Math.floor((100 * sent) / all)} % of ${(all / 1e6).toFixed(0)} MB`;
      },
      onSuccess: () => resolve(upload.url.split("/").pop()),
    });
    let paused = false;
    pause.onclick = () => {
      paused = !paused;
      pause.textContent = paused ? "Go on" : "Pause";
      if (paused) upload.abort();
      else upload.start();
    };
    upload.findPreviousUploads().then((before) => {
      if (before.length) upload.resumeFromPreviousUpload(before[0]);
      upload.start();
    }, reject);
  });
  progress.hidden = true;
  const record = parse(text);
  record[form.dataset.resource] = puuid;
  return postRecord("/ingress/record-json", to, write(record));
}

const load = (name) =>
  new Promise((resolve, reject) => {
    const source = new URL(name, import.meta.url).pathname;
    if (document.querySelector(`script[src="${source}"]`)) resolve();
    else document.head.append(make("script", { src: source, onload: resolve, onerror: () => reject(new Error(`${name} did not load`)) }));
  });

function answer(response, told, only) {
  clear();
  if (response.ok && only) return say("good", "It fits.");
  if (response.ok && told.offset === null)
    return say("good", "Kept: event ", make("code", {}, told.id), " waits on the gateway's disk until Kafka is back.");
  if (response.ok && told.topic !== undefined) {
    const where = `${root}/console/events/${encodeURIComponent(told.topic)}/${told.partition}/${told.offset}`;
    return say("good", "Sent: event ", make("code", {}, told.id), ", ", make("a", { href: where }, "see it"), ".");
  }
  if (response.ok) return say("good", "Kept: its event goes out when its binary is complete. ", make("a", { href: `${root}/console/waiting` }, "See how it gets on"), ".");
  const list = make("ul");
  let first;
  for (const error of told.errors ?? []) {
    const place = point(error);
    first ??= place;
    if (!place) list.append(make("li", {}, make("code", {}, error.pointer || "record"), " ", ...prose(error.detail)));
  }
  const count = told.errors?.length ?? 0;
  const what = !first ? (told.detail ?? response.statusText) : count === 1 ? "Not sent: one place is to be mended." : `Not sent: ${count} places are to be mended.`;
  say("bad", ...prose(only ? what.replace("Not sent", "It does not fit") : what), ...(list.children.length ? [list] : []));
  first?.focus();
}

/** What is wrong, without the place, which it stands at. */
const sentence = (error) => (error.detail.startsWith(`${error.pointer}: `) ? error.detail.slice(error.pointer.length + 2) : error.detail);

/** Put an error at its field, or the nearest above that is shown. */
function point(error) {
  const all = [...byId("fields").querySelectorAll("[data-pointer]")];
  for (let pointer = error.pointer; pointer; pointer = pointer.slice(0, pointer.lastIndexOf("/"))) {
    const place = all.find((element) => element.dataset.pointer === pointer);
    if (!place) continue;
    const id = `error-${++numbered}`;
    const isGroup = place.matches("fieldset");
    const control = place.matches("input, select, textarea") ? place : place.querySelector("input, select, textarea, button");
    const rest = error.pointer.slice(pointer.length);
    const told = make("p", { class: "wrong", id, "data-error": true }, rest ? `${rest}: ` : "", ...prose(sentence(error)));
    if (isGroup) place.querySelector("legend").after(told);
    else control.after(told);
    (isGroup ? place : control).setAttribute("aria-describedby", id);
    if (isGroup) place.classList.add("invalid");
    else control.setAttribute("aria-invalid", "true");
    return control ?? place;
  }
  return undefined;
}

function clear() {
  for (const element of document.querySelectorAll("[data-error]")) element.remove();
  for (const element of document.querySelectorAll("[aria-invalid]")) element.removeAttribute("aria-invalid");
  for (const element of document.querySelectorAll("fieldset.invalid")) element.classList.remove("invalid");
}

function say(kind, ...parts) {
  byId("outcome").replaceChildren(make("div", { class: `note ${kind}` }, ...parts));
  byId("outcome").scrollIntoView({ block: "nearest" });
}

// -------------------------------------------------------------------------------------------------------- snippets
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const where = () => `${location.origin}${root}`;

function curl(form) {
  const file = byId("binary")?.files[0];
  const path = file ? "/ingress/record-json-and-binary" : "/ingress/record-json";
  const body = file
    ? `-F ${quoted(`record=${byId("record").value};type=application/json`)} -F ${quoted(`file=@${file.name}`)}`
    : `-H 'Content-Type: application/json' -d ${quoted(byId("record").value)}`;
  return `curl -sS ${quoted(`${where()}${path}${query(form)}`)} ${body}`;
}

function python(form) {
  const text = JSON.stringify(byId("record").value);
  return `from inlake.client import Client\n\nwith Client(${JSON.stringify(where())}) as client:\n    print(client.send(${JSON.stringify(form.dataset.schema)}, ${text}.encode()))\n`;
}

async function copy(button, text) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    say("", make("pre", {}, text));
  }
  setTimeout(() => { button.textContent = before; }, 2000);
}

// ------------------------------------------------------------------------------------------------------- previews
/** Where no preview can be made, say why. */
async function explain(image) {
  const told = await fetch(image.src).then((response) => response.json()).catch(() => ({}));
  (image.closest("a") ?? image).replaceWith(make("p", { class: "note shown" }, "No preview. ", ...prose(told.detail ?? "")));
}

/** Where a list has no thumbnail, it says what kind of file it is; rows come and go, so the page listens for all. */
function withoutThumbnail(image) {
  image.replaceWith(make("span", { "aria-hidden": "true" }, image.dataset.else));
}

// ----------------------------------------------------------------------------------------------------------- begin
document.addEventListener("error", (event) => { if (event.target.dataset?.else) withoutThumbnail(event.target); }, true);
for (const image of document.querySelectorAll("[data-else]")) if (image.complete && !image.naturalWidth) withoutThumbnail(image);
for (const image of document.querySelectorAll("[data-preview]")) {
  if (image.complete && !image.naturalWidth) explain(image);
  else image.addEventListener("error", () => explain(image));
}
for (const input of document.querySelectorAll("[data-find]")) find(input);
if (byId("live")?.dataset.live) follow(byId("live"));
if (byId("compose")) compose(byId("compose"));
document.querySelector(".who")?.addEventListener("submit", () => { try { sessionStorage.clear(); } catch { /* nothing is kept */ } });

export { byId, keptAs, make, meta, post, prose, query, root }; // for table.js
