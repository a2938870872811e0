// The review of a report. It shows one example at a time; the user decides that its label is right,
// another, or that it is not usable. Data is shown as text only (textContent); nothing is sent.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("review-data").textContent);
  const part = (name) => document.getElementById(`review-${name}`);
  const COLUMNS = ["origin", "content_hash", "given_label", "decision", "label"];
  const DECISIONS = ["right", "other", "unusable", "undecided"];
  const examples = new Map(data.examples.map((example) => [example.origin, example]));
  // By origin, in the order of the decisions; includes examples that are not on this page.
  const decisions = new Map();
  let shown = data.examples, at = 0, kept = true, changed = false;

  const decided = (example) => {
    const row = decisions.get(example.origin);
    return row !== undefined && row.decision !== "undecided";
  };
  const say = (text) => { part("message").textContent = text; };
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // Storage ---------------------------------------------------------------------------------

  function note(row) {
    decisions.delete(row.origin);
    decisions.set(row.origin, row);
  }

  function keep() {
    try {
      localStorage.setItem(data.key, JSON.stringify([...decisions.values()]));
      kept = true;
    } catch (error) {
      kept = false;
    }
    part("not-kept").hidden = kept;
  }

  function restore() {
    for (const [origin, hash, given, decision, label] of data.earlier)
      note({ origin, hash, given, decision, label, earlier: true });
    try {
      // Tests writing with another key: stored decisions are not overwritten before a new one.
      localStorage.setItem(`${data.key} probe`, "");
      localStorage.removeItem(`${data.key} probe`);
      for (const row of JSON.parse(localStorage.getItem(data.key) || "[]"))
        if (typeof row.origin === "string" && DECISIONS.includes(row.decision)) note(row);
    } catch (error) {
      part("not-kept").hidden = kept = false;
    }
  }

  // corrections.csv -------------------------------------------------------------------------

  // Same as `cell` and `text_of` in data/origins.py: a cell is one line, and never starts like a
  // formula of a spreadsheet.
  const SIGNS = { "\\": "\\\\", "\n": "\\n", "\r": "\\r" };
  const escaped = (text) => {
    const line = text.replace(/[\\\n\r]/g, (sign) => SIGNS[sign]);
    return /^'*[=+\-@\t]/.test(line) ? `'${line}` : line;
  };
  const unescaped = (cell) => cell.replace(/^'('*[=+\-@\t])/, "$1")
    .replace(/\\[\\nr]/g, (found) => ({ "\\\\": "\\", "\\n": "\n", "\\r": "\r" })[found]);
  const quoted = (text) => `"${escaped(text).replaceAll('"', '""')}"`;

  function asCsv() {
    const rows = [...decisions.values()].map((row) =>
      [row.origin, row.hash, row.given, row.decision, row.label].map(quoted).join(","));
    return [COLUMNS.join(","), ...rows, ""].join("\n");
  }

  function download() {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([asCsv()], { type: "text/csv;charset=utf-8" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    changed = false;
    say(`corrections.csv has ${decisions.size} decisions: train with --corrections=corrections.csv.`);
  }

  function parsed(text) {
    const first = text.split("\n", 1)[0];
    const count = (mark) => first.split(mark).length;
    const mark = [",", ";", "\t"].sort((one, other) => count(other) - count(one))[0];
    const rows = [];
    let row = [], cell = "", inside = false;
    const endRow = () => { rows.push([...row, cell]); row = []; cell = ""; };
    for (let i = 0; i < text.length; i++) {
      const letter = text[i];
      if (inside && letter === '"' && text[i + 1] === '"') { cell += '"'; i++; }
      else if (letter === '"' && (inside || cell === "")) inside = !inside;
      else if (inside) cell += letter;
      else if (letter === mark) { row.push(cell); cell = ""; }
      else if (letter === "\n") endRow();
      else if (letter !== "\r") cell += letter;
    }
    if (cell || row.length) endRow();
    return rows.filter((cells) => cells.some((one) => one.trim()));
  }

  // The name of a class as in the data; a spreadsheet may have turned 001 into 1.
  function className(cell) {
    if (data.classes.includes(cell)) return cell;
    const same = data.classes.filter((name) =>
      cell !== "" && name.trim() !== "" && Number(name) === Number(cell));
    return same.length === 1 ? same[0] : null;
  }

  function load(text) {
    const [header, ...rows] = parsed(text.replace(/^\ufeff/, ""));
    const names = (header || []).map((name) => name.trim().toLowerCase());
    if (!names.includes("origin") || !names.includes("decision"))
      return say("This is not a corrections.csv: it needs the columns origin and decision.");
    let taken = 0, unfit = 0;
    for (const cells of rows) {
      const value = (name) => unescaped((cells[names.indexOf(name)] || "").trim());
      const origin = value("origin");
      const example = examples.get(origin);
      const decision = value("decision").toLowerCase();
      const other = value("content_hash") && example && example.hash &&
        !Number.isFinite(Number(value("content_hash"))) &&
        value("content_hash").toLowerCase() !== example.hash;
      const given = example ? data.classes[example.given] : className(value("given_label")) || "";
      const label = decision === "right" ? given
        : decision === "other" ? className(value("label")) : "";
      if (!origin || !DECISIONS.includes(decision) || other || label === null) { unfit++; continue; }
      note({ origin, hash: example ? example.hash : value("content_hash"), given, decision, label });
      taken++;
    }
    changed = true;
    keep();
    show(nextOpen(-1));
    say(`${taken} decisions loaded` +
      (unfit ? `; ${unfit} rows were ignored: other content, or not understood.` : "."));
  }

  // Display ---------------------------------------------------------------------------------

  function nextOpen(from) {
    for (let step = 1; step <= shown.length; step++) {
      const place = (from + step) % shown.length;
      if (!decisions.has(shown[place].origin)) return place;
    }
    return Math.min(Math.max(from, 0), Math.max(shown.length - 1, 0));
  }

  function show(place) {
    at = Math.min(Math.max(place, 0), Math.max(shown.length - 1, 0));
    const example = shown[at];
    closeList();
    part("card").hidden = !example;
    part("none").hidden = Boolean(example);
    if (example) {
      const row = decisions.get(example.origin);
      const given = data.classes[example.given], suggested = data.classes[example.suggested];
      part("given").textContent = given;
      part("suggested").textContent = suggested;
      part("origin").textContent = example.origin;
      part("quality").textContent =
        `label quality ${example.quality}${example.suspected ? ", suspected" : ""}`;
      part("place").textContent = `${at + 1} of ${shown.length}`;
      const content = part("content");
      if (typeof example.shown === "string") {
        const image = element("img");
        image.src = example.shown;
        image.alt = `Training example ${example.origin}, labelled ${given}`;
        image.addEventListener("load", () => {
          image.classList.toggle("small", image.naturalWidth < 16 && image.naturalHeight < 16);
        });
        content.replaceChildren(image);
      } else {
        const list = element("dl", undefined, "features");
        example.shown.forEach((value, number) => {
          const pair = element("div");
          pair.append(element("dt", data.features[number]), " ", element("dd", value));
          list.append(pair);
        });
        content.replaceChildren(list);
        if (data.more_features) content.append(element("p", `and ${data.more_features} more`, "note"));
      }
      for (const decision of DECISIONS)
        part(decision).setAttribute("aria-pressed", String(Boolean(row) && row.decision === decision));
      // A simulation knows the true label; it is shown only after a decision.
      const truth = row && example.true !== null ? `; the true label is ${data.classes[example.true]}` : "";
      part("verdict").textContent = (!row ? "no decision yet"
        : row.decision === "other" ? `decided: the label is ${row.label}`
        : row.decision === "right" ? `decided: ${row.given} is right`
        : row.decision === "unusable" ? "decided: not usable" : "left undecided") + truth;
    }
    progress();
  }

  function progress() {
    const done = data.examples.filter(decided).length;
    const open = data.examples.filter((one) => decisions.has(one.origin)).length - done;
    const elsewhere = [...decisions.values()].filter((row) =>
      !examples.has(row.origin) && row.decision !== "undecided").length;
    part("bar").max = Math.max(data.examples.length, 1);
    part("bar").value = done;
    part("progress").textContent = `${done} of ${data.examples.length} decided` +
      (open ? `, ${open} left undecided` : "") +
      (elsewhere ? `, and ${elsewhere} more that are not on this page` : "");
    const last = [...decisions.values()].filter((row) =>
      !row.earlier && row.decision !== "undecided").slice(-50);
    const found = last.filter((row) => row.decision !== "right").length;
    const text = `Wrong labels or unusable examples in the last ${last.length}: ${found}`;
    part("yield").textContent = last.length < 50
      ? (last.length ? `${text}. After 50 decisions, this line says whether more are worth it.` : "")
      : found <= 5 ? `${text}: more review will hardly find anything.`
      : `${text}: more review is worth it.`;
  }

  function choose(name) {
    shown = name === "" ? data.examples
      : data.examples.filter((example) => example.given === Number(name));
    show(nextOpen(-1));
  }

  // Decisions -------------------------------------------------------------------------------

  function decide(decision, label = "") {
    const example = shown[at];
    if (!example) return;
    const given = data.classes[example.given];
    if (decision === "right" || label === given) [decision, label] = ["right", given];
    note({ origin: example.origin, hash: example.hash, given, decision, label });
    changed = true;
    keep();
    const next = shown.findIndex((one, place) => place > at && !decisions.has(one.origin));
    show(next >= 0 ? next : nextOpen(at));
    part("panel").focus({ preventScroll: true });
    say(decisions.size && data.examples.every((one) => decisions.has(one.origin))
      ? "All examples on this page are done: download corrections.csv." : "");
  }

  function options() {
    const wanted = part("filter").value.trim().toLowerCase();
    const suggested = shown[at].suggested;
    const labels = [suggested, ...data.classes.keys()]
      .filter((label, place) => place === 0 || label !== suggested)
      .filter((label) => data.classes[label].toLowerCase().includes(wanted));
    part("labels").replaceChildren(...labels.map((label) => {
      const button = element("button",
        data.classes[label] + (label === suggested ? " (suggested)" : ""));
      button.type = "button";
      button.addEventListener("click", () => decide("other", data.classes[label]));
      const item = element("li");
      item.append(button);
      return item;
    }));
  }

  function openList() {
    if (!shown[at]) return;
    part("list").hidden = false;
    part("other").setAttribute("aria-expanded", "true");
    part("filter").value = "";
    options();
    part("filter").focus();
  }

  function closeList() {
    part("list").hidden = true;
    part("other").setAttribute("aria-expanded", "false");
  }

  // Keys work only within the review, so that reading the page decides nothing.
  const KEYS = {
    ArrowLeft: () => show(at - 1), k: () => show(at - 1),
    ArrowRight: () => show(at + 1), j: () => show(at + 1),
    1: () => decide("right"), r: () => decide("right"),
    2: openList, o: openList, s: () => shown[at] && decide("other", data.classes[shown[at].suggested]),
    3: () => decide("unusable"), u: () => decide("unusable"),
    4: () => decide("undecided"), x: () => decide("undecided"),
    n: () => show(nextOpen(at)), d: download,
  };

  function inList(event) {
    const buttons = [...part("labels").querySelectorAll("button")];
    const place = buttons.indexOf(document.activeElement);
    if (event.key === "Escape") {
      closeList();
      part("panel").focus({ preventScroll: true });
    } else if (event.key === "Enter" && place < 0) {
      if (buttons.length) buttons[0].click();
    } else if (event.key === "ArrowDown" && buttons.length) {
      buttons[Math.min(place + 1, buttons.length - 1)].focus();
    } else if (event.key === "ArrowUp") {
      (place > 0 ? buttons[place - 1] : part("filter")).focus();
    } else return;
    event.preventDefault();
  }

  part("panel").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (part("list").contains(event.target)) return inList(event);
    if (["INPUT", "SELECT"].includes(event.target.tagName)) return;
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  });
  part("right").addEventListener("click", () => decide("right"));
  part("unusable").addEventListener("click", () => decide("unusable"));
  part("undecided").addEventListener("click", () => decide("undecided"));
  part("other").addEventListener("click", () => (part("list").hidden ? openList() : closeList()));
  part("filter").addEventListener("input", options);
  part("previous").addEventListener("click", () => show(at - 1));
  part("next").addEventListener("click", () => show(at + 1));
  part("download").addEventListener("click", download);
  part("class").addEventListener("change", (event) => choose(event.target.value));
  part("load").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) load(await file.text());
  });
  // The same page in another tab.
  addEventListener("storage", (event) => { if (event.key === data.key) { restore(); show(at); } });
  addEventListener("beforeunload", (event) => { if (!kept && changed) event.preventDefault(); });

  data.classes.forEach((name, label) => {
    const number = data.examples.filter((example) => example.given === label).length;
    if (!number) return;
    const option = element("option", `${name} (${number})`);
    option.value = String(label);
    part("class").append(option);
  });
  restore();
  show(nextOpen(-1));
  part("panel").hidden = false;
})();
