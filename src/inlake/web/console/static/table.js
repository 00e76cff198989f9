// A table dropped on the page of a schema: its rows are checked before any is sent, and what is wrong is mended in place.
import { byId, keptAs, make, meta, post, prose, query, root } from "./console.js";

const SHOWN = 200;
const place = byId("table");
const form = byId("compose");
let rows = []; // those that are not sent yet, as the gateway tells them
let columns = [];
let isUnsure = false; // whether some were sent, and no answer said so

const url = (again) => {
  const about = new URLSearchParams({ file: place.dataset.file ?? "", again: again ? "true" : "false" });
  const destination = form.elements.destination.value.trim();
  if (destination) about.set("destination", destination);
  return `${root}/console/send/${encodeURIComponent(form.dataset.schema)}/table?${about}`;
};

async function check(body, again) {
  const response = await fetch(url(again), { method: "POST", body, headers: { "X-CSRF-Token": meta("csrf"), "Content-Type": "application/octet-stream" } });
  const told = await response.json();
  if (!response.ok) throw new Error(told.detail ?? response.statusText);
  return told;
}

// ---------------------------------------------------------------------------------------- a page that is left, and opened again
const KEPT = `table of ${meta("person")} at ${location.pathname}`;

/** Keep what is not sent yet for this tab; false where there is no room for it. */
function keep() {
  try {
    if (rows.length) sessionStorage.setItem(KEPT, JSON.stringify({ file: place.dataset.file, columns, rows, isUnsure, destination: form.elements.destination.value }));
    else sessionStorage.removeItem(KEPT);
    return true;
  } catch {
    return false;
  }
}

/** Show the table that was there when the page was left. */
function restore() {
  const kept = keptAs(KEPT);
  if (!kept) return;
  ({ columns, rows, isUnsure } = kept);
  place.dataset.file = kept.file;
  form.elements.destination.value = kept.destination;
  if (isUnsure) show(`Nobody knows whether all of ${kept.file} was sent: look at Events before you send again.`, "bad");
  else show(`${kept.file}, as you left it.`);
}

function remove() {
  rows = [];
  byId("rows-of-table").replaceChildren();
  byId("table-file").value = "";
  byId("table-file").focus();
}

// -------------------------------------------------------------------------------------------------------- a table that is dropped
async function take(file) {
  rows = [];
  place.dataset.file = file.name;
  say("", `Reading ${file.name} …`);
  try {
    const told = await check(file, false);
    if (told.wrong.length) return say("bad", `${file.name} cannot be read as records of this schema:`, make("ul", {}, ...told.wrong.map((each) => make("li", {}, ...prose(each)))));
    [rows, columns, isUnsure] = [told.rows, told.columns, false];
    show(`${file.name}: ${told.said}.`);
  } catch (error) {
    say("bad", `${file.name} was not read: ${error.message}`);
  }
}

const bad = () => rows.filter((row) => row.wrong.length || row.record === null);
const good = () => rows.filter((row) => !row.wrong.length && row.record !== null);
const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

function show(said, kind = "") {
  const [fit, misfit] = [good(), bad()];
  const parts = [make("p", { class: `note ${kind}`, role: "status" }, said, " ", `${count(fit.length, "row")} fit${fit.length === 1 ? "s" : ""}, ${misfit.length.toLocaleString("en")} ${misfit.length === 1 ? "does" : "do"} not.`)];
  if (misfit.length) parts.push(grid(misfit));
  if (misfit.length > SHOWN) parts.push(make("p", { class: "hint" }, `The first ${SHOWN} that do not fit are shown.`));
  if (fit.length) parts.push(make("details", {}, make("summary", {}, `How cells become values: row ${fit[0].number}`), make("pre", { tabindex: 0, "aria-label": "Record" }, JSON.stringify(JSON.parse(fit[0].record), null, 2))));
  const actions = make("p", { class: "actions" });
  if (fit.length) actions.append(make("button", { type: "button", onclick: sendAll }, `Send ${count(fit.length, "row")}`), " ");
  if (misfit.length) actions.append(make("button", { type: "button", class: "plain", onclick: again }, "Check again"), " ");
  if (rows.length) actions.append(make("button", { type: "button", class: "plain", onclick: remove }, "Remove the table"));
  byId("rows-of-table").replaceChildren(...parts, actions);
}

