/* The map of concepts: a canvas to move and zoom, crops instead of dots from near, and the same concepts as a list. */
(function () {
  "use strict";

  var canvas = document.getElementById("map");
  if (!canvas || !window.atlasMap || !window.atlasHits) return;
  var index = window.atlasIndex, hits = window.atlasHits, side = window.atlasMap.side, places = window.atlasMap.places;
  var form = document.getElementById("map-form"), list = document.getElementById("map-hits");
  var status = document.getElementById("map-count"), told = document.getElementById("map-told");
  var LISTED = 40, PICTURE = 34, LABELS = 12;
  var view = { x: 0.5, y: 0.5, zoom: 1 }, chosen = null, sheets = new Map(), waiting = false;
  var rows = hits.rows().filter(function (row) { return row.type === "concept"; });
  var points = [];
  rows.forEach(function (row, number) {
    if (places[2 * number] < 0) return;
    points.push({ row: row, x: places[2 * number] / side, y: places[2 * number + 1] / side });
  });
  points.sort(function (a, b) { return a.row.share - b.row.share; });

  function style(name) { return getComputedStyle(canvas).getPropertyValue(name).trim(); }

  function shown() {
    var layer = form.elements.layer.value, kind = form.elements.kind ? form.elements.kind.value : "", cls = form.elements.cls.value;
    return points.filter(function (point) {
      return (layer === "" || point.row.layer === Number(layer)) && (kind === "" || point.row.kind === Number(kind)) &&
        (cls === "" || point.row.cls === Number(cls));
    });
  }

  function width() { return canvas.clientWidth; }
  function height() { return canvas.clientHeight; }
  function scale() { return 0.92 * Math.min(width(), height()) * view.zoom; }
  function toScreen(point) {
    return [width() / 2 + (point.x - view.x) * scale(), height() / 2 + (point.y - view.y) * scale()];
  }

  function sheetOf(row) {
    if (row.sheet < 0) return null;
    if (!sheets.has(row.sheet)) {
      var image = new Image();
      image.addEventListener("load", draw);
      image.src = index.sheets[row.sheet][0];
      sheets.set(row.sheet, image);
    }
    var found = sheets.get(row.sheet);
    return found.complete && found.naturalWidth ? found : null;
  }

  function inside(at) { return at[0] > -PICTURE && at[1] > -PICTURE && at[0] < width() + PICTURE && at[1] < height() + PICTURE; }

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(function () { waiting = false; paint(); });
  }

  function paint() {
    var ratio = window.devicePixelRatio || 1, context = canvas.getContext("2d");
    if (canvas.width !== Math.round(width() * ratio) || canvas.height !== Math.round(height() * ratio)) {
      canvas.width = Math.round(width() * ratio);
      canvas.height = Math.round(height() * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width(), height());
    var dot = style("--atlas-bar"), warn = style("--atlas-warn-fg"), ink = style("--md-default-fg-color"), paper = style("--md-default-bg-color");
    var visible = shown().map(function (point) { return [point, toScreen(point)]; }).filter(function (pair) { return inside(pair[1]); });
    var withPictures = visible.length <= 150;
    visible.forEach(function (pair) {
      var row = pair[0].row, at = pair[1], image = withPictures ? sheetOf(row) : null;
      if (image) {
        var sheet = index.sheets[row.sheet], w = image.naturalWidth / sheet[1], h = image.naturalHeight / sheet[2];
        context.drawImage(image, (row.slot % sheet[1]) * w, Math.floor(row.slot / sheet[1]) * h, w, h, at[0] - PICTURE / 2, at[1] - PICTURE / 2, PICTURE, PICTURE);
        if (row.marks & 2) { context.strokeStyle = warn; context.lineWidth = 3; context.strokeRect(at[0] - PICTURE / 2, at[1] - PICTURE / 2, PICTURE, PICTURE); }
        return;
      }
      var r = 2.5 + 5 * Math.sqrt(Math.max(0, row.share));
      context.beginPath();
      if (row.marks & 2) context.rect(at[0] - r, at[1] - r, 2 * r, 2 * r); else context.arc(at[0], at[1], r, 0, 7);
      context.fillStyle = row.marks & 2 ? warn : dot;
      context.globalAlpha = 0.8;
      context.fill();
      context.globalAlpha = 1;
    });
    label(context, visible, ink, paper);
    if (chosen) {
      var spot = toScreen(chosen), half = PICTURE / 2 + 3;
      context.strokeStyle = ink;
      context.lineWidth = 3;
      context.strokeRect(spot[0] - half, spot[1] - half, 2 * half, 2 * half);
    }
  }

  /* Names of the strongest concepts in view, where they do not cover one another. */
  function label(context, visible, ink, paper) {
    var taken = [];
    context.font = "600 12px " + (style("--md-text-font") || "sans-serif");
    context.textAlign = "center";
    visible.slice().reverse().some(function (pair) {
      if (!pair[0].row.named) return false;
      var text = pair[0].row.title, half = context.measureText(text).width / 2, x = pair[1][0], y = pair[1][1] + PICTURE / 2 + 11;
      x = Math.min(Math.max(x, half + 4), width() - half - 4);
      if (y > height() - 4 || taken.some(function (box) { return Math.abs(box[0] - x) < box[2] + half + 8 && Math.abs(box[1] - y) < 18; })) return false;
      taken.push([x, y, half]);
      context.lineWidth = 4;
      context.strokeStyle = paper;
      context.strokeText(text, x, y);
      context.fillStyle = ink;
      context.fillText(text, x, y);
      return taken.length >= LABELS;
    });
  }

  function tell() {
    var all = shown();
    var visible = all.filter(function (point) { var at = toScreen(point); return at[0] >= 0 && at[1] >= 0 && at[0] <= width() && at[1] <= height(); }).reverse();
    status.textContent = visible.length + " of " + all.length + " concepts are in view" + (visible.length > LISTED ? "; the " + LISTED + " with most relevance are listed" : "");
    list.replaceChildren.apply(list, visible.slice(0, LISTED).map(function (point) { return hits.hit({ row: point.row, more: [] }, "", true); }));
    told.replaceChildren();
    if (chosen) {
      var box = hits.element("ul", "hits");
      box.append(hits.hit({ row: chosen.row, more: [] }, "", false));
      told.append(box);
    }
    keep();
  }

  function keep() {
    var state = new URLSearchParams();
    ["layer", "kind", "cls"].forEach(function (name) { if (form.elements[name] && form.elements[name].value) state.set(name, form.elements[name].value); });
    if (chosen) state.set("at", chosen.row.key);
    if (view.zoom !== 1) state.set("view", [view.x.toFixed(3), view.y.toFixed(3), view.zoom.toFixed(2)].join(","));
    try { history.replaceState(null, "", String(state) ? "#" + state : location.pathname); } catch (error) { /* stay */ }
  }

  function restore() {
    var state = new URLSearchParams(location.hash.slice(1)), numbers = (state.get("view") || "").split(",").map(Number);
    ["layer", "kind", "cls"].forEach(function (name) { if (form.elements[name] && state.has(name)) form.elements[name].value = state.get(name); });
    if (numbers.length === 3 && numbers.every(isFinite)) view = { x: numbers[0], y: numbers[1], zoom: Math.min(60, Math.max(1, numbers[2])) };
    var key = state.get("at");
    chosen = points.find(function (point) { return point.row.key === key; }) || null;
    if (chosen && numbers.length !== 3) view = { x: chosen.x, y: chosen.y, zoom: 6 };
  }

  function change() { draw(); tell(); }

  function zoom(factor, x, y) {
    var before = scale(), at = [x === undefined ? width() / 2 : x, y === undefined ? height() / 2 : y];
    view.zoom = Math.min(60, Math.max(1, view.zoom * factor));
    view.x += (at[0] - width() / 2) * (1 / before - 1 / scale());
    view.y += (at[1] - height() / 2) * (1 / before - 1 / scale());
    if (view.zoom === 1) { view.x = 0.5; view.y = 0.5; }
    change();
  }

  function nearestTo(x, y, most) {
    var best = null, far = most;
    shown().forEach(function (point) {
      var at = toScreen(point), distance = Math.hypot(at[0] - x, at[1] - y);
      if (distance <= far) { far = distance; best = point; }
    });
    return best;
  }

  /* The next concept in a direction: near, and not too far beside it. */
  function step(dx, dy) {
    if (!chosen) { chosen = nearestTo(width() / 2, height() / 2, Infinity); return; }
    var from = toScreen(chosen), best = null, least = Infinity;
    shown().forEach(function (point) {
      if (point === chosen) return;
      var at = toScreen(point), along = (at[0] - from[0]) * dx + (at[1] - from[1]) * dy, beside = Math.abs((at[0] - from[0]) * dy - (at[1] - from[1]) * dx);
      if (along <= 0.01 || beside > 2 * along) return;
      var cost = along + 2 * beside;
      if (cost < least) { least = cost; best = point; }
    });
    if (best) chosen = best;
    var to = toScreen(chosen);
    if (!inside([to[0], to[1]]) || to[0] < 20 || to[1] < 20 || to[0] > width() - 20 || to[1] > height() - 20) { view.x = chosen.x; view.y = chosen.y; }
  }

  var ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", function (event) {
    if (ARROWS[event.key]) step.apply(null, ARROWS[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "Enter" && chosen) { location.href = chosen.row.address; return; }
    else if (event.key === "Escape") chosen = null;
    else return;
    event.preventDefault();
    change();
  });

  var touches = new Map(), moved = 0;
  function place(event) { var box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; }
  function spread() { var two = Array.from(touches.values()); return Math.hypot(two[0][0] - two[1][0], two[0][1] - two[1][1]); }
  canvas.addEventListener("pointerdown", function (event) { canvas.setPointerCapture(event.pointerId); touches.set(event.pointerId, place(event)); moved = 0; });
  canvas.addEventListener("pointermove", function (event) {
    var at = place(event), was = touches.get(event.pointerId);
    if (!was) { canvas.style.setProperty("cursor", nearestTo(at[0], at[1], 14) ? "pointer" : "grab"); return; }
    if (touches.size === 2) {
      var before = spread();
      touches.set(event.pointerId, at);
      if (before) zoom(spread() / before, at[0], at[1]);
      moved = 9;
      return;
    }
    touches.set(event.pointerId, at);
    moved += Math.abs(at[0] - was[0]) + Math.abs(at[1] - was[1]);
    view.x -= (at[0] - was[0]) / scale();
    view.y -= (at[1] - was[1]) / scale();
    draw();
  });
  ["pointerup", "pointercancel"].forEach(function (name) {
    canvas.addEventListener(name, function (event) {
      var at = place(event);
      if (name === "pointerup" && touches.has(event.pointerId) && moved < 6) chosen = nearestTo(at[0], at[1], 22);
      touches.delete(event.pointerId);
      change();
    });
  });
  canvas.addEventListener("dblclick", function (event) { var at = place(event); zoom(2, at[0], at[1]); });
  canvas.addEventListener("wheel", function (event) {
    if (!event.ctrlKey && document.activeElement !== canvas) return;  /* the page scrolls unless the map has the focus */
    event.preventDefault();
    var at = place(event);
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, at[0], at[1]);
  }, { passive: false });
  form.addEventListener("change", change);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  document.getElementById("map-nearer").addEventListener("click", function () { zoom(1.6); });
  document.getElementById("map-farther").addEventListener("click", function () { zoom(1 / 1.6); });
  document.getElementById("map-all").addEventListener("click", function () { zoom(1 / 1000); });
  window.addEventListener("resize", change);
  restore();
  change();
})();
