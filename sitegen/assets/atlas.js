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

  function keepFilter() {
    var inputs = Array.from(document.querySelectorAll('.only input[type="radio"]'));
    inputs.forEach(function (input) {
      if (input.value === chosenInAddress("only")) input.checked = true;
      input.addEventListener("change", function () { keepInAddress("only", input.value); });
    });
  }

  function rememberView() {
    var chosen;
    try { chosen = localStorage.getItem("atlas.view"); } catch (error) { chosen = null; }
    document.querySelectorAll('.views input[name="view"]').forEach(function (input) {
      if (input.value === (chosenInAddress("view") || chosen)) input.checked = true;
      input.addEventListener("change", function () {
        keepInAddress("view", input.value);
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

  /* The address keeps what was chosen, so that a link shows the same: #for=expert, #view=heatmap. */
  function chosenInAddress(name) { return new URLSearchParams(location.hash.slice(1)).get(name); }

  function keepInAddress(name, value) {
    try { history.replaceState(null, "", "#" + name + "=" + encodeURIComponent(value)); } catch (error) { /* stay */ }
  }

  function readingLevel() {
    var inputs = Array.from(document.querySelectorAll('.narratives .views input[type="radio"]'));
    function choose(audience) {
      inputs.forEach(function (input) { if (input.value === audience) input.checked = true; });
    }
    choose(chosenInAddress("for"));
    inputs.forEach(function (input) {
      input.addEventListener("change", function () { choose(input.value); keepInAddress("for", input.value); });
    });
  }

  /* A tap on an outline or on a bar's number lights both, without a jump down the page. */
  function lightUp() {
    document.querySelectorAll(".why").forEach(function (why) {
      why.addEventListener("click", function (event) {
        var link = event.target.closest('a[href^="#"]');
        var spot = link && event.target.closest("[data-spot]");
        if (!spot) return;
        event.preventDefault();
        var was = spot.classList.contains("lit");
        why.querySelectorAll("[data-spot]").forEach(function (item) {
          item.classList.toggle("lit", !was && item.dataset.spot === spot.dataset.spot);
        });
      });
    });
  }

  keepFilter();
  readingLevel();
  lightUp();
  startSearch();
  rememberView();
  menuButton();
})();
