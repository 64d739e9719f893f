/* What a search shows: suggestions under every search field, and the search page with its filters. What is found is
   search.js; this file is loaded when somebody begins to search. */
(function () {
  "use strict";

  var LIMIT = 120, SUGGESTED = 7;
  var WORDS = { class: "class", photo: "explained photo" };
  var index = window.atlasIndex;
  var engine;
  function search(text, filter) {
    engine = engine || window.atlasSearch(index);
    return engine(text, filter);
  }

  function element(name, className, text) {
    var node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function thumb(row, root) {
    var frame = element("span", "thumb"), image;
    if (row.picture) {
      image = element("img");
      image.src = root + row.picture;
    } else if (row.sheet >= 0) {
      var sheet = index.sheets[row.sheet];
      var cut = element("span", "cut");
      cut.style.setProperty("--n", sheet[1]);
      cut.style.setProperty("--c", row.slot % sheet[1]);
      cut.style.setProperty("--r", Math.floor(row.slot / sheet[1]));
      image = element("img");
      image.src = root + sheet[0];
      cut.append(image);
      image.alt = "";
      image.decoding = "async";
      frame.append(cut);
      return frame;
    } else {
      frame.append(element("span", "blank", row.type === "concept" ? String(row.channel) : row.type === "class" ? "class" : ""));
      return frame;
    }
    image.alt = "";
    frame.append(image);
    return frame;
  }

  function about(row) {
    if (row.type !== "concept") return row.type === "photo" ? WORDS.photo + " " + row.where : WORDS.class;
    var cls = index.classes[row.cls];
    var share = row.share >= 0.001 ? " " + (100 * row.share).toFixed(1) + "\u00a0%" : "";
    return index.layers[row.layer][0] + " · " + row.channel + (cls ? ", most for " + cls[0] + share : "");
  }

  function hit(group, root, small) {
    var row = group.row, item = element("li"), link = element("a", "hit"), text = element("span", "hit-text");
    link.href = root + row.address;
    text.append(element("strong", row.named === false ? "unnamed" : "", row.title), element("span", "where", about(row)));
    link.append(thumb(row, root), text);
    if (row.marks & 2) text.lastChild.append(" ", element("span", "flag", "mark"));
    if (!small && row.description) text.append(element("span", "quiet", row.description));
    item.append(link);
    if (!small && group.more.length) {
      var same = element("p", "where same", "same name: ");
      group.more.slice(0, 12).forEach(function (other, place) {
        var link = element("a", "", index.layers[other.layer][0] + " · " + other.channel);
        link.href = root + other.address;
        if (place) same.append(", ");
        same.append(link);
      });
      if (group.more.length > 12) same.append(" and " + (group.more.length - 12) + " more");
      item.append(same);
    } else if (group.more.length) text.append(element("span", "where", "and " + group.more.length + " more of this name"));
    return item;
  }

  function told(found) {
    var n = found.groups.length, parts = [n === 1 ? "1 hit" : n + " hits"];
    if (n > LIMIT) parts.push("the first " + LIMIT + " are shown");
    found.taken.forEach(function (pair) { parts.push("“" + pair[0] + "” is nowhere: taken for “" + pair[1] + "”"); });
    found.absent.forEach(function (word) { parts.push("“" + word + "” is nowhere"); });
    if (found.some) parts.push("none has all of these words together");
    return parts.join(", ");
  }

  /* Up and down move between the field and its hits; Escape goes back to the field. */
  function moveByArrows(area, field, list, close) {
    area.addEventListener("keydown", function (event) {
      var stops = [field].concat(Array.from(list.querySelectorAll("a.hit")));
      var at = stops.indexOf(document.activeElement);
      if (event.key === "Escape" && close) { close(); field.focus(); event.preventDefault(); return; }
      var to = at + (event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0);
      if (at < 0 || to === at || !stops[to]) return;
      stops[to].focus();
      event.preventDefault();
    });
  }

  window.atlasSuggest = function (form) {
    var field = form.querySelector("input"), root = form.dataset.root;
    var list = element("ul", "hits suggested"), status = element("p", "sr");
    status.setAttribute("role", "status");
    list.setAttribute("aria-label", "Suggestions");
    list.hidden = true;
    form.append(list, status);
    search("");  /* the index is ready before the first word is typed */
    function close() { list.hidden = true; }
    function suggest() {
      var found = search(field.value);
      list.replaceChildren.apply(list, found.groups.slice(0, SUGGESTED).map(function (group) { return hit(group, root, true); }));
      list.hidden = !found.groups.length;
      status.textContent = field.value.trim() ? told(found) : "";
    }
    field.addEventListener("input", suggest);
    form.addEventListener("focusout", function (event) {
      if (!form.contains(event.relatedTarget)) close();
    });
    moveByArrows(form, field, list, close);
    if (field.value && document.activeElement === field) suggest();
  };

  function startPage(form) {
    var field = document.getElementById("search-words"), list = document.getElementById("search-hits");
    var status = document.getElementById("search-count"), nearest = document.getElementById("search-nearest");
    var controls = ["type", "layer", "kind", "cls", "mixed", "marked"].map(function (name) { return form.elements[name]; });
    var asked = new URLSearchParams(location.search);

    function filter() {
      var chosen = {};
      controls.forEach(function (control) {
        if (control.type === "checkbox") { if (control.checked) chosen[control.name] = true; return; }
        if (control.value === "") return;
        chosen[control.name] = control.name === "type" ? control.value : Number(control.value);
      });
      return chosen;
    }

    function show() {
      var chosen = filter(), found = search(field.value, chosen);
      var isAsked = Boolean(field.value.trim()) || Object.keys(chosen).length > 0;
      list.replaceChildren.apply(list, found.groups.slice(0, LIMIT).map(function (group) { return hit(group, "", false); }));
      status.textContent = isAsked ? told(found) : "";
      nearest.replaceChildren();
      if (found.nearest.length) nearest.append("Near to it: ");
      found.nearest.forEach(function (word, place) {
        var link = element("a", "", word);
        link.href = "?q=" + encodeURIComponent(word);
        nearest.append(place ? ", " : "", link);
      });
      var address = new URLSearchParams(Object.assign(field.value ? { q: field.value } : {}, chosen)).toString();
      try { history.replaceState(null, "", address ? "?" + address : location.pathname); } catch (error) { /* stay */ }
    }

    field.value = asked.get("q") || "";
    controls.forEach(function (control) {
      if (control.type === "checkbox") control.checked = asked.has(control.name);
      else if (asked.has(control.name)) control.value = asked.get(control.name);
      control.addEventListener("change", show);
    });
    field.addEventListener("input", show);
    form.addEventListener("submit", function (event) { event.preventDefault(); show(); });
    moveByArrows(document.querySelector(".md-content"), field, list);
    show();
    field.focus();
  }

  /* For the map and the comparison. */
  window.atlasHits = { element: element, hit: hit, rows: function () { return window.atlasRows(index); } };
  var form = document.getElementById("search-form");
  if (form) startPage(form);
})();
