/* Two classes, concepts or explained photos side by side: mirrored bars, what differs most first. */
(function () {
  "use strict";

  var form = document.getElementById("compare-form"), data = window.atlasCompare, hits = window.atlasHits;
  if (!form || !data || !hits) return;
  var index = window.atlasIndex, result = document.getElementById("compare-result");
  var element = hits.element, SHOWN = 16;
  var concepts = hits.rows().filter(function (row) { return row.type === "concept"; });
  var classes = hits.rows().filter(function (row) { return row.type === "class"; });
  var photos = hits.rows().filter(function (row) { return row.type === "photo"; });
  var byKey = new Map(concepts.map(function (row, number) { return [row.key, number]; }));

  var TYPES = {
    classes: {
      options: classes.map(function (row, number) { return [String(number), row.title]; }),
      row: function (value) { return classes[value]; },
      pairs: function (value) { return data.classes[value]; },
      what: function (place) { return concepts[place]; },
      about: "Mean share of the concepts of " + data.layer + " over the samples of each class"
    },
    concepts: {
      options: concepts.map(function (row) { return [row.key, (row.named ? row.title + " – " : "") + row.key]; }),
      row: function (value) { return concepts[byKey.get(value)]; },
      pairs: function (value) { return data.concepts[byKey.get(value)]; },
      what: function (place) { return classes[place]; },
      about: "Mean share of each concept over the samples of a class"
    },
    photos: {
      options: photos.map(function (row, number) { return [String(number), row.title + " – " + row.where]; }),
      row: function (value) { return photos[value]; },
      pairs: function (value) { return data.photos[value][3]; },
      what: function (place) { return concepts[place]; },
      about: "Shares of the concepts for what the network says of each photo"
    }
  };

  function percent(value) {
    if (value === undefined) return data.least ? "< " + (100 * data.least).toFixed(1) + "\u00a0%" : "0";
    if (!data.is_share) return String(Number(value.toPrecision(3)));
    var text = Math.abs(value) < 0.0005 ? "< 0.1" : (100 * Math.abs(value)).toFixed(1);
    return (value < 0 ? "\u2212" : "") + text + "\u00a0%";
  }

  function toMap(pairs) {
    var found = new Map();
    for (var place = 0; place < pairs.length; place += 2) found.set(pairs[place], pairs[place + 1]);
    return found;
  }

  function bar(value, largest, side) {
    var cell = element("td", "mirror " + side), track = element("span", "bar" + (value < 0 ? " negative" : "")), inner = element("span");
    inner.style.setProperty("width", (100 * Math.abs(value || 0) / largest).toFixed(1) + "%");
    track.setAttribute("aria-hidden", "true");
    track.append(inner);
    cell.append(track, element("span", "number", percent(value)));
    return cell;
  }

  function head(type, value) {
    var list = element("ul", "hits");
    list.append(hits.hit({ row: type.row(value), more: [] }, "", false));
    return list;
  }

  /* Together: the sum of the smaller of both, over the mean of both sums; positive shares only. */
  function shared(a, b) {
    var both = 0, all = 0;
    a.forEach(function (value, key) { both += Math.max(0, Math.min(value, b.get(key) || 0)); all += Math.max(0, value); });
    b.forEach(function (value) { all += Math.max(0, value); });
    return all ? 2 * both / all : 0;
  }

  function sentences(name, values, a, b) {
    var type = TYPES[name], titles = values.map(function (value) { return type.row(value).title; });
    var said = ["They share " + percent(shared(a, b)).replace(/^0\.0/, "0") + " of what speaks for them."];
    if (name === "classes") {
      values.forEach(function (_, side) {
        var from = Number(values[side]), to = Number(values[1 - side]);
        var n = data.confused.filter(function (row) { return row[0] === from && row[1] === to; }).map(function (row) { return row[2]; })[0];
        if (n) said.push(n + (n === 1 ? " sample" : " samples") + " of " + titles[side] + (n === 1 ? " is" : " are") + " taken for " + titles[1 - side] + ".");
      });
    }
    if (name === "concepts") {
      var lists = values.map(function (value) { return data.examples[byKey.get(value)]; });
      var same = lists[0].filter(function (sample) { return lists[1].includes(sample); }).length;
      said.push(same + " of their " + Math.max(lists[0].length, lists[1].length) + " most relevant samples are the same.");
    }
    return said.join(" ");
  }

  function show() {
    var name = form.elements.what.value, type = TYPES[name], values = [form.elements.one.value, form.elements.other.value];
    if (!values[0] || !values[1]) return;
    var a = toMap(type.pairs(values[0])), b = toMap(type.pairs(values[1]));
    var keys = Array.from(new Set(Array.from(a.keys()).concat(Array.from(b.keys()))));
    keys.sort(function (x, y) { return Math.abs((b.get(y) || 0) - (a.get(y) || 0)) - Math.abs((b.get(x) || 0) - (a.get(x) || 0)) || x - y; });
    var largest = Math.max.apply(null, keys.map(function (key) { return Math.max(Math.abs(a.get(key) || 0), Math.abs(b.get(key) || 0)); }).concat(1e-9));
    var heads = element("div", "compared"), table = element("table", "plain mirrored"), body = element("tbody"), top = element("tr");
    heads.append(head(type, values[0]), head(type, values[1]));
    [type.row(values[0]).title, name === "concepts" ? "Class" : "Concept", type.row(values[1]).title].forEach(function (text) {
      var cell = element("th", "", text);
      cell.scope = "col";
      top.append(cell);
    });
    keys.slice(0, SHOWN).forEach(function (key) {
      var row = element("tr"), what = type.what(key), cell = element("th"), link = element("a", "", what.title);
      cell.scope = "row";
      link.href = what.address;
      cell.append(link);
      row.append(bar(a.get(key), largest, "left"), cell, bar(b.get(key), largest, "right"));
      body.append(row);
    });
    var caption = element("caption", "", type.about + ", what differs most first" + (keys.length > SHOWN ? "; " + (keys.length - SHOWN) + " more differ less" : ""));
    var header = element("thead");
    header.append(top);
    table.append(caption, header, body);
    result.replaceChildren(heads, element("p", "lead", sentences(name, values, a, b)), table);
    try { history.replaceState(null, "", "#" + name + "=" + values.map(encodeURIComponent).join(",")); } catch (error) { /* stay */ }
  }

  function offer(name, values) {
    ["one", "other"].forEach(function (side, place) {
      var select = form.elements[side];
      select.replaceChildren.apply(select, TYPES[name].options.map(function (option) {
        var node = element("option", "", option[1]);
        node.value = option[0];
        return node;
      }));
      var wanted = values[place];
      if (TYPES[name].options.some(function (option) { return option[0] === wanted; })) select.value = wanted;
      else if (place && select.options.length > 1 && select.value === form.elements.one.value) select.selectedIndex = 1;
    });
    show();
  }

  function start() {
    var asked = /^#(classes|concepts|photos)=([^,]*)(?:,(.*))?$/.exec(location.hash), name = "classes", values = [];
    if (asked) {
      name = asked[1];
      try { values = [decodeURIComponent(asked[2]), decodeURIComponent(asked[3] || "")]; } catch (error) { values = []; }
    }
    if (!TYPES[name].options.length) name = Object.keys(TYPES).find(function (other) { return TYPES[other].options.length; });
    if (!name) return;
    form.elements.what.value = name;
    offer(name, values);
  }

  Array.from(form.elements.what).forEach(function (input) {
    input.disabled = !TYPES[input.value].options.length;
    input.addEventListener("change", function () { offer(input.value, []); });
  });
  form.elements.one.addEventListener("change", show);
  form.elements.other.addEventListener("change", show);
  document.getElementById("compare-turn").addEventListener("click", function () {
    var one = form.elements.one.value;
    form.elements.one.value = form.elements.other.value;
    form.elements.other.value = one;
    show();
  });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  window.addEventListener("hashchange", start);
  start();
})();
