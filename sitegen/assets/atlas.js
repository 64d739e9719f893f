/* Small comforts: the search page, the remembered view of the tiles, a labelled menu. Every page works without it. */
(function () {
  "use strict";

  var KINDS = { c: "concept", k: "class", e: "explanation" };
  var LIMIT = 200;
  var search;

  function element(name, className, text) {
    var node = document.createElement(name);
    if (className) node.className = className;
    if (text) node.textContent = text;
    return node;
  }

  function show(text) {
    var found = search(text);
    var hits = found.rows;
    var list = document.getElementById("search-hits");
    var status = document.getElementById("search-count");
    list.replaceChildren();
    hits.slice(0, LIMIT).forEach(function (row) {
      var item = element("li");
      var link = element("a", "", row[2]);
      link.setAttribute("href", row[1]);
      item.append(link, element("span", "mark", KINDS[row[0]]), element("span", "where", row[3]));
      if (row[4]) item.append(element("p", "quiet", row[4]));
      list.append(item);
    });
    var more = hits.length > LIMIT ? ", the first " + LIMIT + " are shown" : "";
    var near = found.near ? ", of words near to these" : "";
    status.textContent = text.trim() ? (hits.length === 1 ? "1 hit" : hits.length + " hits") + near + more : "";
  }

  function startSearch() {
    var field = document.getElementById("search-words");
    if (!field || !window.atlasIndex || !window.atlasSearch) return;
    search = window.atlasSearch(window.atlasIndex);
    field.value = new URLSearchParams(location.search).get("q") || "";
    field.addEventListener("input", function () { show(field.value); });
    document.getElementById("search-form").addEventListener("submit", function (event) {
      event.preventDefault();
      show(field.value);
    });
    show(field.value);
    field.focus();
  }

  function rememberView() {
    var chosen;
    try { chosen = localStorage.getItem("atlas.view"); } catch (error) { chosen = null; }
    document.querySelectorAll('.views input[name="view"]').forEach(function (input) {
      if (input.value === chosen) input.checked = true;
      input.addEventListener("change", function () {
        try { localStorage.setItem("atlas.view", input.value); } catch (error) { /* private mode: forget it */ }
      });
    });
  }

  /* The menu is a label, which no keyboard reaches: put a button in its place. */
  function menuButton() {
    var label = document.querySelector('label.md-header__button[for="__drawer"]');
    var drawer = document.getElementById("__drawer");
    if (!label || !drawer) return;
    var button = element("button", label.className + " menu");
    button.type = "button";
    button.setAttribute("aria-label", "Menu");
    button.setAttribute("aria-expanded", "false");
    button.append.apply(button, Array.from(label.childNodes));
    button.addEventListener("click", function () { drawer.click(); });
    drawer.addEventListener("change", function () {
      button.setAttribute("aria-expanded", String(drawer.checked));
    });
    label.replaceWith(button);
  }

  startSearch();
  rememberView();
  menuButton();
})();
