// The playground: a stream per column, all at once, until they end or are stopped.
"use strict";
{
  const form = document.querySelector("form[data-playground]");
  const stop = document.querySelector("[data-stop]");
  let running = null; // an AbortController while texts are written

  const send = (path, fields, signal) =>
    fetch(`${form.dataset.playground}/${path}`, {
      method: "POST",
      body: fields,
      signal,
      headers: { "X-CSRF-Token": document.querySelector("meta[name=csrf]").content, "HX-Request": "true" },
    });

  // The data of server-sent events, one by one.
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) if (part.startsWith("data: ")) yield part.slice(6);
    }
  }

  // Shows a text in parts: the model's words, the code with which it calls its tool, and what the tool says.
  const shower = (text) => {
    const opening = "```" + (form.dataset.fence ?? "") + "\n";
    let own = ""; // the model's, since the tool last spoke
    let shown = []; // its elements
    const put = (part, words) => {
      const element = document.createElement(part === "output" ? "samp" : part === "code" ? "code" : "span");
      element.dataset.part = part;
      element.textContent = words;
      text.append(element);
      return element;
    };
    const parts = (words) => {
      const at = form.dataset.fence ? words.indexOf(opening) : -1;
      if (at < 0) return [["text", words]];
      const close = words.indexOf("```\n", at + opening.length);
      const end = close < 0 ? words.length : close + 4;
      return [["text", words.slice(0, at)], ["code", words.slice(at, end)], ...parts(words.slice(end))];
    };
    return (words, origin) => {
      if (!words) return;
      if (origin === "output") {
        put("output", words);
        own = "";
        shown = [];
        return;
      }
      own += words;
      for (const element of shown) element.remove();
      shown = parts(own).filter(([, some]) => some).map(([part, some]) => put(part, some));
    };
  };

  // What the model itself says, as it is judged: an answer that the tool prints is none.
  const saidItself = (text) =>
    [...text.children].map((one) => (one.dataset.part === "output" ? "\n" : one.textContent)).join("");

  const write = async (answer, text) => {
    const show = shower(text);
    let reason = "stop";
    for await (const data of events(answer.body)) {
      if (data === "[DONE]") return reason;
      const said = JSON.parse(data);
      if (said.error) throw new Error(said.error.message);
      for (const choice of said.choices) {
        show(choice.text, choice.origin);
        reason = choice.finish_reason ?? reason;
      }
    }
    throw new Error("The connection ended before the text did.");
  };

  const judge = async (column, fields, reason) => {
    const said = column.querySelector("[data-said]");
    fields.set("completion", saidItself(column.querySelector("pre")));
    fields.set("finish_reason", reason);
    const answer = await send("verdict", fields);
    said.innerHTML = await answer.text(); // a fragment of this server's, escaped there
  };

  const ask = async (column, signal) => {
    const model = column.querySelector("select").value;
    const text = column.querySelector("pre");
    const said = column.querySelector("[data-said]");
    text.textContent = said.textContent = "";
    if (!model) return;
    const fields = new FormData(form);
    fields.set("model", model);
    try {
      said.textContent = "writing";
      const answer = await send("write", fields, signal);
      if (!answer.ok) {
        said.innerHTML = await answer.text();
        return;
      }
      const reason = await write(answer, text);
      said.textContent = reason === "length" ? "cut at the token limit" : "";
      if (fields.get("answer")) await judge(column, fields, reason);
    } catch (problem) {
      said.textContent = signal.aborted ? "stopped" : problem.message;
    }
  };

  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    const mine = (running = new AbortController());
    stop.disabled = false;
    await Promise.all([...document.querySelectorAll("[data-column]")].map((column) => ask(column, mine.signal)));
    if (running === mine) stop.disabled = true;
  });
  stop?.addEventListener("click", () => running?.abort());
}
