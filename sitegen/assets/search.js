/* What the words of a search find: MiniSearch over the rows of search-index.js, by stems, keys and, failing these, near misses. */
(function () {
  "use strict";

  var FIELDS = { title: 4, words: 2, key: 4, where: 1, description: 1 };
  var KEY = /^[\w.-]*:\d+$/;

  function split(text) {
    return text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  }

  /* "features.28:83" is found by itself and by "28:83". */
  function keyWords(key) {
    var parts = key.toLowerCase().split(".");
    return key ? parts.map(function (_, index) { return parts.slice(index).join("."); }) : [];
  }

  function queryWords(text) {
    return text.toLowerCase().split(/\s+/).filter(Boolean).flatMap(function (piece) {
      return KEY.test(piece) ? [piece] : split(piece);
    });
  }

  function stem(word) {
    return /^[a-z]+$/.test(word) ? window.porterStemmer(word) : word;
  }

  function mayDiffer(word) {
    return word.length > 3 && !/\d/.test(word) ? 1 : false;
  }

  /* Rows are [kind, address, title, where, description, words, key]; deeper layers come later and count a little more. */
  window.atlasSearch = function (rows) {
    var engine = new window.MiniSearch({
      fields: Object.keys(FIELDS),
      tokenize: function (text, field) { return field === "key" ? keyWords(text) : split(text); },
      processTerm: stem
    });
    engine.addAll(rows.map(function (row, index) {
      return { id: index, title: row[2], where: row[3], description: row[4], words: row[5], key: row[6] };
    }));

    function find(text, fuzzy) {
      return engine.search(text, {
        tokenize: queryWords,
        boost: FIELDS,
        combineWith: "AND",
        prefix: function (word, place, all) { return place === all.length - 1 && word.length > 1; },
        fuzzy: fuzzy,
        boostDocument: function (id) { return rows[id][0] === "k" ? 1.5 : 1 + 0.3 * id / rows.length; }
      });
    }

    /* Returns the rows, and whether they are only near to what was asked for. */
    return function (text) {
      var hits = find(text, false);
      var near = !hits.length;
      if (near) hits = find(text, mayDiffer);
      return { near: near && hits.length > 0, rows: hits.map(function (hit) { return rows[hit.id]; }) };
    };
  };
})();
