// The list beside a rationale: which one is shown, and its neighbours fetched before they are asked for.
"use strict";
{
  const ahead = new Map(); // URL to the answer that is on its way
  const KEPT = 60_000; // ms: decisions change while a job runs

  const fetchAhead = () => {
    for (const link of document.querySelectorAll("#rationale a[data-ahead]")) {
      const url = link.getAttribute("href");
      if (ahead.get(url)?.until > Date.now()) continue;
      const headers = { "HX-Request": "true", "HX-Request-Type": "partial" };
      ahead.set(url, { until: Date.now() + KEPT, answer: fetch(url, { headers }).catch(() => null) });
    }
  };

  const showWhere = () => {
    const shown = document.querySelector("#rationale article")?.dataset.rationale;
    for (const link of document.querySelectorAll(".list a[data-rationale]")) {
      const here = link.dataset.rationale === shown;
      if (here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      if (here) link.parentElement.parentElement.scrollTop = link.parentElement.offsetTop - 120;
    }
    const article = document.querySelector("#rationale article");
    const top = article?.getBoundingClientRect().top ?? 0;
    if (article?.seen !== true && (top < 0 || top > window.innerHeight * 0.7) && document.body.arrived) {
      article.scrollIntoView();
    }
    if (article) article.seen = document.body.arrived = true;
  };

  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.request.method !== "GET") return ahead.clear();
    const found = ahead.get(ctx.request.action);
    ahead.delete(ctx.request.action);
    if (found?.until > Date.now() && ctx.target?.id === "rationale") {
      const fetched = ctx.fetch;
      ctx.fetch = async (url, request) => (await found.answer) ?? fetched(url, request);
    }
  });

  const dress = () => {
    showWhere();
    fetchAhead();
  };
  document.addEventListener("htmx:after:swap", dress);
  dress();
}
