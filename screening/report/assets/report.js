// The result page of a run. Everything it shows comes from the JSON in the element `data`; text from data goes into the
// page as text, never as HTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  // Without a prototype: a material may be called "constructor".
  for (const name of ["spectra", "dft", "structures", "verdicts", "projections", "others"]) {
    data[name] = Object.assign(Object.create(null), data[name]);
  }
  const byId = new Map(data.picks.map((pick) => [pick.material_id, pick]));
  const $ = (id) => document.getElementById(id);
  const colors = ["#d95f02", "#7570b3", "#66a61e", "#e7298a", "#a6761d"];
  const DFT = "#1b6ca8";
  const unknown = "–";

  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // Plotly reads some tags in labels.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");

  function show(value) {
    if (value === null || value === undefined || value === "") return unknown;
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value === "number" && Math.abs(value) >= 1e6) return value.toExponential(2).replace("e+", "e");
    if (typeof value !== "number" || Number.isInteger(value)) return String(value);
    return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
  }

  const two = (value) => (typeof value === "number" ? value.toFixed(2) : unknown);
  const width = (pick, key, open) => (typeof pick[key] === "number" ? (pick[open] ? "≥" : "") + two(pick[key]) : unknown);

  // The list
  const columns = [
    { key: "pick_rank", label: "#", number: true, text: (p) => show(p.pick_rank) },
    { key: "formula", label: "Formula", text: (p) => show(p.formula) },
    { key: "consensus_confidence", label: "Conf.", number: true, text: (p) => two(p.consensus_confidence) },
    { key: "verdict", label: "Verdict", text: (p) => show(p.verdict).split(":")[0] },
    { key: "gap_width_ev", label: "Width", number: true, text: (p) => width(p, "gap_width_ev", "gap_open_at_bottom") },
    { key: "gap_top_ev", label: "Top", number: true, text: (p) => two(p.gap_top_ev) },
    { key: "n_models_for", label: "By", number: true, text: (p) => `${p.n_models_for}/${p.n_models}` },
    { key: "dft_verdict", label: "By DFT", text: (p) => show(p.dft_verdict) },
    { key: "trust", label: "Trust", text: (p) => show(p.trust) },
    { key: "false_metal_risk", label: "False metal?", text: (p) => show(p.false_metal_risk) },
    { key: "material_id", label: "Material", text: (p) => p.material_id, className: "id" },
    { key: "domain_distance", label: "Distance", number: true, text: (p) => two(p.domain_distance) },
  ];
  // A search for something else than gapped metals shows what its condition names.
  if (data.target.condition) {
    const words = data.target.condition.split(/\W+/);
    const named = Object.keys(data.columns).filter((key) => words.includes(key) && !columns.some((column) => column.key === key));
    columns.splice(2, 0, ...named.map((key) => ({ key, label: data.columns[key].label || key, number: data.picks.some((p) => typeof p[key] === "number"), text: (p) => show(p[key]) })));
  }
  const known = (key) => data.picks.some((pick) => pick[key] !== null && pick[key] !== undefined);
  const isListed = (column) => known(column.key) && (column.key !== "verdict" || data.of_files);
  let listed = columns.filter(isListed);
  const state = { sort: "pick_rank", down: false, words: "", dft: "", symbol: "", chosen: null };

  function compare(a, b) {
    const [x, y] = [a[state.sort], b[state.sort]];
    const [noX, noY] = [x === null || x === undefined, y === null || y === undefined];
    if (noX || noY) return noX - noY;
    const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y));
    return state.down ? -order : order;
  }

  function passes(pick) {
    if (state.dft && pick.dft_verdict !== state.dft) return false;
    if (state.symbol && !String(pick.chemsys).split("-").includes(state.symbol)) return false;
    const text = [pick.material_id, pick.formula, pick.chemsys, pick.gapped_metal_by, pick.space_group_symbol, pick.choice, pick.trust]
      .join(" ").toLowerCase();
    return state.words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  function drawHead() {
    const row = element("tr");
    for (const column of listed) {
      const head = element("th", undefined, column.number ? "number" : "");
      const described = data.columns[column.key];
      const button = element("button", column.label + (state.sort === column.key ? (state.down ? " ▾" : " ▴") : ""));
      if (described) button.title = described.description + (described.unit ? ` In ${described.unit}.` : "");
      button.addEventListener("click", () => {
        state.down = state.sort === column.key ? !state.down : false;
        state.sort = column.key;
        drawHead();
        drawList();
      });
      head.append(button);
      row.append(head);
    }
    $("head").replaceChildren(row);
  }

  function drawList() {
    const picks = data.picks.filter(passes).sort(compare);
    $("count").textContent = `${picks.length.toLocaleString("en")} of ${data.picks.length.toLocaleString("en")}`;
    $("rows").replaceChildren(...picks.map((pick) => {
      const row = element("tr", undefined, pick.material_id === state.chosen ? "chosen" : "");
      row.dataset.id = pick.material_id;
      for (const column of listed) {
        row.append(element("td", column.text(pick), column.className || (column.number ? "number" : "")));
      }
      row.addEventListener("click", () => choose(pick.material_id));
      return row;
    }));
  }

  // One pick
  let viewer = null;

  function choose(id) {
    state.chosen = id;
    for (const row of $("rows").children) row.classList.toggle("chosen", row.dataset.id === id);
    const pick = byId.get(id);
    $("name").textContent = `${pick.formula} (${id})`;
    $("verdict").replaceChildren(...verdict(pick));
    $("doubts").textContent = doubts(pick);
    $("models").replaceChildren(...(data.verdicts[id] || []).map((sentence) => element("li", sentence)));
    $("choice").textContent = data.of_files || !pick.choice ? "" : pick.choice + (pick.dft_reason ? ` – ${pick.dft_status}: ${pick.dft_reason}` : "");
    drawSpectrum(pick);
    drawStructure(id);
    drawProperties(pick);
    drawDownloads(pick);
    history.replaceState(null, "", "#" + encodeURIComponent(id));
  }

  function verdict(pick) {
    if (pick.verdict) {
      const kind = pick.verdict.startsWith("unsure") ? "unsure" : pick.verdict.startsWith("gapped metal") ? "gapped" : "";
      return [element("span", pick.verdict.charAt(0).toUpperCase() + pick.verdict.slice(1) + ".", kind)];
    }
    const condition = data.target.condition;
    if (condition) {
      const named = `${pick.n_models_for} of ${pick.n_models} models: a hit of ${condition}. `;
      return [element("span", named), element("span", pick.dft_verdict === "not computed" ? "Not computed by DFT." : "")];
    }
    const named = pick.n_models_for
      ? `${pick.n_models_for} of ${pick.n_models} models: gapped metal, gap ${pick.gap_open_at_bottom ? "at least " : ""}${two(pick.gap_width_ev)} eV wide, top at ${two(pick.gap_top_ev)} eV. `
      : "No model calls it a gapped metal. ";
    const computed = pick.dft_verdict !== "not computed";
    const words = element("span", computed ? `DFT: ${pick.dft_verdict}.` : "Not computed by DFT.");
    if (computed) words.className = pick.dft_verdict === "gapped metal" ? "gapped" : "refuted";
    return [element("span", named), words];
  }

  // What speaks against the prediction, beside DFT.
  function doubts(pick) {
    const said = [];
    if (pick.trust && pick.trust !== "ok") said.push(`Trust: ${pick.trust}, ${pick.trust_reason}.`);
    if (pick.false_metal_reason) said.push(`Risk of a false metal: ${pick.false_metal_risk}, ${pick.false_metal_reason}.`);
    return said.join(" ");
  }

  const rgba = (hex, alpha) => `rgba(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",")},${alpha})`;

  function traces(id) {
    const made = [];
    const computed = data.dft[id];
    if (computed) {
      made.push({ x: data.energies, y: computed, name: "DFT", line: { color: DFT, width: 1.5, shape: "hvh" }, fill: "tozeroy", fillcolor: rgba(DFT, 0.16) });
    }
    Object.entries(data.spectra[id] || {}).forEach(([model, spectrum]) => {
      const color = colors[data.models.indexOf(model) % colors.length];
      if (spectrum.uncertainty) {
        const high = spectrum.edos.map((y, i) => y + spectrum.uncertainty[i]);
        const low = spectrum.edos.map((y, i) => Math.max(y - spectrum.uncertainty[i], 0));
        made.push({ x: [...data.energies, ...[...data.energies].reverse()], y: [...high, ...low.reverse()], fill: "toself", fillcolor: rgba(color, 0.15), line: { width: 0 }, hoverinfo: "skip", legendgroup: model, showlegend: false });
      }
      made.push({ x: data.energies, y: spectrum.edos, name: plain(model), legendgroup: model, line: { color, width: 2 } });
    });
    Object.entries(data.projections[id] || {}).forEach(([shell, values], i) => {
      made.push({ x: data.energies, y: values, name: plain(shell), visible: "legendonly", line: { color: colors[i % colors.length], width: 1.2, dash: "dot" } });
    });
    Object.entries(data.others[id] || {}).forEach(([model, spectrum]) => {
      made.push({ x: data.energies, y: spectrum.edos, name: plain(`${model}, run before`), visible: "legendonly", line: { color: colors[Math.max(data.models.indexOf(model), 0) % colors.length], width: 1.5, dash: "dash" } });
    });
    return made;
  }

  // The rule is per primitive cell, or per atom; the spectra are of the cell as given.
  function thresholdOf(pick) {
    if (data.per_atom) return data.threshold * pick.nsites;
    return data.threshold * (pick.nsites_primitive ? pick.nsites / pick.nsites_primitive : 1);
  }

  function drawSpectrum(pick) {
    const threshold = thresholdOf(pick);
    const shapes = [
      { type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: "#444", dash: "dash", width: 1 } },
      { type: "line", xref: "paper", x0: 0, x1: 1, y0: threshold, y1: threshold, line: { color: "#a33b2c", dash: "dot", width: 1 } },
    ];
    const shade = (low, high, color) => {
      if (typeof low === "number" && typeof high === "number") shapes.push({ type: "rect", x0: low, x1: high, yref: "paper", y0: 0, y1: 1, fillcolor: color, opacity: 0.16, line: { width: 0 }, layer: "below" });
    };
    if (pick.n_models_for || pick.verdict) shade(pick.gap_bottom_ev, pick.gap_top_ev, "#7a9e7e");
    if (pick.dft_verdict === "gapped metal") shade(pick.dft_gap_bottom_ev, pick.dft_gap_top_ev, DFT);
    const low = $("low").checked;
    Plotly.react("spectrum", traces(pick.material_id), {
      margin: { l: 55, r: 10, t: 10, b: 45 }, hovermode: "x unified", template: "none", shapes,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: "E − E<sub>F</sub> (eV)" }, range: [data.energies[0], data.energies[data.energies.length - 1]], zeroline: false },
      yaxis: { title: { text: "DOS (states/eV per cell)" }, rangemode: "tozero", ...(low ? { range: [0, 4 * threshold] } : { autorange: true }) },
      annotations: [{ xref: "paper", x: 1, y: threshold, xanchor: "right", yanchor: "bottom", showarrow: false, text: "threshold", font: { size: 10, color: "#a33b2c" } }],
    }, { displaylogo: false, responsive: true });
  }

  function drawStructure(id) {
    const cif = data.structures[id];
    $("structure").hidden = !cif;
    if (!cif) return;
    try {
      const isNew = !viewer;
      viewer = viewer || $3Dmol.createViewer($("structure"), { backgroundColor: "white" });
      viewer.removeAllModels();
      viewer.removeAllShapes();
      viewer.removeAllLabels();
      const model = viewer.addModel(cif, "cif", { doAssembly: true, normalizeAssembly: true });
      viewer.addUnitCell(model);
      viewer.setStyle({}, { sphere: { scale: 0.32, colorscheme: "Jmol" }, stick: { radius: 0.09, colorscheme: "Jmol" } });
      viewer.zoomTo();
      // Not along an axis, where atoms would hide each other.
      if (isNew) {
        viewer.rotate(25, "y");
        viewer.rotate(15, "x");
      }
      viewer.render();
    } catch (problem) {
      $("structure").textContent = "This browser cannot draw in three dimensions (WebGL); the CIF file can be downloaded.";
    }
  }

  function drawProperties(pick) {
    const rows = Object.entries(data.columns)
      .filter(([key]) => pick[key] !== null && pick[key] !== undefined && pick[key] !== "" && !["link", "choice"].includes(key))
      .map(([key, column]) => {
        const row = element("tr");
        const name = element("td", column.label || key);
        name.title = column.description;
        row.append(name, element("td", show(pick[key]), "number"), element("td", column.unit));
        return row;
      });
    $("properties").replaceChildren(...rows);
  }

  function spectrumCsv(id) {
    const columns = [["energy_ev", data.energies]];
    if (data.dft[id]) columns.push(["DFT", data.dft[id]]);
    Object.entries(data.spectra[id] || {}).forEach(([model, spectrum]) => {
      columns.push([model, spectrum.edos]);
      if (spectrum.uncertainty) columns.push([model + " standard deviation", spectrum.uncertainty]);
    });
    const lines = data.energies.map((_, i) => columns.map(([, values]) => values[i]).join(","));
    return [columns.map(([name]) => `"${name.replace(/"/g, '""')}"`).join(","), ...lines].join("\n") + "\n";
  }

  function picksCsv() {
    const keys = Object.keys(data.columns);
    const cell = (value) => (value === null || value === undefined ? "" : `"${String(value).replace(/"/g, '""')}"`);
    const rows = data.picks.filter(passes).sort(compare).map((pick) => keys.map((key) => cell(pick[key])).join(","));
    return [keys.join(","), ...rows].join("\n") + "\n";
  }

  function download(link, name, text) {
    if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = name.replace(/[^A-Za-z0-9_.+-]/g, "_");
  }

  function drawDownloads(pick) {
    const id = pick.material_id;
    $("cif").hidden = !data.structures[id];
    if (data.structures[id]) download($("cif"), `${id}.cif`, data.structures[id]);
    download($("csv"), `${id}_dos.csv`, spectrumCsv(id));
    $("link").hidden = !/^https:\/\//.test(pick.link || "");
    if (!$("link").hidden) $("link").href = pick.link;
  }

  // The rest of the page
  function drawTable(place, head, rows, numbers) {
    const table = element("table");
    const top = element("tr");
    head.forEach((text, i) => top.append(element("th", text, i >= numbers ? "number" : "")));
    table.append(top);
    for (const cells of rows) {
      const row = element("tr");
      cells.forEach((text, i) => row.append(element("td", text, i >= numbers ? "number" : "")));
      table.append(row);
    }
    place.replaceChildren(table);
  }

  function drawPeriodic() {
    if (!$("periodic")) return;
    const most = Math.max(1, ...data.elements.map((one) => one.n));
    $("periodic").replaceChildren(...data.elements.map((one) => {
      const button = element("button", one.symbol);
      button.style.gridColumn = one.group;
      button.style.gridRow = one.row;
      button.style.background = one.n ? `rgba(27,108,168,${(0.12 + 0.7 * Math.sqrt(one.n / most)).toFixed(2)})` : "#fff";
      button.title = `${one.symbol}: ${one.n} predicted gapped metals`;
      button.append(element("small", one.n || ""));
      button.addEventListener("click", () => {
        state.symbol = state.symbol === one.symbol ? "" : one.symbol;
        $("symbol").textContent = state.symbol ? `with ${state.symbol} ×` : "";
        $("symbol").hidden = !state.symbol;
        drawList();
      });
      return button;
    }));
  }

  function drawFunnel() {
    if (!$("funnel")) return;
    const most = Math.max(1, ...data.funnel.map((step) => step.remaining));
    for (const step of data.funnel) {
      const bar = element("div", step.remaining.toLocaleString("en") + (step.removed ? ` (${step.removed.toLocaleString("en")} removed)` : ""), "bar");
      bar.style.width = `${(100 * step.remaining) / most}%`;
      $("funnel").append(element("div", step.name), bar);
    }
  }

  // How often DFT agrees, by confidence: Wilson's interval of a share.
  function wilson(hits, n, z = 1.96) {
    const share = hits / n;
    const middle = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
    const half = (z * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n))) / (1 + (z * z) / n);
    return [share, Math.max(0, middle - half), Math.min(1, middle + half)];
  }

  function drawReliability() {
    if (!$("reliable")) return;
    $("reliable").hidden = !data.reliability.length;
    if (!data.reliability.length) return;
    const models = [...new Set(data.reliability.map((one) => one.model))];
    const bins = [0, 1, 2, 3, 4];
    const lines = models.map((model) => {
      const points = bins.map((bin) => {
        const rows = data.reliability.filter((one) => one.model === model && Math.min(4, Math.floor(one.confidence * 5)) === bin);
        return rows.length ? { x: rows.reduce((sum, one) => sum + one.confidence, 0) / rows.length, n: rows.length, y: wilson(rows.filter((one) => one.truth).length, rows.length) } : null;
      }).filter(Boolean);
      return {
        x: points.map((p) => p.x), y: points.map((p) => p.y[0]), name: plain(model), mode: "lines+markers",
        error_y: { array: points.map((p) => p.y[2] - p.y[0]), arrayminus: points.map((p) => p.y[0] - p.y[1]), thickness: 1 },
        text: points.map((p) => `${p.n} materials`), line: { color: colors[Math.max(data.models.indexOf(model), 0) % colors.length] },
      };
    });
    const same = { x: [0, 1], y: [0, 1], name: "as often as said", line: { color: "#999", dash: "dot", width: 1 }, hoverinfo: "skip" };
    const move = () => {
      const cut = Number($("cut").value);
      $("cutat").textContent = show(cut);
      Plotly.react("reliability", [same, ...lines], {
        margin: { l: 55, r: 10, t: 10, b: 45 }, template: "none", legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
        xaxis: { title: { text: "confidence" }, range: [-0.02, 1.02] }, yaxis: { title: { text: "share by DFT" }, range: [-0.02, 1.02] },
        shapes: [{ type: "line", x0: cut, x1: cut, yref: "paper", y0: 0, y1: 1, line: { color: "#444", dash: "dash", width: 1 } }],
      }, { displaylogo: false, responsive: true });
      drawTable($("cutscores"), ["Model", "Precision", "Recall", "tp", "fp", "fn", "tn"], models.map((model) => {
        const rows = data.reliability.filter((one) => one.model === model);
        const count = (found, truth) => rows.filter((one) => (one.confidence >= cut) === found && one.truth === truth).length;
        const [tp, fp, fn, tn] = [count(true, true), count(true, false), count(false, true), count(false, false)];
        return [model, two(tp + fp ? tp / (tp + fp) : null), two(tp + fn ? tp / (tp + fn) : null), show(tp), show(fp), show(fn), show(tn)];
      }), 1);
    };
    $("cut").addEventListener("input", move);
    move();
  }

  function drawComparison() {
    if (!data.comparison) return;
    const found = data.comparison;
    $("compared").hidden = false;
    $("others").textContent = `Before: ${found.before}; after: ${found.after}, this page. Spectra of the run before are in the legend of each pick.`;
    for (const name of ["figures", "conditions", "changed"]) drawTable($(name), found[name].head, found[name].rows, 9);
  }

  // Where a server on this machine serves the page, it predicts the crystals of files that are dropped here.
  function addUpload() {
    if (!document.body.dataset.upload) return;
    $("upload").hidden = false;
    const drop = $("drop");
    const send = async (files) => {
      for (const file of files) {
        $("uploaded").textContent = `Predicting ${file.name} ...`;
        try {
          const answer = await fetch("predict", { method: "POST", body: file, headers: { "X-Mat2spec-File": encodeURIComponent(file.name) } });
          const content = await answer.json();
          if (!answer.ok) throw new Error(content.error);
          take(content);
          $("uploaded").textContent = [`${content.picks.length} of ${file.name} predicted.`, ...content.failed].join(" ");
        } catch (problem) {
          $("uploaded").textContent = `${file.name}: ${problem.message}`;
        }
      }
    };
    $("files").addEventListener("change", (event) => send([...event.target.files]));
    drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); send([...event.dataTransfer.files]); });
  }

  function take(content) {
    const fresh = new Set(content.picks.map((pick) => pick.material_id));
    data.picks = [...content.picks, ...data.picks.filter((pick) => !fresh.has(pick.material_id))];
    for (const pick of content.picks) byId.set(pick.material_id, pick);
    for (const name of ["spectra", "structures", "verdicts", "columns", "projections"]) Object.assign(data[name], content[name]);
    data.models = [...data.models, ...content.models.filter((model) => !data.models.includes(model))];
    listed = columns.filter(isListed);
    $("picks").hidden = $("detail").hidden = false;
    drawHead();
    drawList();
    if (content.picks.length) choose(content.picks[0].material_id);
  }

  function drawCurve() {
    if (!$("curves")) return;
    $("curves").hidden = !data.curve.length;
    if (!data.curve.length) return;
    const thresholds = [...new Set(data.curve.map((row) => row.threshold))].sort((a, b) => a - b);
    const models = [...new Set(data.curve.map((row) => row.model))];
    const lines = models.flatMap((model) => ["precision", "recall"].map((score) => {
      const rows = data.curve.filter((row) => row.model === model).sort((a, b) => a.threshold - b.threshold);
      return { x: rows.map((row) => row.threshold), y: rows.map((row) => row[score]), name: `${plain(model)}, ${score}`, line: { color: colors[data.models.indexOf(model) % colors.length], dash: score === "recall" ? "dot" : "solid" } };
    }));
    const decades = [-3, -2, -1, 0, 1, 2].flatMap((power) => [1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
    const slider = $("threshold");
    slider.max = thresholds.length - 1;
    slider.value = thresholds.reduce((best, t, i) => (Math.abs(t - data.threshold) < Math.abs(thresholds[best] - data.threshold) ? i : best), 0);
    const move = () => {
      const at = thresholds[Number(slider.value)];
      $("at").textContent = `${show(at)} states/eV`;
      Plotly.react("curve", lines, {
        margin: { l: 55, r: 10, t: 10, b: 45 }, template: "none", legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
        xaxis: { title: { text: "DOS threshold of a gap (states/eV)" }, type: "log", tickvals: decades },
        yaxis: { title: { text: "precision, recall" }, range: [-0.02, 1.02] },
        shapes: [{ type: "line", x0: at, x1: at, yref: "paper", y0: 0, y1: 1, line: { color: "#444", dash: "dash", width: 1 } }],
      }, { displaylogo: false, responsive: true });
      const rows = data.curve.filter((row) => row.threshold === at);
      drawTable($("moved"), ["Model", "Precision", "Recall", "tp", "fp", "fn", "tn"], rows.map((row) => [row.model, two(row.precision), two(row.recall), show(row.tp), show(row.fp), show(row.fn), show(row.tn)]), 1);
    };
    slider.addEventListener("input", move);
    move();
  }

  $("filter").addEventListener("input", (event) => { state.words = event.target.value; drawList(); });
  $("dft").addEventListener("change", (event) => { state.dft = event.target.value; drawList(); });
  $("symbol").addEventListener("click", () => { state.symbol = ""; $("symbol").hidden = true; drawList(); });
  $("low").addEventListener("change", () => { if (state.chosen) drawSpectrum(byId.get(state.chosen)); });
  $("all").addEventListener("click", () => download($("all"), "picks.csv", picksCsv()));
  $("dft").hidden = !known("dft_verdict");
  for (const word of [...new Set(data.picks.map((pick) => pick.dft_verdict).filter(Boolean))].sort()) {
    const option = element("option", word);
    option.value = word;
    $("dft").append(option);
  }
  drawHead();
  drawList();
  if ($("merit")) drawTable($("merit"), data.merit.head, data.merit.rows, 3);
  drawPeriodic();
  drawFunnel();
  drawCurve();
  drawReliability();
  drawComparison();
  addUpload();
  let wanted = "";
  try { wanted = decodeURIComponent(location.hash.slice(1)); } catch (problem) { /* not an address of ours */ }
  if (data.picks.length) choose(byId.has(wanted) ? wanted : data.picks[0].material_id);
  $("detail").hidden = !data.picks.length;
  $("picks").hidden = data.of_files && data.picks.length < 2;
  document.querySelector(".columns").classList.toggle("alone", $("picks").hidden);
})();
