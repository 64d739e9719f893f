/* What the words of a search find: MiniSearch over search-index.js, by stems, keys, related words and, failing these,
   the nearest words that there are. Knows no page. */
(function () {
  "use strict";

  var FIELDS = { title: 5, key: 5, words: 2, where: 1, description: 1, related: 0.7 };
  var KEY = /^[\w.-]*:\d+$/;
  var STOP = new Set(("a an and any anything at by concept concepts for from has have in is it like of on or some " +
    "something sth that the thing things to what where which with channel").split(" "));
  var MIXED = 1, FLAGGED = 2, SILENT = 4;

  function split(text) {
    return text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  }

  /* "features.28:83" is found by itself and by "28:83". */
  function keyWords(key) {
    var parts = key.toLowerCase().split(".");
    return key ? parts.map(function (_, index) { return parts.slice(index).join("."); }) : [];
  }

  function stem(word) {
    return /^[a-z]+$/.test(word) ? window.porterStemmer(word) : word;
  }

  /* Letters put in, left out, changed, or two that changed places; Infinity beyond `limit`. */
  function distance(one, other, limit) {
    if (Math.abs(one.length - other.length) > limit) return Infinity;
    var before = [], last = [], row, i, j;
    for (j = 0; j <= other.length; j++) last.push(j);
    for (i = 1; i <= one.length; i++) {
      row = [i];
      for (j = 1; j <= other.length; j++) {
        row.push(Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1)));
        if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]) {
          row[j] = Math.min(row[j], before[j - 2] + 1);
        }
      }
      if (Math.min.apply(null, row) > limit) return Infinity;
      before = last;
      last = row;
    }
    return last[other.length];
  }

  function forgiven(word) {
    return /\d/.test(word) || word.length < 4 ? 0 : word.length < 8 ? 1 : 2;
  }

  /* Flat records of what can be found; deeper layers come later. */
  function readIndex(index) {
    var found = [];
    index.classes.forEach(function (row, number) {
      found.push({ type: "class", address: row[1], title: row[0], where: "class", description: "", words: "class",
        key: "", related: relatedTo(row[0]), cls: number, layer: -1, kind: -1, marks: 0, share: 1, sheet: -1 });
    });
    index.photos.forEach(function (row) {
      found.push({ type: "photo", address: row[0], title: row[1], where: row[2], description: "", key: "", related: "",
        words: "photo explanation " + row[3] + (row[3] && row[3] !== row[1] ? " wrong" : ""), label: row[3],
        picture: row[4], cls: -1, layer: -1, kind: -1, marks: 0, share: 0, sheet: -1 });
    });
    index.concepts.forEach(function (row) {
      var layer = index.layers[row[0]], kind = index.kinds[row[4]] || "", cls = index.classes[row[6]];
      var where = layer[0] + " channel " + row[1];
      found.push({ type: "concept", address: layer[1] + row[1] + ".html", title: row[2] || where,
        where: row[2] ? where : "", description: row[3], key: layer[0] + ":" + row[1], related: relatedTo(row[2]),
        words: [kind, index.kind_words[kind] || "", row[10], cls ? cls[0] : "", row[5] & MIXED ? "mixed" : ""].join(" "),
        named: Boolean(row[2]), layer: row[0], channel: row[1], kind: row[4], marks: row[5], cls: row[6],
        share: row[7], sheet: row[8], slot: row[9] });
    });
    found.forEach(function (row, number) { row.id = number; });
    return found;

    function relatedTo(title) {
      return split(title).map(function (word) { return index.related[word] || ""; }).join(" ");
    }
  }

  window.atlasRows = readIndex;

  window.atlasSearch = function (index) {
    var rows = readIndex(index);
    var vocabulary = new Map();
    var engine = new window.MiniSearch({
      fields: Object.keys(FIELDS),
      tokenize: function (text, field) { return field === "key" ? keyWords(text) : split(text); },
      processTerm: stem
    });
    engine.addAll(rows);
    rows.forEach(function (row) {
      learn(row.title, 1000);
      learn([row.words, row.related, row.description].join(" "), 1);
    });
    var stems = Array.from(vocabulary.keys());

    function learn(text, weight) {
      split(text).forEach(function (word) {
        var known = vocabulary.get(stem(word));
        if (!known) vocabulary.set(stem(word), { word: word, n: weight, forms: new Set([word]) });
        else { known.n += weight; known.forms.add(word); }
      });
    }

    function isKnown(word, isLast) {
      return KEY.test(word) || /\d/.test(word) || vocabulary.has(stem(word)) ||
        (isLast && word.length > 1 && stems.some(function (known) { return known.startsWith(word); }));
    }

    /* The nearest words of the atlas, best first: near ones, and of these the commonest, those of names first. */
    function nearest(word, limit, most) {
      if (!limit) return [];
      var found = [];
      stems.forEach(function (known) {
        var whole = vocabulary.get(known);
        var best = distance(stem(word), known, limit);
        whole.forms.forEach(function (form) { best = Math.min(best, distance(word, form, limit)); });
        if (best <= limit) found.push({ word: whole.word, far: best + (known[0] === word[0] ? 0 : 0.5), n: whole.n });
      });
      found.sort(function (a, b) { return a.far - b.far || b.n - a.n || (a.word < b.word ? -1 : 1); });
      return found.slice(0, most).map(function (item) { return item.word; });
    }

    function fits(row, filter) {
      return (!filter.type || row.type === filter.type) &&
        (filter.layer === undefined || row.layer === filter.layer) &&
        (filter.kind === undefined || row.kind === filter.kind) &&
        (filter.cls === undefined || row.cls === filter.cls) &&
        (!filter.mixed || Boolean(row.marks & MIXED)) &&
        (!filter.marked || Boolean(row.marks & FLAGGED));
    }

    function find(words, how, filter) {
      var last = words[words.length - 1];
      return engine.search({
        combineWith: how,
        queries: words.map(function (word) {
          return { queries: [word], prefix: word === last && word.length > 1, combineWith: "OR",
            tokenize: function (text) { return KEY.test(text) ? [text] : split(text); } };
        })
      }, {
        boost: FIELDS,
        filter: function (hit) { return fits(rows[hit.id], filter); },
        boostDocument: function (id) {
          var row = rows[id];
          if (row.type !== "concept") return row.type === "class" ? 1.6 : 0.8;
          return row.marks & SILENT ? 0.5 : 1 + 0.3 * row.layer / index.layers.length + 0.7 * Math.sqrt(Math.max(0, row.share));
        }
      }).map(function (hit) { return rows[hit.id]; });
    }

    function everything(filter) {
      return rows.filter(function (row) { return fits(row, filter); }).sort(function (a, b) {
        return (a.marks & SILENT) - (b.marks & SILENT) || b.share - a.share || b.layer - a.layer || a.id - b.id;
      });
    }

    /* Concepts of one name become one hit, behind the best of them. */
    function grouped(found) {
      var first = new Map(), groups = [];
      found.forEach(function (row) {
        var key = row.type === "concept" && row.named ? row.title + "\n" + row.kind : "\n" + row.id;
        if (first.has(key)) first.get(key).more.push(row);
        else { first.set(key, { row: row, more: [] }); groups.push(first.get(key)); }
      });
      return groups;
    }

    /* Returns the groups of hits; which words were taken for which (`taken`), left out (`absent`), and whether not all
       words were found together (`some`). `filter` may hold type, layer, kind, cls, mixed, marked. */
    return function (text, filter) {
      filter = filter || {};
      var isFiltered = Object.keys(filter).some(function (key) { return filter[key] !== undefined && filter[key] !== false && filter[key] !== ""; });
      var told = { groups: [], taken: [], absent: [], some: false, nearest: [] };
      var asked = text.slice(0, 200).toLowerCase().split(/\s+/).filter(Boolean).flatMap(function (piece) {
        return KEY.test(piece) ? [piece] : split(piece);
      });
      if (!asked.length) {
        if (isFiltered) told.groups = grouped(everything(filter));
        return told;
      }
      var telling = asked.filter(function (word) { return !STOP.has(word); });
      if (telling.length) asked = telling;
      var words = [];
      asked.forEach(function (word, place) {
        if (isKnown(word, place === asked.length - 1)) { words.push(word); return; }
        var near = nearest(word, forgiven(word), 1);
        if (near.length) { told.taken.push([word, near[0]]); words.push(near[0]); } else told.absent.push(word);
      });
      if (words.length) {
        var found = find(words, "AND", filter);
        if (!found.length && words.length > 1) {
          found = find(words, "OR", filter);
          told.some = found.length > 0;
        }
        told.groups = grouped(found);
      }
      if (!told.groups.length) told.nearest = Array.from(new Set(asked.flatMap(function (word) { return nearest(word, 3, 3); })));
      return told;
    };
  };
})();
