/* Small comforts: search when it is asked for, the remembered view of the tiles, a labelled menu. Every page works without it. */
(function () {
  "use strict";

  /* The search is loaded when somebody begins to search: its index is large. */
  function prepareSearch() {
    document.querySelectorAll("form.find[data-scripts]").forEach(function (form) {
      var scripts = form.dataset.scripts.split(" ");
      function load() {
        if (!scripts.length) { window.atlasSuggest(form); return; }
        var script = document.createElement("script");
        script.src = form.dataset.root + scripts.shift();
        script.addEventListener("load", load);
        document.head.append(script);
      }
      form.addEventListener("focusin", load, { once: true });
    });
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
    var button = document.createElement("button");
    button.className = label.className + " menu";
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

  /* On paper a page says where it is from and when it was printed. */
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll(".paper-foot").forEach(function (foot) {
      foot.dataset.words = foot.dataset.words || foot.textContent;
      foot.textContent = foot.dataset.words + " · " + location.href + " · " + new Date().toISOString().slice(0, 10);
    });
  });

  keepFilter();
  readingLevel();
  lightUp();
  prepareSearch();
  rememberView();
  menuButton();
})();