/** The rows that do not fit; columns with something wrong stand first, so that nobody has to look for them sideways. */
function grid(misfit) {
  const wrong = new Set(misfit.slice(0, SHOWN).flatMap((row) => row.wrong.map((each) => each.column)));
  const order = [...columns.keys()].sort((one, other) => wrong.has(other) - wrong.has(one));
  const head = make("tr", {}, make("th", { scope: "col" }, "Row"), ...order.map((index) => make("th", { scope: "col" }, columns[index])));
  const body = misfit.slice(0, SHOWN).map((row) => {
    const whole = row.wrong.filter((each) => each.column === null);
    const cells = order.filter((index) => index < row.cells.length).map((index) => cell(row, row.cells[index], index));
    return make("tr", {}, make("th", { scope: "row" }, String(row.number), ...whole.map((each) => make("p", { class: "wrong" }, ...prose(each.said)))), ...cells);
  });
  return make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Rows that do not fit" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

function cell(row, text, index) {
  const wrong = row.wrong.filter((each) => each.column === index);
  const whole = row.wrong.some((each) => each.column === null);
  const name = { "data-name": columns[index] };
  if (!wrong.length && !whole) return make("td", name, text);
  const id = `wrong-${row.number}-${index}`;
  const input = make("input", { value: text, "aria-label": `${columns[index]} of row ${row.number}`, "aria-invalid": wrong.length > 0 && "true", "aria-describedby": wrong.length > 0 && id });
  input.addEventListener("input", () => { row.cells[index] = input.value; });
  return make("td", name, input, ...(wrong.length ? [make("p", { class: "wrong", id }, ...prose(wrong.map((each) => each.said).join(" ")))] : []));
}

const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

/** The rows that do not fit, with what was changed in them, as a table of its own. */
async function again() {
  const misfit = bad();
  const text = [columns, ...misfit.map((row) => row.cells)].map((cells) => cells.map(quoted).join(",")).join("\r\n");
  try {
    const told = await check(text, true);
    if (told.rows.length !== misfit.length) throw new Error(told.wrong[0] ?? "a row is empty now");
    misfit.forEach((row, index) => Object.assign(row, { record: told.rows[index].record, wrong: told.rows[index].wrong, cells: told.rows[index].cells }));
    show("Checked again.");
  } catch (error) {
    show(`It was not checked: ${error.message}`, "bad");
  }
}

async function sendAll() {
  const sent = good();
  isUnsure = true;
  for (const button of place.querySelectorAll("button")) button.disabled = true;
  try {
    const response = await post("/ingress/record-json", query(form), sent.map((row) => row.record).join("\n"), "application/x-ndjson");
    const lines = (await response.text()).trim().split("\n").map((line) => JSON.parse(line));
    if (!response.ok) throw new Error(lines[0].detail ?? response.statusText);
    const accepted = new Set();
    for (const line of lines) {
      const row = sent[line.line - 1];
      if (!row) continue;
      if (line.status < 400) accepted.add(row);
      else row.wrong = [{ column: null, said: line.detail }];
    }
    rows = rows.filter((row) => !accepted.has(row));
    isUnsure = false;
    const left = rows.length ? "" : " That is all of the table.";
    show(`${count(accepted.size, "row")} sent and accepted.${left}`, "good");
  } catch (error) {
    show(`Nobody knows whether all was sent: ${error.message} Look at Events before you send again.`, "bad");
  }
}

function say(kind, ...parts) {
  byId("rows-of-table").replaceChildren(make("div", { class: `note ${kind}`, role: "status" }, ...parts));
}

place.hidden = false;
restore();
window.addEventListener("pagehide", keep);
window.addEventListener("beforeunload", (event) => { if (!keep() && rows.length) event.preventDefault(); }); // the browser asks
document.querySelector(".who")?.addEventListener("submit", () => { rows = []; }); // who signs out leaves nothing
byId("table-file").addEventListener("change", (event) => { if (event.target.files.length) take(event.target.files[0]); });
place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("dropping"); });
place.addEventListener("dragleave", () => place.classList.remove("dropping"));
place.addEventListener("drop", (event) => {
  event.preventDefault();
  place.classList.remove("dropping");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});
