"use strict";
(() => {
  const head = JSON.parse(document.getElementById("study").textContent);
  const form = document.getElementById("form");
  const steps = [...document.querySelectorAll(".step")];
  const questions = steps.slice(1, -1);
  const back = document.getElementById("back");
  const next = document.getElementById("next");
  const store = `study:${head.study}:${head.rater}`;
  let place = 0;

  const radios = (index) => [...questions[index].querySelectorAll("input")];
  const chosen = (index) => radios(index).find((radio) => radio.checked)?.value;
  const answers = () => {
    const found = {};
    questions.forEach((_, index) => { if (chosen(index)) found[index + 1] = chosen(index); });
    return found;
  };

  const keep = () => {
    try { localStorage.setItem(store, JSON.stringify(answers())); } catch { /* this browser keeps nothing for files */ }
  };
  const recall = () => {
    let kept = {};
    try { kept = JSON.parse(localStorage.getItem(store)) || {}; } catch { /* nothing was kept, or it is damaged */ }
    questions.forEach((_, index) => {
      const radio = radios(index).find((item) => item.value === kept[index + 1]);
      if (radio) radio.checked = true;
    });
  };

  const tell = () => {
    const n = Object.keys(answers()).length;
    document.getElementById("progress").value = n;
    document.getElementById("state").textContent = `${n} of ${questions.length} answered`;
    const open = questions.length - n;
    document.getElementById("left").textContent = open
      ? `${open} of ${questions.length} questions are still open. You can go back, or save without them.`
      : `All ${questions.length} questions are answered.`;
  };

  const show = (index, focus = true) => {
    place = Math.max(0, Math.min(index, steps.length - 1));
    steps.forEach((step, other) => { step.hidden = other !== place; });
    back.hidden = place === 0;
    next.hidden = place === steps.length - 1;
    next.textContent = place === 0 ? "Begin" : "Next";
    tell();
    window.scrollTo(0, 0);
    if (focus) steps[place].querySelector("[tabindex]").focus();
  };

  form.addEventListener("submit", (event) => { event.preventDefault(); show(place + 1); });
  form.addEventListener("change", () => { keep(); tell(); });
  back.addEventListener("click", () => show(place - 1));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && event.target.tagName !== "BUTTON") {
      event.preventDefault();
      if (place < steps.length - 1) show(place + 1);
      return;
    }
    if (place < 1 || place > questions.length) return;
    const radio = radios(place - 1).find((item) => item.value === event.key.toUpperCase());
    if (radio) { radio.checked = true; radio.focus(); keep(); tell(); }
  });
  document.getElementById("save").addEventListener("click", () => {
    const text = JSON.stringify({ ...head, answers: answers() }, null, 1) + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `answers-${head.study}-${head.rater}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  recall();
  document.documentElement.classList.add("ready");
  show(0, false);
})();
